"""The real models of tests and benchmarks: ``load`` returns a model of the table ``MODELS``.

``make models`` unpacks the packages of models into build/models; the other models are part of ``onnx``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx

from benchmarks.models import efficientnet, light, minilm, mobilenet, packages, published


@dataclass(frozen=True)
class Model:
    """A model and the shapes of its inputs."""

    name: str
    title: str
    build: Callable[[], onnx.ModelProto]
    input_shapes: Mapping[str, tuple[int, ...]]  # of every input, batch 1
    package: str | None  # "name==version" of the package with its file; None if no package is needed
    small: bool  # loads and runs fast enough for tests


_IMAGE = (1, 3, 224, 224)
_TEXT = {"input_ids": (1, 128), "attention_mask": (1, 128), "token_type_ids": (1, 128)}


def _light(name: str, title: str, file: str, image: str, small: bool = True) -> Model:
    return Model(name, f"{title}, random weights", partial(light.light, file), {image: _IMAGE}, None, small)


MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        Model("resnet50", "ResNet-50 v1, random weights", light.resnet50, {"gpu_0/data_0": _IMAGE}, None, small=True),
        _light("resnet50-v1.5", "ResNet-50 v1.5", "resnet50", "gpu_0/data_0"),
        _light("densenet121", "DenseNet-121", "densenet121", "data_0"),
        _light("inception-v1", "Inception v1", "inception_v1", "data_0"),
        _light("inception-v2", "Inception v2", "inception_v2", "data_0"),
        _light("shufflenet", "ShuffleNet v1", "shufflenet", "gpu_0/data_0"),
        _light("squeezenet", "SqueezeNet", "squeezenet", "data_0"),
        _light("alexnet", "AlexNet", "bvlc_alexnet", "data_0", small=False),
        _light("vgg19", "VGG-19", "vgg19", "data_0", small=False),
        _light("zfnet512", "ZFNet-512", "zfnet512", "gpu_0/data_0", small=False),
        Model("mobilenetv2", "MobileNetV2", mobilenet.mobilenetv2, {"x": _IMAGE}, mobilenet.PACKAGE, small=False),
        Model(
            "efficientnet-lite0",
            "EfficientNet-Lite0",
            efficientnet.efficientnet_lite0,
            {"x": _IMAGE},
            efficientnet.PACKAGE,
            small=False,
        ),
        Model("minilm", "MiniLM-L6, 128 tokens", minilm.minilm, _TEXT, minilm.PACKAGE, small=False),
        Model(
            "minilm-int8",
            "MiniLM-L6 with int8 weights, 128 tokens",
            published.minilm_int8,
            _TEXT,
            published.MINILM_INT8,
            small=False,
        ),
        Model(
            "crnn-int8",
            "ddddocr's CRNN, int8",
            published.crnn_int8,
            {"input1": (1, 1, 64, 192)},
            published.CRNN_INT8,
            small=False,
        ),
        Model(
            "direction-classifier",
            "PP-OCR's direction classifier",
            published.direction_classifier,
            {"x": (1, 3, 48, 192)},
            published.DIRECTION_CLASSIFIER,
            small=True,
        ),
        Model(
            "mnist-cnn",
            "CNTK's MNIST CNN",
            published.mnist_cnn,
            {"Input3": (1, 1, 28, 28)},
            published.MNIST_CNN,
            small=True,
        ),
    )
}


def missing(name: str) -> str | None:
    """Returns why a model cannot be built here and what to do, in one line; None if it can be built.

    Raises:
        ValueError: there is no model of this name.
    """
    package = _model(name).package
    return packages.missing(package) if package else None


def load(name: str) -> onnx.ModelProto:
    """Builds a model of the table. The result is the same every time.

    Raises:
        ValueError: there is no model of this name.
        FileNotFoundError: its package is missing; the message is that of ``missing``.
    """
    model = _model(name)
    if reason := missing(name):
        raise FileNotFoundError(reason)
    return model.build()


def _model(name: str) -> Model:
    if name not in MODELS:
        raise ValueError(f"no model {name!r} here; there are {', '.join(MODELS)}")
    return MODELS[name]


def random_inputs(
    model: onnx.ModelProto, input_shapes: Mapping[str, tuple[int, ...]], seed: int = 0
) -> dict[str, np.ndarray]:
    """Returns seeded, valid inputs for the model.

    Floats are from N(0, 1), indices are within the table that they index, masks are ones, token types are zeros, and
    other integers cover the entire range of their type.

    Raises:
        ValueError: an input has no shape, a shape has no input, or an input does not consist of numbers.
    """
    rng = np.random.default_rng(seed)
    constants = {tensor.name for tensor in model.graph.initializer}  # in old models, these are inputs too
    inputs = [value for value in model.graph.input if value.name not in constants]
    names = {value.name for value in inputs}
    if names != set(input_shapes):
        raise ValueError(f"the inputs are {', '.join(sorted(names))}, not {', '.join(sorted(input_shapes))}")
    return {
        value.name: _random(rng, model.graph, value.name, value.type.tensor_type.elem_type, input_shapes[value.name])
        for value in inputs
    }


def _random(
    rng: np.random.Generator, graph: onnx.GraphProto, name: str, elem_type: int, shape: tuple[int, ...]
) -> np.ndarray:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(elem_type)
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if dtype.kind == "b" or "mask" in name:
        return np.ones(shape, dtype)
    if dtype.kind not in "iu":
        raise ValueError(f"no random values of {dtype} for the input {name}")
    if "token_type" in name:
        return np.zeros(shape, dtype)
    if rows := _rows_indexed(graph, name):
        return rng.integers(0, rows, shape, dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def _rows_indexed(graph: onnx.GraphProto, name: str) -> int | None:
    """Returns the rows of the smallest table that an input indexes. The table may be dequantized first."""
    tables = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    written = {output: node for node in graph.node for output in node.output}
    rows = []
    for node in graph.node:
        if node.op_type == "Gather" and node.input[1] == name:
            table = node.input[0]
            while table not in tables and table in written:
                table = written[table].input[0]
            if table in tables:
                rows.append(tables[table])
    return min(rows, default=None)
