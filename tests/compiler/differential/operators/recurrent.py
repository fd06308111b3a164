"""Recurrent layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.compiler.differential.draft import NodeDraft
from tests.compiler.differential.values import UNIT

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_ACTIVATIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}


def recurrent(d: NodeDraft) -> None:
    name = d.schema.name
    gates = _GATES[name]
    steps, batch, size, hidden = d.integer(1, 4), d.integer(1, 3), d.integer(1, 4), d.integer(1, 4)
    direction = d.maybe("direction", "forward", "reverse", "bidirectional", percent=70)
    count = 2 if direction == "bidirectional" else 1
    layout = d.maybe("layout", 0, 1, percent=20)
    d.data(shape=[batch, steps, size] if layout else [steps, batch, size], kind=UNIT)
    d.operand([count, gates * hidden, size], UNIT)
    d.operand([count, gates * hidden, hidden], UNIT)
    optional: list[Callable[[], object]] = [
        lambda: d.operand([count, 2 * gates * hidden], UNIT),
        lambda: d.given(d.rng().integers(1, steps + 1, [batch]).astype(np.int32), dynamic=50),
    ]
    state = [batch, count, hidden] if layout else [count, batch, hidden]
    optional += [lambda: d.operand(state, UNIT)] * (2 if name == "LSTM" else 1)
    if name == "LSTM":
        optional.append(lambda: d.operand([count, 3 * hidden], UNIT))
    for percent, add in zip((70, 30, 40, 40, 25), optional, strict=False):
        add() if d.chance(percent) else d.absent()
    d.set("hidden_size", hidden)
    if d.chance(20):
        names = [d.choice("Tanh", "Sigmoid", "Relu", "Softsign") for _ in range(_ACTIVATIONS[name] * count)]
        d.set("activations", names)
    d.maybe("clip", 0.5, 3.0, percent=15)
    d.maybe("linear_before_reset", 0, 1)
    d.maybe("input_forget", 0, 1, percent=20)
    outputs = 3 if name == "LSTM" else 2
    d.num_outputs = outputs
    skipped = d.integer(0, outputs + 2)
    d.skipped_outputs = {skipped} if skipped < outputs else set()


STRATEGIES: dict[str, Callable[[NodeDraft], None]] = dict.fromkeys(_GATES, recurrent)
