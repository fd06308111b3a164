"""From a module of PyTorch to ONNX, with nothing folded: what a model's graph looks like before any optimization."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import onnx

if TYPE_CHECKING:
    import torch


def export(
    module: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    output: str,
    dynamic_axes: Mapping[str, Mapping[int, str]] | None = None,
) -> onnx.ModelProto:
    """A module with one output as an ONNX model of opset 17, BatchNormalization kept.

    The exporter folds it into the convolutions otherwise, and with it what graph passes are measured by.
    """
    import torch

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # That this exporter is the old one, and that a module in inference mode is exported as such.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            buffer,  # pyright: ignore[reportArgumentType] - the old exporter writes to any file
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes=dynamic_axes,
            opset_version=17,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
        )
    return onnx.load_from_string(buffer.getvalue())
