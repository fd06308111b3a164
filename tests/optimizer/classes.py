"""Small classifiers, and samples that they can learn."""

from __future__ import annotations

import numpy as np
import onnx

from tests.graph_passes.models import model

CLASSES = 3


def perceptron(hidden: int = 16, seed: int = 0) -> onnx.ModelProto:
    """Two layers, without normalization."""
    return model(
        f"""g (float[N,6] x) => (float[N,{CLASSES}] y) <float[6,{hidden}] w1, float[{hidden}] b1,
            float[{hidden},{CLASSES}] w2, float[{CLASSES}] b2> {{
            a = MatMul (x, w1) b = Add (a, b1) c = Relu (b) y = Gemm (c, w2, b2)
        }}""",
        seed=seed,
    )


def convolutions(batch: str = "N", seed: int = 0) -> onnx.ModelProto:
    """Two convolutions with a batch normalization, and a product."""
    return model(
        f"""g (float[{batch},1,8,8] x) => (float[{batch},{CLASSES}] y)
            <float[8,1,3,3] w1, float[8] scale = {{1.0,1.0,1.0,1.0,1.0,1.0,1.0,1.0}}, float[8] offset, float[8] mean,
             float[8] variance, float[8,8,3,3] w2, float[8,{CLASSES}] w3, float[{CLASSES}] b3> {{
            a = Conv <pads: ints = [1,1,1,1]> (x, w1)
            n = BatchNormalization (a, scale, offset, mean, variance)
            b = Relu (n)
            c = Conv <strides: ints = [2,2]> (b, w2)
            d = Relu (c)
            p = GlobalAveragePool (d)
            f = Flatten (p)
            y = Gemm (f, w3, b3)
        }}""",
        seed=seed,
    )


def points(count: int, seed: int) -> dict[str, np.ndarray]:
    """Points around the centers of their classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    centers = 2 * np.random.default_rng(99).standard_normal((CLASSES, 6))
    return {"x": (centers[labels] + rng.standard_normal((count, 6))).astype(np.float32), "labels": labels}


def images(count: int, seed: int) -> dict[str, np.ndarray]:
    """Images with horizontal, vertical or no stripes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    stripes = np.zeros((CLASSES, 1, 8, 8))
    stripes[0, :, ::2] = stripes[1, :, :, ::2] = 2
    return {"x": (stripes[labels] + rng.standard_normal((count, 1, 8, 8))).astype(np.float32), "labels": labels}
