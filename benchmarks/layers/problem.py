"""A layer as a problem: inputs, a buffer for the output, and the right answer."""

from __future__ import annotations

import numpy as np

from benchmarks.layers import integers
from benchmarks.layers.layer import Implementation
from compiler.measure.answers import WrongAnswerError
from compiler.workloads import reference
from compiler.workloads.workload import Workload

ALIGNMENT = 64  # bytes: a cache line, and a vector of AVX-512


class Problem:
    """A workload with aligned inputs, an aligned buffer for the output, and the answer in float64."""

    def __init__(self, workload: Workload) -> None:
        self._oracle = integers if workload.dtype == integers.INT8 else reference
        plain = self._oracle.make_inputs(workload)
        self.workload = workload
        self.inputs = {name: aligned(array) for name, array in plain.items()}
        self.out = aligned(np.zeros(workload.output_shape, next(iter(plain.values())).dtype))
        self._expected = self._oracle.reference(workload, plain)
        self._allowed: dict[str, np.ndarray] = {}

    def check(self, layer: Implementation) -> None:
        """
        Raises:
            WrongAnswerError: the answer exceeds the error bound of the layer's algorithm.
        """
        if layer.algorithm not in self._allowed:
            self._allowed[layer.algorithm] = self._oracle.tolerance(self.workload, self.inputs, layer.algorithm)
        check_answer(layer, self._expected, self._allowed[layer.algorithm])


def check_answer(layer: Implementation, expected: np.ndarray, allowed: np.ndarray) -> None:
    """
    Raises:
        WrongAnswerError: an element of the answer differs from ``expected`` by more than ``allowed``.
    """
    error = np.abs(layer.run() - expected)
    if not (error <= allowed).all():
        excess = float((error / allowed).max())
        raise WrongAnswerError(f"wrong answer, {excess:.3g} times the tolerance: {layer.description}")


def aligned(array: np.ndarray) -> np.ndarray:
    """Returns a C-contiguous copy that starts at a multiple of ``ALIGNMENT``."""
    room = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
