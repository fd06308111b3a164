"""What one LSTM, GRU or RNN computes, read from its attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graph_passes.lazy import ir
from graph_passes.recurrences.activations import Activation, chosen

# Whether each direction is the reverse one.
DIRECTIONS: Mapping[str, Sequence[bool]] = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
GATES: Mapping[str, int] = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DEFAULTS: Mapping[str, Sequence[str]] = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}


@dataclass(frozen=True)
class Form:
    """The attributes of a recurrent node.

    Attributes:
        operator: LSTM, GRU or RNN.
        directions: whether each direction is the reverse one.
        activations: of each direction.
        clip: the largest magnitude of an activation's input; None if it is not limited.
        coupled: whether the forget gate of an LSTM is 1 minus the input gate.
        linear_before_reset: whether the reset gate of a GRU multiplies the product with h instead of h.
        batch_first: whether the batch is the first axis instead of the time.
    """

    operator: str
    directions: Sequence[bool]
    activations: Sequence[Sequence[Activation]]
    clip: float | None
    coupled: bool
    linear_before_reset: bool
    batch_first: bool

    @property
    def gates(self) -> int:
        return GATES[self.operator]


def form_of(node: ir.Node) -> Form | str:
    """Returns the form of a node, or why it has none."""
    attributes = node.attributes
    direction = attributes.get_string("direction", "forward") or "forward"
    if direction not in DIRECTIONS:
        return f"its direction is {direction}"
    directions = DIRECTIONS[direction]
    names = list(attributes.get_strings("activations", ())) or [*_DEFAULTS[node.op_type]] * len(directions)
    alphas, betas = (attributes.get_floats(f"activation_{name}", ()) for name in ("alpha", "beta"))
    activations = chosen(names, alphas, betas)
    count = len(_DEFAULTS[node.op_type])
    if activations is None or len(activations) != count * len(directions):
        return f"its activations are {', '.join(names)}"
    clip = attributes.get_float("clip", 0.0) or None
    return Form(
        node.op_type,
        directions,
        [activations[place * count : (place + 1) * count] for place in range(len(directions))],
        clip,
        bool(attributes.get_int("input_forget", 0)),
        bool(attributes.get_int("linear_before_reset", 0)),
        bool(attributes.get_int("layout", 0)),
    )
