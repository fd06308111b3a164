"""Quantizes a model to 8-bit integers after training, without retraining.

ONNX Runtime calibrates the ranges of the activations on samples and writes QuantizeLinear and DequantizeLinear around
the operators that it quantizes: activations in u8 with a zero point per tensor, weights in s8 with a scale per output
channel. What that leaves is a shift of the mean of each channel, which ``bias_correction`` removes. With ``max_drop``,
the layers that change the answers most stay in floating point.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.installation import extras
from graph_passes.patterns.layers import OPERATORS
from optimizer.data import LABELS
from optimizer.fidelity import Fidelity, compared
from optimizer.methods import METHODS

if TYPE_CHECKING:  # onnx is imported on first use, because that takes half a second
    import onnx

    from optimizer.max_drop import Accuracy
    from optimizer.precision_choice import LayerError
    from optimizer.samples import Samples

# Batch normalization becomes part of the convolution before it, whose weights are quantized together with it.
PASSES = ("inline_functions", "fold_constants", "fold_batch_norm")
OLDEST_OPSET, OPSET = 13, 17  # the first with a scale per channel; what older models are converted to


@dataclass(frozen=True)
class Quantized:
    """A quantized model.

    Attributes:
        model: with QuantizeLinear and DequantizeLinear.
        quantized: names of the nodes that compute with 8-bit integers.
        left: (name, operator) of convolutions and products that stay in floating point.
        shifts: for each layer by name, the largest shift of a channel's mean that was removed, in units of the
            layer's standard deviation.
        outputs: how close each output comes to that of the original, on the samples.
        errors: what each layer alone changes in the answers, largest first; only with ``errors`` or ``max_drop``.
        accuracy: only with ``max_drop``.
    """

    model: onnx.ModelProto
    quantized: tuple[str, ...]
    left: tuple[tuple[str, str], ...]
    shifts: Mapping[str, float]
    outputs: tuple[Fidelity, ...]
    errors: tuple[LayerError, ...] = ()
    accuracy: Accuracy | None = None


def quantize(
    model: str | Path | onnx.ModelProto,
    samples: Mapping[str, np.ndarray],
    method: str = "percentile",
    bias_correction: bool = True,
    exclude: Sequence[str] = (),
    threads: int | None = None,
    max_drop: float | None = None,
    errors: bool = False,
    adaround: bool = False,
    equalize: bool = False,
) -> Quantized:
    """Quantizes a model to u8 activations and s8 weights.

    Args:
        model: the path of an ONNX model, or the model.
        samples: arrays by the names of the inputs, in which the first axis counts samples, and ``labels``, if there are
            any. 20 to 200 typical ones are enough to calibrate.
        method: a key of :data:`METHODS`.
        bias_correction: whether biases are changed so that each channel has its original mean.
        exclude: names of nodes that stay in floating point.
        threads: None leaves the number to ONNX Runtime.
        max_drop: the most percentage points that may be lost of the share of samples with the right label, or without
            labels, with the original's class. Layers stay in floating point for it.
        errors: whether the error of each layer is measured.
        adaround: whether weights are rounded so that the outputs of their layers change least (takes minutes).
        equalize: whether the ranges of channels between layers are made alike first.

    Raises:
        ValueError: the model is not valid, has integer operators already, or does not run; the samples do not fit it;
            a name in ``exclude`` is unknown, there is nothing to quantize, or ``max_drop`` is out of range, cannot be
            reached, or needs an output with classes. The message is one line.
        OSError: a file cannot be read.
        ImportError: PyTorch is missing, for ``adaround``.
    """
    from optimizer import bias_correction as biases
    from optimizer import samples as given
    from optimizer.calibration import with_quantizers
    from optimizer.session import Session

    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose from: {', '.join(METHODS)}")
    if adaround:
        extras.require("adaround", "training")
    if max_drop is not None and not 0 <= max_drop <= 100:
        raise ValueError(f"max_drop must be from 0 to 100 percentage points, got {max_drop:g}")
    original = _prepared(model)
    if equalize:
        from optimizer import equalization

        equalization.equalize(original)
    names = {node.name for node in original.graph.node}
    if unknown := [name for name in exclude if name not in names]:
        raise ValueError(f"exclude: the model has no node {', '.join(map(repr, unknown))}")
    fitting = given.fitting(samples, original)
    float_session = Session(original, threads)
    answers = [float_session(inputs) for inputs in fitting]  # an error of the model shows before the calibration
    quantized = with_quantizers(original, fitting, method, exclude)
    if adaround:
        from optimizer.adaround import choose_rounding

        choose_rounding(original, quantized, fitting, threads)
    shifts = biases.correct(original, quantized, fitting, threads) if bias_correction else {}
    inside = tuple(_quantized_nodes(quantized))
    if not inside:
        raise ValueError("the model has no convolution and no product with constant weights that can be quantized")
    table: tuple[LayerError, ...] = ()
    accuracy = None
    if errors or max_drop is not None:
        from optimizer.precision_choice import layer_errors

        table = layer_errors(original, quantized, inside, fitting, threads)
    if max_drop is not None:
        from optimizer.max_drop import Scores, within

        scores = Scores.of(answers, samples.get(LABELS))
        quantized, accuracy = within(max_drop, original, quantized, table, fitting, scores, threads)
        inside = tuple(name for name in inside if name not in accuracy.in_float)
    left = tuple(
        (node.name, node.op_type)
        for node in quantized.graph.node
        if node.op_type in OPERATORS and node.name not in inside
    )
    fidelities = _fidelities(quantized, fitting, answers, threads)
    return Quantized(quantized, inside, left, shifts, fidelities, table, accuracy)


def _prepared(model: str | Path | onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model in an opset with scales per channel, with folded normalizations and a name for each node."""
    import onnx

    from optimizer.bias_correction import add_missing
    from optimizer.graphs import check_not_quantized, in_opset, loaded, name_nodes

    proto = loaded(model, PASSES)
    check_not_quantized(proto)
    proto = in_opset(proto, OLDEST_OPSET, OPSET, "has no scales per channel, and converting it fails")
    name_nodes(proto.graph)
    add_missing(proto)
    return onnx.shape_inference.infer_shapes(proto)


def _quantized_nodes(model: onnx.ModelProto) -> Iterator[str]:
    """Yields the names of the layers whose weights are quantized."""
    made_by = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type in OPERATORS and len(node.input) > 1:
            weight = made_by.get(node.input[1])
            if weight is not None and weight.op_type == "DequantizeLinear":
                yield node.name


def _fidelities(
    model: onnx.ModelProto, samples: Samples, answers: Sequence[Mapping[str, np.ndarray]], threads: int | None
) -> tuple[Fidelity, ...]:
    from optimizer.session import Session

    session = Session(model, threads)
    changed = [session(inputs) for inputs in samples]
    floats = [name for name, value in answers[0].items() if value.dtype.kind == "f"]
    return tuple(
        compared(name, ((before[name], after[name]) for before, after in zip(answers, changed, strict=True)))
        for name in floats
    )
