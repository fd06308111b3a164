"""How images of one or three axes are stored as images of two axes (n, c, h, w)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

_T = TypeVar("_T")
RANK = 4  # of an image of two axes


@dataclass(frozen=True)
class Lifting:
    """The axis of the image of two axes that stores each axis of an image; None for a batch axis of size 1.

    Axes of the image of two axes that store no axis have size 1.
    """

    axes: tuple[int | None, ...]

    @property
    def rank(self) -> int:
        return len(self.axes)

    @property
    def keeps_order(self) -> bool:
        """Whether the elements have the same order in both images."""
        stored = [axis for axis in self.axes if axis is not None]
        return stored == sorted(stored)

    def axis(self, axis: int) -> int | None:
        """Returns where an axis is stored, which may be negative; None if it is not stored."""
        return self.axes[axis % self.rank]

    def numbers(self, numbers: Sequence[_T], other: _T) -> list[_T]:
        """Returns numbers per axis in the order of the image of two axes; ``other`` is for axes that store no axis."""
        lifted = [other] * RANK
        for number, axis in zip(numbers, self.axes, strict=True):
            if axis is not None:
                lifted[axis] = number
        return lifted

    def array(self, array: np.ndarray) -> np.ndarray:
        """Returns an operand as an operand of an image of two axes. It has at most as many axes as the image."""
        wide = array.reshape((*(1,) * (self.rank - array.ndim), *array.shape))
        stored = [axis for axis in range(self.rank) if self.axes[axis] is not None]
        dropped = [axis for axis in range(self.rank) if self.axes[axis] is None]
        order = sorted(stored, key=lambda axis: self.axes[axis] or 0)
        moved = wide.transpose([*dropped, *order])
        return moved.reshape(self.numbers(wide.shape, 1))


ONE_AXIS = Lifting((0, 1, 3))  # (n, c, l) as (n, c, 1, l)
THREE_AXES = Lifting((None, 1, 0, 2, 3))  # (1, c, d, h, w) as (d, c, h, w)


def lifting_of(dims: Sequence[object]) -> Lifting | None:
    """Returns how an image of these dimensions is lifted; None if it is not."""
    if len(dims) == ONE_AXIS.rank:
        return ONE_AXIS
    is_static = all(isinstance(dim, int) and dim > 0 for dim in dims)
    return THREE_AXES if len(dims) == THREE_AXES.rank and dims[0] == 1 and is_static else None
