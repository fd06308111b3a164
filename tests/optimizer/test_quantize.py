from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import compiler
from optimizer import METHODS, quantize
from optimizer.session import Session
from tests.graph_passes.models import model
from tests.optimizer.networks import network, samples

LAYERS = 5


@pytest.mark.parametrize("method", METHODS)
def test_answers_stay_close(method: str) -> None:
    found = quantize(network(), samples(), method)
    assert len(found.quantized) == len(found.shifts) == LAYERS
    assert found.left == ()
    (output,) = found.outputs
    assert output.output == "y"
    assert output.sqnr_db > 20
    onnx.checker.check_model(found.model, full_check=True)


def test_what_is_written() -> None:
    """Activations in u8, weights in s8 with a scale per channel, biases in s32."""
    found = quantize(network(), samples()).model
    tensors = {tensor.name: tensor for tensor in found.graph.initializer}
    made_by = {node.output[0]: node for node in found.graph.node}
    layers = [node for node in found.graph.node if node.op_type in ("Conv", "Gemm")]
    kinds = onnx.TensorProto
    for node in layers:
        x, weight, bias = (made_by[name] for name in node.input)
        assert tensors[x.input[2]].data_type == kinds.UINT8
        assert tensors[weight.input[0]].data_type == kinds.INT8
        assert tensors[bias.input[0]].data_type == kinds.INT32
        assert list(tensors[weight.input[1]].dims) == list(tensors[bias.input[0]].dims)


def test_the_original_does_not_change() -> None:
    original = network()
    before = original.SerializeToString()
    quantize(original, samples())
    assert original.SerializeToString() == before


def test_bias_correction_keeps_the_means_of_channels() -> None:
    """On the samples, the means of the last layer differ less, and the answers are closer."""
    original, data = network(), samples(32)
    plain, corrected = (quantize(original, data, "min-max", correction) for correction in (False, True))
    assert plain.shifts == {}
    assert corrected.outputs[0].sqnr_db > plain.outputs[0].sqnr_db
    wanted, *found = (
        np.mean([Session(each)({"x": x[None]})["y"] for x in data["x"]], axis=0)
        for each in (original, plain.model, corrected.model)
    )
    errors = [np.abs(means - wanted).max() for means in found]
    assert errors[1] < errors[0] / 2


def test_our_compiler_runs_it() -> None:
    found, data = quantize(network(), samples()).model, samples(1, seed=7)
    wanted = Session(found)(data)["y"]
    got = compiler.build(found, threads=1).run(data)["y"]
    # The same integers but for roundings at ties, which differ by one step of the answer's scale.
    assert np.abs(got - wanted).max() <= 0.03 * np.abs(wanted).max()


def test_excluded_nodes_stay() -> None:
    named = network()
    for node in named.graph.node:
        node.name = f"n_{node.output[0]}"
    found = quantize(named, samples(), exclude=["n_a", "n_y"])
    assert found.left == (("n_a", "Conv"), ("n_y", "Gemm"))
    assert len(found.quantized) == LAYERS - 2


def test_batches_and_old_opsets() -> None:
    assert quantize(network(batch="4"), samples(8)).outputs[0].sqnr_db > 20
    assert len(quantize(network(opset=11), samples(4)).quantized) == LAYERS


def test_files(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "model.onnx")
    assert len(quantize(tmp_path / "model.onnx", samples(4)).quantized) == LAYERS


def test_external_data(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0)
    assert len(quantize(tmp_path / "model.onnx", samples(4)).quantized) == LAYERS


NOTHING = "g (float[1,3] x) => (float[1,3] y) { y = Relu (x) }"
QUANTIZED = """g (float[1,3] x) => (float[1,3] y) <float s, uint8 z> {
    q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }"""
BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "method": (network(), {"method": "best"}, "unknown method 'best'; choose from: percentile, min-max"),
    "exclude": (network(), {"exclude": ["nothing"]}, "exclude: the model has no node 'nothing'"),
    "nothing": (
        model(NOTHING),
        {"samples": {"x": np.ones((2, 3), np.float32)}},
        "the model has no convolution and no product with constant weights that can be quantized",
    ),
    "quantized": (
        model(QUANTIZED),
        {"samples": {"x": np.ones((2, 3), np.float32)}},
        "the model is quantized already: it has DequantizeLinear, QuantizeLinear",
    ),
    "samples": (network(), {"samples": {}}, "there are no samples"),
}


@pytest.mark.parametrize(("original", "arguments", "message"), BAD.values(), ids=BAD.keys())
def test_bad_arguments(original: onnx.ModelProto, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        quantize(original, **{"samples": samples(2), **arguments})


def test_a_file_that_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("text")
    with pytest.raises(ValueError, match="is not an ONNX model"):
        quantize(tmp_path / "model.onnx", samples(1))
