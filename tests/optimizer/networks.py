"""Small networks and samples."""

from __future__ import annotations

import numpy as np
import onnx

from tests.graph_passes.models import model

SIZE = 12


def network(opset: int = 18, batch: str = "1") -> onnx.ModelProto:
    """Convolutions of all kinds, two branches that are added, and a product."""
    return model(
        f"""g (float[{batch},3,{SIZE},{SIZE}] x) => (float[{batch},10] y)
            <float[8,3,3,3] w1, float[8] b1, float[8,1,3,3] w2, float[16,8,1,1] w3, float[16] b3, float[16,16,3,3] w4,
             float[8] scale, float[8] offset, float[8] mean, float[8] variance, float[16,10] w5, float[10] b5> {{
            a = Conv <pads: ints = [1,1,1,1], strides: ints = [2,2]> (x, w1, b1)
            b = Relu (a)
            c = Conv <pads: ints = [1,1,1,1], group: int = 8> (b, w2)
            n = BatchNormalization (c, scale, offset, mean, variance)
            d = Relu (n)
            e = Conv (d, w3, b3)
            f = Relu (e)
            h = Conv <pads: ints = [1,1,1,1]> (f, w4)
            i = Add (h, e)
            j = Relu (i)
            k = GlobalAveragePool (j)
            l = Flatten (k)
            y = Gemm (l, w5, b5)
        }}""",
        opset,
    )


def samples(count: int = 16, seed: int = 0) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).standard_normal((count, 3, SIZE, SIZE), np.float32)}


def classifier() -> onnx.ModelProto:
    """The network with answers between which probabilities are shared, instead of one that has all."""
    made = network()
    (weight,) = (tensor for tensor in made.graph.initializer if tensor.name == "w5")
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) / 100, "w5"))
    return made
