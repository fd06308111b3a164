"""Calibrates the ranges of activations on samples, and inserts quantizers: by ONNX Runtime."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime import quantization

from optimizer.methods import METHODS
from optimizer.samples import Samples

_LARGEST_MESSAGE = 2**31 - 2**20  # of protobuf, with room for what calibration adds


class _Reader(quantization.CalibrationDataReader):
    """The samples in the form in which ONNX Runtime's calibration reads them."""

    def __init__(self, samples: Samples) -> None:
        self._runs = iter(samples)

    def get_next(self) -> dict[str, np.ndarray]:
        return next(self._runs, {})  # an empty one is the end


def with_quantizers(model: onnx.ModelProto, samples: Samples, method: str, exclude: Sequence[str]) -> onnx.ModelProto:
    """Returns the model with QuantizeLinear and DequantizeLinear around its operators, and integers as weights.

    Args:
        method: a key of :data:`optimizer.methods.METHODS`.
        exclude: names of nodes that stay in floating point.
    """
    name, options = METHODS[method]
    with tempfile.TemporaryDirectory(prefix="loopwright-quantize-") as folder, _quiet():
        # A file, because the quantizer moves the weights of a model in memory to a file that it deletes.
        source, target = Path(folder) / "float.onnx", Path(folder) / "quantized.onnx"
        onnx.save(model, source, save_as_external_data=model.ByteSize() > _LARGEST_MESSAGE)
        quantization.quantize_static(
            source,
            target,
            _Reader(samples),
            use_external_data_format=model.ByteSize() > _LARGEST_MESSAGE,
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=list(exclude),
            calibrate_method=quantization.CalibrationMethod[name],
            extra_options=dict(options),
        )
        return onnx.load(target)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drops the progress that ONNX Runtime's quantizer prints, and its advice to optimize the model first.

    The advice is the first message of a process, which makes logging print all later ones.
    """
    disabled, handlers = logging.root.manager.disable, list(logging.root.handlers)
    logging.disable(max(disabled, logging.WARNING))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
        logging.root.handlers[:] = handlers
