"""Small models with an attention, in the forms that exporters write."""

from __future__ import annotations

import math
from typing import Any

import onnx

from tests.graph_passes.models import model

TOKENS, HEADS, DIM, HIDDEN = 5, 3, 4, 10
WIDTH = HEADS * DIM
SCALE = 1 / math.sqrt(DIM)
_SPLIT = [1, TOKENS, HEADS, DIM]

_QKV = """
    q1 = MatMul (n, wq) q2 = Add (bq, q1) q3 = Reshape (q2, split) q = Transpose <perm: ints = [0,2,1,3]> (q3)
    k1 = MatMul (n, wk) k2 = Add (bk, k1) k3 = Reshape (k2, split) k = Transpose <perm: ints = [0,2,3,1]> (k3)
    v1 = MatMul (n, wv) v2 = Add (bv, v1) v3 = Reshape (v2, split) v = Transpose <perm: ints = [0,2,1,3]> (v3)
"""
_SEPARATE = f"""float[{WIDTH},{WIDTH}] wq, float[{WIDTH},{WIDTH}] wk, float[{WIDTH},{WIDTH}] wv, float[{WIDTH}] bq,
    float[{WIDTH}] bk, float[{WIDTH}] bv, int64[4] split"""
_FUSED = f"float[{WIDTH},{3 * WIDTH}] wqkv, float[{3 * WIDTH}] bqkv"
_PROJECTION = "p1 = MatMul (n, wqkv) p2 = Add (p1, bqkv)"
_HEADS = """
    q3 = Reshape (qx, split) q = Transpose <perm: ints = [0,2,1,3]> (q3)
    k3 = Reshape (kx, split) k = Transpose <perm: ints = [0,2,3,1]> (k3)
    v3 = Reshape (vx, split) v = Transpose <perm: ints = [0,2,1,3]> (v3)
"""
_FIVE = f"{_PROJECTION} p3 = Reshape (p2, five) p = Transpose <perm: ints = [2,0,3,1,4]> (p3)"
_FIVE_SHAPE = {"five": [1, TOKENS, 3, HEADS, DIM]}
_THREE = {"three": [1, TOKENS, HEADS, 3 * DIM]}
_CUTS = {"c0": [0], "c1": [WIDTH], "c2": [2 * WIDTH], "c3": [2**62], "last": [2]}

# Nodes that make q (1, heads, tokens, dim), k (1, heads, dim, tokens) and v (1, heads, tokens, dim) of n.
FORMS: dict[str, tuple[str, str, dict[str, list[int]]]] = {
    "separate": (_QKV, _SEPARATE, {"split": _SPLIT}),
    "separate, copied sizes": (_QKV, _SEPARATE, {"split": [0, 0, -1, DIM]}),
    "gather": (
        f"""{_FIVE} q = Gather <axis: int = 0> (p, i0) k1 = Gather <axis: int = 0> (p, i1)
            v = Gather <axis: int = 0> (p, i2) k = Transpose <perm: ints = [0,1,3,2]> (k1)""",
        f"{_FUSED}, int64[5] five, int64 i0, int64 i1, int64 i2",
        {**_FIVE_SHAPE, "i0": [0], "i1": [1], "i2": [-1]},
    ),
    "split of five axes": (
        f"""{_FIVE} q1, k1, v1 = Split <axis: int = 0, num_outputs: int = 3> (p) q = Squeeze (q1, zero)
            k2 = Squeeze (k1, zero) v = Squeeze (v1, zero) k = Transpose <perm: ints = [0,1,3,2]> (k2)""",
        f"{_FUSED}, int64[5] five, int64[1] zero",
        {**_FIVE_SHAPE, "zero": [0]},
    ),
    "split": (
        f"{_PROJECTION} qx, kx, vx = Split <axis: int = -1> (p2, thirds) {_HEADS}",
        f"{_FUSED}, int64[4] split, int64[3] thirds",
        {"split": _SPLIT, "thirds": [WIDTH] * 3},
    ),
    "equal split": (
        f"{_PROJECTION} qx, kx, vx = Split <axis: int = -1, num_outputs: int = 3> (p2) {_HEADS}",
        f"{_FUSED}, int64[4] split",
        {"split": _SPLIT},
    ),
    "slice": (
        f"""{_PROJECTION} qx = Slice (p2, c0, c1, last) kx = Slice (p2, c1, c2, last)
            vx = Slice (p2, c2, c3, last) {_HEADS}""",
        f"{_FUSED}, int64[4] split, int64[1] c0, int64[1] c1, int64[1] c2, int64[1] c3, int64[1] last",
        {"split": _SPLIT, **_CUTS},
    ),
    "heads before parts": (
        f"""{_PROJECTION} p3 = Reshape (p2, three) p = Transpose <perm: ints = [0,2,1,3]> (p3)
            q, k1, v = Split <axis: int = 3, num_outputs: int = 3> (p) k = Transpose <perm: ints = [0,1,3,2]> (k1)""",
        f"{_FUSED}, int64[4] three",
        _THREE,
    ),
    "three axes": (
        f"""{_PROJECTION} qx, kx, vx = Split <axis: int = -1, num_outputs: int = 3> (p2)
            q1 = Reshape (qx, flat) q2 = Transpose <perm: ints = [1,0,2]> (q1) q = Unsqueeze (q2, zero)
            k1 = Reshape (kx, flat) k2 = Transpose <perm: ints = [1,2,0]> (k1) k = Unsqueeze (k2, zero)
            v1 = Reshape (vx, flat) v2 = Transpose <perm: ints = [1,0,2]> (v1) v = Unsqueeze (v2, zero)""",
        f"{_FUSED}, int64[3] flat, int64[1] zero",
        {"flat": [TOKENS, HEADS, DIM], "zero": [0]},
    ),
}


def layer(form: str, with_position: bool = True) -> onnx.ModelProto:
    """A layer of a transformer: attention, perhaps with a bias for each head, and a perceptron with an exact GELU."""
    body, weights, sizes = FORMS[form]
    scores = "s3 = Add (s2, position)" if with_position else "s3 = Identity (s2)"
    arrays: dict[str, Any] = dict(sizes)
    return model(
        f"""g (float[1,{TOKENS},{WIDTH}] x) => (float[1,{TOKENS},{WIDTH}] y)
            <{weights}, float[{WIDTH}] g1, float[{WIDTH}] b1, float scale, float[1,{HEADS},1,{TOKENS}] position,
             int64[3] join, float[{WIDTH},{WIDTH}] wo, float[{WIDTH}] bo, float[{WIDTH},{HIDDEN}] w1,
             float[{HIDDEN}] bh, float root, float one, float half, float[{HIDDEN},{WIDTH}] w2> {{
            n = LayerNormalization (x, g1, b1) {body}
            s1 = MatMul (q, k) s2 = Mul (s1, scale) {scores} s4 = Softmax (s3)
            a1 = MatMul (s4, v) a2 = Transpose <perm: ints = [0,2,1,3]> (a1) a3 = Reshape (a2, join)
            o1 = MatMul (a3, wo) o2 = Add (o1, bo) r = Add (x, o2)
            h1 = MatMul (r, w1) h2 = Add (h1, bh) h3 = Div (h2, root) h4 = Erf (h3) h5 = Add (h4, one)
            h6 = Mul (h2, h5) h7 = Mul (h6, half) h = MatMul (h7, w2) y = Add (r, h)
        }}""",
        scale=SCALE,
        join=[1, TOKENS, WIDTH],
        root=math.sqrt(2),
        one=1,
        half=0.5,
        **arrays,
    )
