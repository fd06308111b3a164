"""Chooses for each weight whether it is rounded up or down, so that the outputs of its layer change least.

Nagel et al.: Up or Down? Adaptive Rounding for Post-Training Quantization, ICML 2020. Layers follow each other: each
one reads what the rounded layers before it compute, and its outputs are compared with those of the original.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from optimizer.graphs import attributes_of, with_outputs
from optimizer.pieces import pieces
from optimizer.samples import Samples
from optimizer.session import Session
from optimizer.training.operators import OPERATORS
from optimizer.training.operators.call import Call

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
STEPS, BATCH, RATE = 400, 8, 1e-2
_FREE = 0.2  # the share of the steps without the term that makes decisions firm
_FIRM = 0.01  # its weight
_SHARPEST, _BLUNTEST = 2.0, 20.0  # the exponent of that term, at the end and at the beginning
_LOW, _HIGH = -0.1, 1.1  # between which a sigmoid is stretched, so that it reaches 0 and 1


@dataclass(frozen=True)
class _Layer:
    """A layer with weights of int8 with the zero point 0, and float32 scales of channels."""

    node: onnx.NodeProto
    integers: onnx.TensorProto
    scales: np.ndarray
    bias: np.ndarray | None

    @property
    def output(self) -> str:
        return self.node.output[0]


def choose_rounding(
    original: onnx.ModelProto, quantized: onnx.ModelProto, samples: Samples, threads: int | None, seed: int = 0
) -> None:
    """Changes the integers of the weights of ``quantized`` by one, where that brings a layer's outputs closer.

    Nodes have the same names in both models.
    """
    layers = {layer.output: layer for layer in _layers(quantized)}
    runs = [dict(inputs) for inputs in samples]  # the values that later pieces read
    weights = {tensor.name: tensor for tensor in original.graph.initializer}
    nodes = {node.name: node for node in original.graph.node}
    generator = torch.Generator().manual_seed(seed)
    for piece in pieces(quantized, layers):
        layer = None if piece.end is None else layers[piece.end]
        made = [output.name for output in piece.model.graph.output]
        reads = [] if layer is None else [layer.node.input[0]]
        session = Session(with_outputs(piece.model, *dict.fromkeys([*made, *reads])), threads, fused=False)
        read = []
        for values in runs:
            answers = session({name: values[name] for name in piece.inputs})
            values.update({name: answers[name] for name in made})
            read += [answers[name] for name in reads]
        if layer is not None:
            before = nodes[layer.node.name]
            target = Session(with_outputs(original, before.output[0]), threads)
            wanted = [target(inputs)[before.output[0]] for inputs in samples]
            weight = numpy_helper.to_array(weights[before.input[1]])
            rounded, outputs = _rounded(layer, weight, np.concatenate(read), np.concatenate(wanted), generator)
            layer.integers.CopyFrom(numpy_helper.from_array(rounded, layer.integers.name))
            for values, output in zip(runs, np.split(outputs, len(runs)), strict=True):
                values[layer.output] = output
        for values in runs:
            for name in piece.unread:
                values.pop(name, None)


def _layers(model: onnx.ModelProto) -> Iterator[_Layer]:
    made_by = {output: node for node in model.graph.node for output in node.output}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        weight = made_by.get(node.input[1]) if node.op_type in LAYERS and len(node.input) > 1 else None
        if weight is None or weight.op_type != "DequantizeLinear" or weight.input[0] not in tensors:
            continue
        integers, scales = tensors[weight.input[0]], numpy_helper.to_array(tensors[weight.input[1]])
        if integers.data_type != onnx.TensorProto.INT8 or scales.dtype != np.float32:
            continue
        axis = next((each.i for each in weight.attribute if each.name == "axis"), 1)
        shape = [-1 if place == axis % len(integers.dims) else 1 for place in range(len(integers.dims))]
        bias = None
        if len(node.input) > 2 and node.input[2]:
            back = made_by.get(node.input[2])
            if back is None or any(name not in tensors for name in back.input[:2]):
                continue
            steps, scale = (numpy_helper.to_array(tensors[name]) for name in back.input[:2])
            bias = (steps * scale).astype(np.float32)
        yield _Layer(node, integers, scales.reshape(shape if scales.size > 1 else ()), bias)


def _rounded(
    layer: _Layer, weight: np.ndarray, x: np.ndarray, wanted: np.ndarray, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the integers, and the outputs of the layer with them.

    Args:
        layer: the layer.
        weight: in floating point.
        x, wanted: its inputs and the outputs of the original, for all samples.
        generator: of the order of samples.
    """
    attributes = attributes_of(layer.node)
    scales, inputs, targets = torch.from_numpy(layer.scales.copy()), torch.from_numpy(x), torch.from_numpy(wanted)
    bias = None if layer.bias is None else torch.from_numpy(layer.bias)

    def compute(some: torch.Tensor, integers: torch.Tensor) -> torch.Tensor:
        # Layers have one output.
        return cast("torch.Tensor", OPERATORS[layer.node.op_type](Call((some, integers * scales, bias), attributes)))

    def whole(integers: torch.Tensor) -> torch.Tensor:
        return torch.cat([compute(some, integers) for some in inputs.split(BATCH)])

    steps = torch.from_numpy(weight.copy()) / scales
    floor = torch.floor(steps)
    share = ((steps - floor).clamp(0.01, 0.99) - _LOW) / (_HIGH - _LOW)
    decision = torch.log(share / (1 - share)).requires_grad_()
    plain = torch.from_numpy(numpy_helper.to_array(layer.integers).astype(np.float32))
    optimizer = torch.optim.Adam([decision], RATE)
    with torch.no_grad():
        power = max(float((whole(plain) - targets).square().mean()), 1e-30)
    for step in range(STEPS):
        some = torch.randperm(len(inputs), generator=generator)[:BATCH]
        up = (torch.sigmoid(decision) * (_HIGH - _LOW) + _LOW).clamp(0, 1)
        error = (compute(inputs[some], (floor + up).clamp(-127, 127)) - targets[some]).square().mean() / power
        if step >= _FREE * STEPS:
            part = (step / STEPS - _FREE) / (1 - _FREE)
            exponent = _BLUNTEST + (_SHARPEST - _BLUNTEST) * part
            error = error + _FIRM * (1 - (2 * up - 1).abs().pow(exponent)).mean() * decision.numel() ** 0.5
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    with torch.no_grad():
        chosen = (floor + (decision > 0)).clamp(-127, 127)
        outputs = whole(chosen)
        ratio = float((outputs - targets).square().mean()) / power
        if not ratio < 1:  # the nearest integers are better
            chosen, outputs = plain, whole(plain)
    return chosen.to(torch.int8).numpy(), outputs.numpy()
