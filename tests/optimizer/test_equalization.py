"""Equal ranges of channels: the answers stay, and 8 bits suit them better."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from optimizer import quantize
from optimizer.bias_correction import add_missing
from optimizer.equalization import Pair, equalize
from optimizer.graphs import name_nodes
from optimizer.session import Session
from tests.graph_passes.models import model


def uneven(between: str, depthwise: bool, seed: int) -> onnx.ModelProto:
    """Returns two or three layers; the channels between them have ranges that differ by factors up to 1000."""
    rng = np.random.default_rng(seed)
    factors = 10 ** rng.uniform(-1.5, 1.5, 8)
    middle = "c = Conv <group: int = 8, pads: ints = [1,1,1,1]> (b, w2)" if depthwise else "c = Identity (b)"
    made = model(
        f"""g (float[1,3,6,6] x) => (float[1,5] y)
            <float[8,3,3,3] w1, float[8] b1, float[8,1,3,3] w2, float[6,8,1,1] w3, float[6,5] w4> {{
            a = Conv (x, w1, b1)
            b = {between} (a)
            {middle}
            d = Conv (c, w3)
            e = Relu (d)
            p = GlobalAveragePool (e)
            f = Flatten (p)
            y = Gemm (f, w4)
        }}""",
        w1=rng.standard_normal((8, 3, 3, 3)) * factors.reshape(-1, 1, 1, 1),
        b1=rng.standard_normal(8) * factors,
        w2=rng.standard_normal((8, 1, 3, 3)),
        w3=rng.standard_normal((6, 8, 1, 1)) / factors.reshape(-1, 1, 1),
        w4=rng.standard_normal((6, 5)),
    )
    name_nodes(made.graph)
    add_missing(made)
    return made


def arrays(of: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in of.graph.initializer}


@settings(max_examples=10)
@given(
    between=st.sampled_from(["Relu", "LeakyRelu", "Identity", "MaxPool <kernel_shape: ints = [2,2]>"]),
    depthwise=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_answers_stay_and_ranges_become_equal(between: str, depthwise: bool, seed: int) -> None:
    original = uneven(between, depthwise, seed)
    changed = onnx.ModelProto()
    changed.CopyFrom(original)
    assert len(equalize(changed)) == 1 + depthwise
    x = np.random.default_rng(seed).standard_normal((1, 3, 6, 6)).astype(np.float32)
    before, after = (Session(each, 1)({"x": x})["y"] for each in (original, changed))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4 * np.abs(before).max())
    found = arrays(changed)
    names = ["w1", "w2", "w3"] if depthwise else ["w1", "w3"]
    per_channel = {
        name: np.abs(found[name]).max((0, 2, 3) if name == "w3" else (1, 2, 3)).astype(np.float64) for name in names
    }
    for one, other in pairwise(names):
        np.testing.assert_allclose(per_channel[one], per_channel[other], rtol=1e-2)


def test_eight_bits_suit_them_better() -> None:
    x = {"x": np.random.default_rng(1).standard_normal((16, 3, 6, 6)).astype(np.float32)}
    plain, better = (quantize(uneven("Relu", False, 3), x, "min-max", equalize=each) for each in (False, True))
    assert better.outputs[0].sqnr_db > plain.outputs[0].sqnr_db + 6


PAIRS = {
    "clipped": ("a = Conv (x, w, b) c = Clip (a, zero, six) y = Conv (c, v, d)", 0),
    "read twice": ("a = Conv (x, w, b) c = Relu (a) e = Conv (c, v, d) y = Add (e, c)", 0),
    "an output": ("y = Conv (x, w, b) z = Conv (y, v, d)", 0),
    "one weight for both": ("a = Conv (x, w, b) y = Conv (a, w, b)", 0),
    "in groups": ("a = Conv (x, w, b) y = Conv <group: int = 2> (a, v2, d)", 0),
    "in a row": ("a = Conv (x, w, b) c = Relu (a) y = Conv (c, v, d)", 1),
}


@pytest.mark.parametrize(("text", "count"), PAIRS.values(), ids=PAIRS.keys())
def test_pairs(text: str, count: int) -> None:
    made = model(
        f"""g (float[1,4,3,3] x) => (float[1,4,3,3] y)
            <float[4,4,1,1] w, float[4] b, float[4,4,1,1] v, float[4] d, float[4,2,1,1] v2, float zero, float six>
            {{ {text} }}"""
    )
    name_nodes(made.graph)
    before = arrays(made)
    pairs = equalize(made)
    assert len(pairs) == count
    assert all(isinstance(pair, Pair) for pair in pairs)
    if not count:
        for name, array in arrays(made).items():
            np.testing.assert_array_equal(array, before[name])
