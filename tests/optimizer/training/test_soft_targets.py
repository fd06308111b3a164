from __future__ import annotations

import pytest
import torch

from optimizer.training.soft_targets import soft_targets

A = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
B = 10 * A.flip(1)
LABELS = torch.tensor([0, 1])


def test_the_mean_is_of_probabilities() -> None:
    wanted = (torch.softmax(A / 2, 1) + torch.softmax(B / 2, 1)) / 2
    torch.testing.assert_close(soft_targets([A, B], 2.0, "mean", None), wanted)


def test_confidence_is_the_share_of_the_probability_of_the_label() -> None:
    a, b = torch.softmax(A, 1), torch.softmax(B, 1)
    share = (a / (a + b)).gather(1, LABELS[:, None])
    wanted = share * torch.softmax(A / 2, 1) + (1 - share) * torch.softmax(B / 2, 1)
    torch.testing.assert_close(soft_targets([A, B], 2.0, "confidence", LABELS), wanted)


def test_teachers_that_are_all_wrong_count_the_same() -> None:
    far = torch.tensor([[-1000.0, 1000.0]])
    found = soft_targets([far, far], 1.0, "confidence", torch.tensor([0]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 1.0]]))


def test_confidence_needs_labels() -> None:
    with pytest.raises(ValueError, match="need labels"):
        soft_targets([A], 1.0, "confidence", None)
