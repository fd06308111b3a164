from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optimizer.training.losses import LOSSES
from optimizer.training.losses.attention import attention
from optimizer.training.losses.dist import dist
from optimizer.training.losses.kd import kd

SIZES = st.tuples(st.integers(1, 9), st.integers(2, 12))
TEMPERATURES = st.sampled_from([1.0, 2.0, 4.0, 10.0])


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def logits(sizes: tuple[int, int], seed: int) -> np.ndarray:
    return 3 * np.random.default_rng(seed).standard_normal(sizes)


@given(SIZES, TEMPERATURES)
def test_value_and_gradient_of_kd(sizes: tuple[int, int], temperature: float) -> None:
    """The gradient is T (softmax(s / T) - softmax(t / T)) / N; with student and teacher swapped it would differ."""
    s, t = logits(sizes, 0), logits(sizes, 1)
    student = torch.tensor(s, requires_grad=True)
    p, q = softmax(t / temperature), softmax(s / temperature)
    loss = kd(student, torch.tensor(p), temperature)
    loss.backward()
    assert loss.item() == pytest.approx(temperature**2 * (p * np.log(p / q)).sum() / len(s), rel=1e-9, abs=1e-12)
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), temperature * (q - p) / len(s), rtol=1e-9, atol=1e-14)
    swapped = (q * np.log(q / p)).sum()
    assert not math.isclose(swapped, (p * np.log(p / q)).sum(), rel_tol=1e-9)


@given(SIZES, TEMPERATURES)
def test_value_of_dist(sizes: tuple[int, int], temperature: float) -> None:
    s, t = logits(sizes, 0), logits(sizes, 1)
    q, p = softmax(s / temperature), softmax(t / temperature)
    wanted = 1 - np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(q, p, strict=True)])
    if len(s) > 1:
        wanted += 1 - np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(q.T, p.T, strict=True)])
    found = dist(torch.tensor(s), torch.tensor(p), temperature).item()
    assert found == pytest.approx(temperature**2 * wanted, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_student_that_says_the_same_loses_nothing(name: str) -> None:
    t = torch.tensor(logits((6, 5), 2))
    assert LOSSES[name](t, torch.softmax(t / 3, -1), 3.0).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("shape", "other"), [((3, 5, 4, 6), (3, 2, 4, 6)), ((3, 7, 5), (3, 7, 9))])
def test_attention(shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.standard_normal(shape), rng.standard_normal(other)
    axis = 1 if len(shape) == 4 else 2
    maps = [(each**2).sum(axis).reshape(3, -1) for each in (student, teacher)]
    maps = [each / np.sqrt((each**2).sum(1, keepdims=True)) for each in maps]
    expected = ((maps[0] - maps[1]) ** 2).sum(1).mean()
    assert attention(torch.from_numpy(student), torch.from_numpy(teacher)).item() == pytest.approx(expected)
    assert attention(torch.from_numpy(student), torch.from_numpy(-3 * student)).item() == pytest.approx(0, abs=1e-12)


def test_attention_of_other_positions() -> None:
    with pytest.raises(ValueError, match="features of the student have shape"):
        attention(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 5))
