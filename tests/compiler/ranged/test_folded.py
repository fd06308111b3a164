"""What a model has at a size, compared with what follows from other sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

import graph_passes
from compiler.ranged.folded import check_folded, folded
from compiler.sizes.differing import DifferentPrograms, Witnesses
from compiler.sizes.size import Size

WITNESSES = Witnesses.of([Size("l", range(1, 65))])
TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[l,4] x) => (float[n] y) <int64 limit = {9}> {
  s = Shape (x)  zero = Constant <value_int = 0> ()  n = Gather (s, zero)  small = Less (n, limit)
  z = Neg (x)  w = Where (small, z, x)  flat = Constant <value_ints = [-1]> ()  y = Reshape (w, flat)
}"""


def at(length: int) -> Mapping[str, Any]:
    model = onnx.parser.parse_model(TEXT)
    passes = ("freeze_shapes", "fold_constants")
    return folded(graph_passes.optimize(model, {"x": (length, 4)}, passes).ir_model)


def test_shapes_and_conditions() -> None:
    for length in (1, 8, 9, 64):
        found = at(length)
        assert found["z"] == {"shape": [length, 4]}
        assert found["y"] == {"shape": [4 * length]}
        assert found["small"] == {"constant": bool(np.less(length, 9))}


@pytest.mark.parametrize("length", [1, 5, 9, 64])
def test_a_condition_that_differs(length: int) -> None:
    parts = [at(point["l"]) for point in WITNESSES.points if point["l"] >= 9]
    witnesses = Witnesses(WITNESSES.sizes, tuple(point for point in WITNESSES.points if point["l"] >= 9))
    if length >= 9:
        check_folded(parts, witnesses, {"l": length}, at(length))
        return
    line = f"^small has another form at l {length}; give smaller ranges, or numbers$"
    with pytest.raises(DifferentPrograms, match=line):
        check_folded(parts, witnesses, {"l": length}, at(length))


@pytest.mark.parametrize(
    ("values", "other"),
    [
        ({"shape": ["l", 4]}, {"shape": [4]}),
        ({"shape": ["l", 4]}, {"shape": [1, 5]}),
        ({"constant": ["l", 3]}, {"constant": [2, 3]}),
        ({"constant": True}, {"constant": False}),
    ],
    ids=str,
)
def test_what_differs(values: dict[str, Any], other: dict[str, Any]) -> None:
    def of(length: int) -> dict[str, Any]:
        key, value = next(iter(values.items()))
        return {"t": {key: [length if n == "l" else n for n in value] if isinstance(value, list) else value}}

    parts = [of(point["l"]) for point in WITNESSES.points]
    check_folded(parts, WITNESSES, {"l": 1}, of(1))
    check_folded(parts, WITNESSES, {"l": 1}, {"another": other})
    with pytest.raises(DifferentPrograms, match=r"^t has another form at l 1; give smaller ranges, or numbers$"):
        check_folded(parts, WITNESSES, {"l": 1}, {"t": other})
