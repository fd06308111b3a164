"""What every pass does around its own rewriting."""

from __future__ import annotations

import weakref

import numpy as np
import onnx_ir as ir

import graph_passes
from tests.graph_passes.models import model


def test_constants_that_a_pass_removes_are_freed() -> None:
    original = model(
        "g (float[1,64] x) => (float[1,64] y) <float[64,64] w> { t = Transpose (w) y = MatMul (x, t) }",
        w=np.ones((64, 64), np.float32),
    )
    kept: dict[str, weakref.ref[ir.TensorProtocol]] = {}

    def note(_index: int, _pass: graph_passes.Pass, rewritten: ir.Model) -> None:
        for name, value in rewritten.graph.initializers.items():
            assert value.const_value is not None
            kept.setdefault(name, weakref.ref(value.const_value))

    optimized = graph_passes.optimize(original, after_pass=note)
    assert set(kept) > set(optimized.ir_model.graph.initializers)
    for name, tensor in kept.items():
        assert (tensor() is not None) == (name in optimized.ir_model.graph.initializers), name
