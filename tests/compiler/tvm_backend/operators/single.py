"""Models of one statement, compiled, against ONNX Runtime or given answers."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import onnx
import onnx.parser
import pytest

import compiler
from tests.graph_passes import oracle

INF, NAN = np.float32(np.inf), np.float32(np.nan)


def parsed(text: str, opset: int = 18) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> g {text}')


def answers(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], threads: int = 1) -> list[np.ndarray]:
    return list(compiler.build(model, threads=threads, fallback=None).run(inputs).values())


def check(text: str, expected: list | None = None, opset: int = 18, rtol: float = 2e-6, **inputs: np.ndarray) -> None:
    """Compares the outputs with the expected ones; with those of ONNX Runtime if none are given.

    A model is compiled for one thread or for two, which depends on its text: half of the time, and both are covered.
    ``rtol`` is relative to the largest finite element: 16 roundings of float32.
    """
    model = parsed(text, opset)
    wanted = oracle.run(model, inputs) if expected is None else [np.asarray(e) for e in expected]
    for got, want in zip(answers(model, inputs, 1 + zlib.crc32(text.encode()) % 2), wanted, strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        scale = np.abs(want[np.isfinite(want)], dtype=np.float64).max(initial=0.0)
        np.testing.assert_allclose(got, want, rtol=0, atol=rtol * scale if want.dtype.kind == "f" else 0)


def rejected(text: str, match: str, opset: int = 18) -> None:
    """The model is rejected by one line that contains ``match``."""
    with pytest.raises(ValueError, match=match) as caught:
        compiler.build(parsed(text, opset), threads=1, fallback=None)
    assert "\n" not in str(caught.value)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
