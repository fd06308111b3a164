"""Operators that passes replace by their definitions compile, and compute what ONNX Runtime computes."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import compiler
from compiler.tvm_backend.operators import CONVERTERS
from graph_passes.expand_functions import EXPANDED
from tests.graph_passes import oracle
from tests.graph_passes.definitions.drawn import DRAWN, MICROSOFT, Drawn
from tests.graph_passes.definitions.test_definitions import assert_close, model_of, opsets_of

# Bernoulli draws random numbers; SequenceMap's definition is a loop over a sequence.
NOT_EXPANDED = {"Bernoulli", "SequenceMap"}


def test_every_function_of_onnx_has_a_converter_or_is_expanded() -> None:
    schemas: Any = onnx.defs.get_all_schemas_with_history()  # its annotations lack functions
    functions = {
        schema.name
        for schema in schemas
        if not schema.domain and (schema.has_function or schema.has_context_dependent_function)
    }
    assert functions - CONVERTERS.keys() - NOT_EXPANDED == set(EXPANDED)


@pytest.mark.parametrize("op_type", DRAWN)
@settings(max_examples=3, deadline=None, phases=[Phase.generate])  # builds take a second
@given(data=st.data())
def test_definitions(op_type: str, data: st.DataObject) -> None:
    call: Drawn = DRAWN[op_type](data.draw)
    model, inputs = model_of(call, data.draw(st.sampled_from(opsets_of(call))))
    want = oracle.run(model, inputs)
    got = compiler.build(model, threads=data.draw(st.integers(1, 2)), fallback=None).run(inputs)
    for one, other in zip(got.values(), want, strict=True):
        assert_close(one, other, call)


def test_attention_becomes_a_kernel() -> None:
    text = """g (float[1,16,32] x, int32[1,16] m) => (float[1,16,32] y) <float[32,96] w, float[96] b> {
        y = com.microsoft.Attention <num_heads = 4> (x, w, b, m)
    }"""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17, "{MICROSOFT}": 1]> {text}')
    del model.graph.value_info[:]
    for name, shape in (("w", (32, 96)), ("b", (96,))):
        values = oracle.np.random.default_rng(0).standard_normal(shape).astype("float32")
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    layers = compiler.layers_of(model)
    assert [layer.op for layer in layers] == ["dense", "dense", "dense", "attention"]
