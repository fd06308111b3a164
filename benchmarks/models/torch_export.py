"""Exports a PyTorch module to ONNX without folding anything, as the model before any optimization."""

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
    """Exports a module with one output as an ONNX model of opset 17, with its BatchNormalization.

    By default the exporter folds it into the convolutions, which would hide the effect of the graph passes.
    """
    import torch

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The warnings are about the old exporter, and about a module in inference mode.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            buffer,  # pyright: ignore[reportArgumentType] - the old exporter accepts any file
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes=dynamic_axes,
            opset_version=17,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
        )
    return onnx.load_from_string(buffer.getvalue())
