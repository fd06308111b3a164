"""Recurrent layers: RNN, GRU and LSTM."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels import _native

_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_USUAL = {"rnn": ("tanh",), "gru": ("sigmoid", "tanh"), "lstm": ("sigmoid", "tanh", "tanh")}


class Recurrent:
    """RNN, GRU or LSTM over sequences, as the operators of ONNX define them, in float32.

    Args:
        cell: ``"rnn"``, ``"gru"`` or ``"lstm"``, with 1, 3 (z, r, h) or 4 (i, o, f, c) gates.
        w: weights of the inputs, (directions, gates * units, inputs).
        r: weights of the state, (directions, gates * units, units).
        b: biases, those of w before those of r, (directions, 2 * gates * units).
        p: peepholes of i, o and f, (directions, 3 * units); for ``"lstm"`` only.
        direction: ``"forward"``, ``"reverse"`` or ``"bidirectional"``.
        activations: for each direction, names or (name, alpha, beta) of f; f, g; or f, g, h. None means sigmoid for f
            and tanh for the others; tanh for ``"rnn"``. Names are those of ONNX in lower case with underscores, such as
            ``"hard_sigmoid"``.
        clip: arguments of the gates' activations are limited to ``-clip`` to ``clip``.
        input_forget: for ``"lstm"``: f is ``1 - i``.
        linear_before_reset: for ``"gru"``: r multiplies the product of the state and its weights instead of the state.
        batch_first: whether the batch is the first axis of all tensors.
        isa: one of ``kernels.available_isas()``; None selects the best.
        threads: the number of threads of the shared pool, the caller included. Small layers use fewer.

    Raises:
        TypeError: a weight is not a float32 array.
        ValueError: a shape or an option is wrong, or this CPU lacks the ISA.
    """

    def __init__(
        self,
        cell: str,
        w: np.ndarray,
        r: np.ndarray,
        b: np.ndarray | None = None,
        p: np.ndarray | None = None,
        direction: str = "forward",
        activations: Sequence[str | tuple[str, float, float]] | None = None,
        clip: float | None = None,
        input_forget: bool = False,
        linear_before_reset: bool = False,
        batch_first: bool = False,
        isa: str | None = None,
        threads: int = 1,
    ) -> None:
        if direction not in _DIRECTIONS:
            raise ValueError(f"unknown direction {direction!r}; choose from: {', '.join(_DIRECTIONS)}")
        reverse = list(_DIRECTIONS[direction])
        chosen = _USUAL.get(cell, ()) * len(reverse) if activations is None else activations
        functions = [(function, 0.0, 0.0) if isinstance(function, str) else function for function in chosen]
        limit = math.inf if clip is None else clip
        self._native = _native.Recurrent(
            cell,
            *(w, r, b, p),
            reverse,
            functions,
            limit,
            input_forget,
            linear_before_reset,
            batch_first,
            isa,
            threads,
        )

    def __call__(
        self,
        x: np.ndarray,
        sequence_lens: np.ndarray | None = None,
        initial_h: np.ndarray | None = None,
        initial_c: np.ndarray | None = None,
        out: np.ndarray | None = None,
    ) -> tuple[np.ndarray, ...]:
        """Returns every h, the last h, and for ``"lstm"`` the last c.

        x (steps, batch, inputs) -> (steps, directions, batch, units), (directions, batch, units), with ``batch_first``
        x (batch, steps, inputs) -> (batch, steps, directions, units), (batch, directions, units).

        Args:
            sequence_lens: int32 (batch,): the number of steps of each sequence. Every h after them is zero, and the
                outputs of a sequence without steps are zeros, as in ONNX Runtime.
            initial_h, initial_c: like the last h; zeros if None.
            out: for every h; allocated if None.

        Calls from several threads are safe. The GIL is released.

        Raises:
            TypeError: a tensor is not a float32 array, or ``sequence_lens`` is not int32.
            ValueError: a shape or a length is wrong, or ``out`` overlaps an input.
        """
        return self._native(x, _lengths(sequence_lens), initial_h, initial_c, out)

    def time(
        self,
        x: np.ndarray,
        sequence_lens: np.ndarray | None = None,
        initial_h: np.ndarray | None = None,
        initial_c: np.ndarray | None = None,
        out: np.ndarray | None = None,
        number: int = 1,
        repeat: int = 1,
    ) -> list[float]:
        """Returns ``repeat`` samples in seconds per run, each the mean over ``number`` runs in a native loop."""
        return self._native.time(x, _lengths(sequence_lens), initial_h, initial_c, out, number, repeat)


def _lengths(value: Any) -> np.ndarray | None:
    if value is None or (isinstance(value, np.ndarray) and value.dtype == np.int32):
        return value
    got = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
    raise TypeError(f"sequence_lens must be an int32 array, got {got}")
