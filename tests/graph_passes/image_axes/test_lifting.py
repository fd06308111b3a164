"""Images of one and three axes as images of two axes: where axes, numbers and operands go."""

from __future__ import annotations

import numpy as np
import pytest

from graph_passes.image_axes.lifting import ONE_AXIS, THREE_AXES, Lifting, lifting_of


def test_the_kind_of_an_image_follows_from_its_dimensions() -> None:
    assert lifting_of([2, 3, 4]) is ONE_AXIS
    assert lifting_of(["n", 3, "l"]) is ONE_AXIS
    assert lifting_of([1, 3, 4, 5, 6]) is THREE_AXES
    for dims in ([], [2, 3], [2, 3, 4, 5], [2, 3, 4, 5, 6], [1, 3, "d", 5, 6], [1, 3, 0, 5, 6]):
        assert lifting_of(dims) is None


def test_axes_may_be_negative() -> None:
    assert [ONE_AXIS.axis(axis) for axis in (0, 1, 2, -1, -3)] == [0, 1, 3, 3, 0]
    assert [THREE_AXES.axis(axis) for axis in (0, 1, 2, 3, 4, -3)] == [None, 1, 0, 2, 3, 0]


def test_numbers_per_axis() -> None:
    assert ONE_AXIS.numbers([7, 8, 9], 1) == [7, 8, 1, 9]
    assert THREE_AXES.numbers([7, 8, 9, 10, 11], 1) == [9, 8, 10, 11]


@pytest.mark.parametrize("lifting", [ONE_AXIS, THREE_AXES])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_an_operand_broadcasts_as_before(lifting: Lifting, rank: int) -> None:
    rng = np.random.default_rng(0)
    dims = (1, 3, 4, 5, 6)[: lifting.rank] if lifting is THREE_AXES else (2, 3, 4)
    x, operand = rng.standard_normal(dims), rng.standard_normal(dims[-rank:])
    lifted = lifting.array(x) * lifting.array(operand)
    np.testing.assert_array_equal(lifted, lifting.array(x * operand))


def test_only_one_axis_keeps_the_order_of_elements() -> None:
    assert ONE_AXIS.keeps_order
    assert not THREE_AXES.keeps_order
