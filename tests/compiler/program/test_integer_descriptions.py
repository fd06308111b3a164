"""Descriptions of layers of 8-bit integers, which may come from elsewhere, are checked when layers are made."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tvm_ffi

import kernels
from compiler.program import native, saved_model
from compiler.workloads.layer import Layer
from compiler.workloads.workload import Workload

ISA = kernels.detect_isa()


def layer(changes: Mapping[str, Any]) -> Layer:
    attributes = {
        "sizes": [3, 4, 8],
        "residual": False,
        "activation": None,
        "fast_algorithms": False,
        "dtype": "int8",
        "x_dtype": "uint8",
        "x_scale": 0.5,
        "x_zero_point": 3,
    }
    weights = {"weight": np.ones((4, 8), np.int8), "scales": np.ones(4, np.float32)}
    return Layer("a", "dense", (3, 4), attributes | dict(changes), weights, Workload.dense(3, 4, 8, "int8"))


def make(*layers: Layer, **changes: Any) -> Any:
    """Makes layers; ``changes``: of their descriptions."""
    objects, weights = saved_model.described(layers)
    text = json.dumps([entry | changes for entry in objects])
    return native.function("make_layers")(text, [*map(tvm_ffi.from_dlpack, weights)], ISA, 1, [], None, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dtype": "bfloat16"}, "must be a contiguous uint16 weight"),
        ({"dtype": "float64"}, "unknown dtype 'float64'"),
        ({"dtype": "float32"}, "must be a contiguous float32 weight"),
        ({"x_dtype": "float32"}, "integers must be int8 or uint8, got float32"),
        ({"x_scale": -1.0}, "the scale of x must be positive"),
        ({"x_scale": 1e-40}, "the scale of x must be positive"),
        ({"x_scale": None}, "x_scale must be a number"),
        ({"x_zero_point": 300}, "the zero point of x must be between 0 and 255, got 300"),
        ({"x_zero_point": 2**40}, "x_zero_point must be an integer of 32 bits"),
        ({"x_dtype": None, "x_is_float": False}, "x_dtype is missing"),
        ({"out_dtype": "uint8"}, "out_scale must be a number"),
        ({"out_dtype": "uint8", "out_scale": 0.0, "out_zero_point": 0}, "the scale of the output must be positive"),
        (
            {"residual_dtype": "int8", "residual_scale": 1.0, "residual_zero_point": 128},
            "the zero point of the residual must be",
        ),
    ],
    ids=str,
)
def test_a_changed_description_is_rejected(changes: dict[str, Any], reason: str) -> None:
    make(layer({}))
    with pytest.raises(ValueError, match=reason):
        make(layer(changes))


def test_scales_are_checked() -> None:
    wrong = dataclasses.replace(layer({}), weights={**layer({}).weights, "scales": np.zeros(4, np.float32)})
    with pytest.raises(ValueError, match="the scales of the weight must be positive"):
        make(wrong)


def test_a_schedule_of_another_cpu_is_replaced() -> None:
    """CPUs with AVX-512 have other register tiles if they have VNNI, too."""
    values = kernels.default_dense_schedule(3, 4, 8, ISA, dtype="int8")
    make(layer({}), schedule={**values, "threads": [1, 1], "mr": 3, "nr": 112, "pack_a": 0, "prefetch_next": 0})


def test_a_chain_has_no_layers_of_integers() -> None:
    sizes = {"x": [1, 4, 4, 8], "weight_shape": [8, 8, 1, 1], "stride": [1, 1], "padding": [0] * 4, "dilation": [1, 1]}
    stage = sizes | {"groups": 1, "residual": False, "activation": None}
    weights = {"weight0": np.ones((8, 8, 1, 1), np.float32)}
    workload = Workload.conv2d(1, 4, 4, 8, 8, 1)
    chain = Layer("a", "conv2d_chain", (1, 4, 4, 8), {"stages": [stage]}, weights, None, (workload,))
    make(chain)
    with pytest.raises(ValueError, match="dtype must be float32"):
        make(chain, dtype="int8")
