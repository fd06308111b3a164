"""A model that is cut into pieces computes the same outputs."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.pieces import pieces
from optimizer.session import Session
from tests.graph_passes.models import either, model
from tests.optimizer.networks import network, samples

CHOSEN = either("d", "c", "float[4] e { e = Add (a, b) }", "float[4] f { f = Mul (a, two) }")
BRANCHES = model(
    f"g (float[4] x) => (float[4] y) <bool c, float[4] two> {{ a = Exp (x) b = Neg (a) {CHOSEN} y = Add (d, x) }}",
    c=1.0,
)


@pytest.mark.parametrize("ends", [(), ("a",), ("a", "e", "h"), ("c", "d", "l", "y")])
def test_the_pieces_of_a_network(ends: tuple[str, ...]) -> None:
    whole, (inputs,) = network(), [samples(1)]
    values = dict(inputs)
    found = list(pieces(whole, ends))
    assert [piece.end for piece in found if piece.end] == list(ends)
    for piece in found:
        values |= Session(piece.model, fused=False)({name: values[name] for name in piece.inputs})
        for name in piece.unread:
            del values[name]
    np.testing.assert_allclose(values["y"], Session(whole, fused=False)(inputs)["y"], rtol=1e-6)
    assert set(values) == {"y"}


def test_values_that_branches_read() -> None:
    x = np.arange(4, dtype=np.float32)
    values = {"x": x}
    for piece in pieces(BRANCHES, ("a", "b")):
        values |= Session(piece.model)({name: values[name] for name in piece.inputs})
        for name in piece.unread:
            del values[name]
    np.testing.assert_allclose(values["y"], x, rtol=1e-6)


def test_constants_are_those_at_the_time() -> None:
    whole = network()
    found = pieces(whole, ("a", "e"))
    next(found)
    bias = next(tensor for tensor in whole.graph.initializer if tensor.name == "b3")
    bias.raw_data = b"\0" * len(bias.raw_data)
    (second,) = (piece for piece in found if piece.end == "e")
    kept = next(tensor for tensor in second.model.graph.initializer if tensor.name == "b3")
    assert not any(kept.raw_data)
