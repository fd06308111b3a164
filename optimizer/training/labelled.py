"""Samples with labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from optimizer.data import LABELS


@dataclass(frozen=True)
class Labelled:
    """Samples of a model's inputs.

    Attributes:
        arrays: by the name of the input; the first axis counts samples.
        labels: the class of each sample, int64; None without labels.
    """

    arrays: Mapping[str, np.ndarray]
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def at(self, indices: np.ndarray) -> Labelled:
        """Returns some of the samples."""
        arrays = {name: np.ascontiguousarray(array[indices]) for name, array in self.arrays.items()}
        return Labelled(arrays, None if self.labels is None else self.labels[indices])

    def tensors(self, device: str) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(np.ascontiguousarray(array)).to(device) for name, array in self.arrays.items()}

    def split(self, share: float, seed: int, batch: int = 1) -> tuple[Labelled, Labelled]:
        """Returns two parts of random samples; the second one has about this share of them, at least a batch.

        Raises:
            ValueError: there are fewer than two batches; the message is one line.
        """
        if len(self) < 2 * batch:
            raise ValueError(
                f"{len(self)} samples cannot be divided into training and validation, in batches of {batch}"
            )
        order = np.random.default_rng(seed).permutation(len(self))
        second = max(1, round(share * len(self) / batch)) * batch
        return self.at(np.sort(order[second:])), self.at(np.sort(order[:second]))


def labelled(data: Mapping[str, np.ndarray]) -> Labelled:
    """Returns arrays by name as samples; ``labels`` are the classes, if there are any.

    Raises:
        ValueError: the arrays have different numbers of samples, NaN or infinite values, or labels that are not whole
            numbers of 0 or more. The message is one line.
    """
    arrays = {name: np.asarray(array) for name, array in data.items() if name != LABELS}
    if not arrays:
        raise ValueError("there are no samples")
    for name, array in arrays.items():
        if array.ndim == 0:
            raise ValueError(f"{name} is a scalar, which has no axis of samples")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} has NaN or infinite values")
    counts = {name: len(array) for name, array in arrays.items()}
    labels = data.get(LABELS)
    if labels is not None:
        labels = np.asarray(labels)
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ValueError(
                f"labels must be whole numbers, one per sample, got {labels.dtype} of shape {labels.shape}"
            )
        counts[LABELS] = len(labels)
        labels = labels.astype(np.int64)
    if len(set(counts.values())) != 1:
        each = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(f"all arrays must have as many samples as the others, got {each}")
    if not next(iter(counts.values())):
        raise ValueError("there are no samples")
    if labels is not None and labels.min() < 0:
        raise ValueError(f"labels must be 0 or more, got {labels.min()}")
    return Labelled(arrays, labels)
