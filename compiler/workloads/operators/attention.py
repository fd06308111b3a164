"""attention: q (batch, queries, heads, head_dim), k and v (batch, keys, heads, head_dim) -> q's shape.

softmax(q·kᵀ / sqrt(head_dim))·v for each head.
"""

from __future__ import annotations

import math
from math import prod
from typing import Any

import numpy as np

import kernels
from compiler.workloads.operators.bounds import EXP_UNITS, gamma
from compiler.workloads.operators.operator import (
    Array,
    Arrays,
    Instance,
    LayerSchema,
    Notation,
    OperatorDef,
    Shape,
    Sizes,
)
from compiler.workloads.operators.softmax import softmax

_SCORES_BYTES = 64  # of each pair of a query and a key during verification: eight arrays in float64


def _inputs(s: Sizes) -> dict[str, Shape]:
    q = (s["batch"], s["queries"], s["heads"], s["head_dim"])
    kv = (s["batch"], s["keys"], s["heads"], s["head_dim"])
    return {"q": q, "k": kv, "v": kv}


def _attention(_: Sizes, inputs: Arrays) -> Array:
    return _weighted(softmax(_scores(inputs["q"], inputs["k"])), inputs["v"])


def _scores(q: Array, k: Array) -> Array:
    """(batch, heads, queries, keys)"""
    return q.transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1) / math.sqrt(q.shape[-1])


def _weighted(weights: Array, v: Array) -> Array:
    return (weights @ v.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)


def _tolerance(workload: Instance, inputs: Arrays, _algorithm: str) -> Array:
    """Scores have the error of a sum. A row's weights have that relative error twice: in themselves and in their sum.

    The exponentials and the two sums over the keys add to it; a rescaling for a new maximum may follow each key.
    """
    s = workload.sizes
    scores, magnitude = _scores(inputs["q"], inputs["k"]), _scores(np.abs(inputs["q"]), np.abs(inputs["k"]))
    spread = scores.max(-1, keepdims=True) - scores
    error = gamma(s["head_dim"] + 2) * magnitude + gamma(EXP_UNITS) * (1 + spread)
    factor = 2 * error.max(-1, keepdims=True) + 2 * gamma(2 * s["keys"] + 2)
    return np.expm1(factor).transpose(0, 2, 1, 3) * _weighted(softmax(scores), np.abs(inputs["v"]))


def _kernel(workload: Instance, _inputs: Arrays, **options: Any) -> Any:
    return kernels.Attention(workload.sizes["heads"], workload.sizes["head_dim"], **options)


ATTENTION = OperatorDef(
    name="attention",
    dims=("batch", "heads", "queries", "keys", "head_dim"),
    inputs=_inputs,
    output=lambda s: _inputs(s)["q"],
    reference=_attention,
    tolerance=_tolerance,
    kernel=_kernel,
    notation=Notation("1x12x128x128x64", "{batch}x{heads} heads {queries}x{keys}x{head_dim}".format_map),
    arguments=("q", "k", "v"),
    schedule_sizes=("batch", "queries", "keys"),
    layers=(
        LayerSchema(
            "attention",
            ("sizes", "q", "k", "v", "out", "mask", "scale", "or_zero"),
            optional={"dtype": "float32"},
        ),
    ),
    onnx=tuple(f"loopwright::Attention{mask}{zero}" for mask in ("", "_mask") for zero in ("", "_or_zero")),
    reduction=lambda s: s["keys"],
    flops=lambda s: 4 * prod(s.values()),  # two products for each query, key and component
    space="attention",
    networks={(1, 12, 128, 128, 64): "BERT-base", (1, 12, 128, 128, 32): "MiniLM"},
    verify_bytes=lambda s: _SCORES_BYTES * s["batch"] * s["heads"] * s["queries"] * s["keys"],
)
