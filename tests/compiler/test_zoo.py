"""The random networks of the tests of graph_passes, compiled, compute the same outputs as ONNX Runtime."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compiler.models import built
from tests.graph_passes import oracle
from tests.graph_passes.test_zoo import cases
from tests.graph_passes.zoo import networks


@pytest.mark.tvm
@cases(12)
@given(networks(), st.integers(1, 2), st.sampled_from([1, 2]))
def test_compiled_networks_answer_as_before(model: onnx.ModelProto, batch: int, threads: int) -> None:
    inputs = oracle.random_inputs(model, 1, batch)
    built(model, inputs, {name: x.shape for name, x in inputs.items()}, threads=threads)
