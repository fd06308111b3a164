"""The weights with which each output of a Resize along one axis reads the inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Axis:
    """One axis of a Resize: its sizes, and its scale, which need not be the ratio of the sizes."""

    inputs: int
    outputs: int
    scale: float
    start: float = 0.0  # of the region of tf_crop_and_resize
    end: float = 1.0

    def coordinates(self, mode: str) -> np.ndarray:
        """Returns the place in the input of each output (outputs,).

        Raises:
            ValueError: the mode is unknown.
        """
        x = np.arange(self.outputs, dtype=np.float64)
        last = self.inputs - 1
        if mode == "align_corners":
            return x * last / (self.outputs - 1) if self.outputs > 1 else np.zeros(self.outputs)
        if mode == "asymmetric":
            return x / self.scale
        if mode == "pytorch_half_pixel" and self.outputs == 1:
            return np.zeros(1)
        if mode in ("half_pixel", "pytorch_half_pixel"):
            return (x + 0.5) / self.scale - 0.5
        if mode == "half_pixel_symmetric":
            margin = self.inputs / 2 * (1 - self.outputs / (self.scale * self.inputs))
            return margin + (x + 0.5) / self.scale - 0.5
        if mode == "tf_half_pixel_for_nn":
            return (x + 0.5) / self.scale
        if mode == "tf_crop_and_resize":
            if self.outputs == 1:
                return np.array([0.5 * (self.start + self.end) * last])
            return self.start * last + x * (self.end - self.start) * last / (self.outputs - 1)
        raise ValueError(f"Resize has no coordinate_transformation_mode {mode}")


def nearest(places: np.ndarray, mode: str, inputs: int) -> np.ndarray:
    """Returns the index of the input that each output reads.

    Raises:
        ValueError: the mode is unknown.
    """
    rounded = {
        "round_prefer_floor": np.ceil(places - 0.5),
        "round_prefer_ceil": np.floor(places + 0.5),
        "floor": np.floor(places),
        "ceil": np.ceil(places),
    }.get(mode)
    if rounded is None:
        raise ValueError(f"Resize has no nearest_mode {mode}")
    return np.clip(rounded, 0, inputs - 1).astype(np.int64)


def weights(axis: Axis, places: np.ndarray, mode: str, a: float, exclude: bool, antialias: bool) -> np.ndarray:
    """Returns the matrix (inputs, outputs) of a linear or cubic Resize along one axis.

    Args:
        axis: the axis.
        places: the coordinates of the outputs.
        mode: linear or cubic.
        a: the coefficient of the cubic polynomial (Keys, "Cubic Convolution Interpolation", 1981).
        exclude: whether inputs outside of the tensor have no weight, instead of the value at the edge.
        antialias: whether the filter becomes wider where the tensor becomes smaller.
    """
    stretch = max(1.0, 1.0 / axis.scale) if antialias else 1.0
    support = (1.0 if mode == "linear" else 2.0) * stretch
    first = np.floor(places - support).astype(np.int64) + 1
    taps = first[:, None] + np.arange(int(np.ceil(2 * support)) + 1)
    found = (_linear if mode == "linear" else _cubic)((places[:, None] - taps) / stretch, a)
    if exclude:
        found = np.where((taps < 0) | (taps >= axis.inputs), 0.0, found)
    if exclude or antialias:
        found = found / found.sum(1, keepdims=True)
    matrix = np.zeros((axis.inputs, axis.outputs))
    columns = np.broadcast_to(np.arange(axis.outputs)[:, None], taps.shape)
    np.add.at(matrix, (np.clip(taps, 0, axis.inputs - 1), columns), found)
    return matrix


def _linear(distance: np.ndarray, _: float) -> np.ndarray:
    return np.maximum(0.0, 1.0 - np.abs(distance))


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
