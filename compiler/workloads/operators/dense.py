"""dense: x (m, k) · weight (n, k)ᵀ -> (m, n)."""

from __future__ import annotations

from typing import Any

import kernels
from compiler.workloads import strassen
from compiler.workloads.operators.bounds import sum_tolerance
from compiler.workloads.operators.int8 import quantized_weight
from compiler.workloads.operators.operator import (
    QUANTIZATION,
    Array,
    Arrays,
    Instance,
    LayerSchema,
    Notation,
    OperatorDef,
    Sizes,
)


def _product(_: Sizes, inputs: Arrays) -> Array:
    return inputs["x"] @ inputs["weight"].T


def _reduction(s: Sizes) -> int:
    return s["k"]


def _strassen_error(workload: Instance, magnitudes: Arrays, _algorithm: str) -> float:
    k = workload.sizes["k"]
    return strassen.error_bound(magnitudes["x"].reshape(-1, k), magnitudes["weight"].reshape(-1, k))


def _kernel(workload: Instance, inputs: Arrays, **options: Any) -> Any:
    weight, quantization = quantized_weight(workload, inputs["weight"])
    return kernels.Dense(
        weight,
        inputs.get("bias"),
        activation=workload.activation,
        slopes=inputs.get("slopes"),
        quantization=quantization,
        **options,
    )


DENSE = OperatorDef(
    name="dense",
    dims=("m", "n", "k"),
    inputs=lambda s: {"x": (s["m"], s["k"]), "weight": (s["n"], s["k"])},
    output=lambda s: (s["m"], s["n"]),
    reference=_product,
    tolerance=sum_tolerance(_product, _reduction, _strassen_error),
    kernel=_kernel,
    notation=Notation("128x768x768", "{m}x{n}x{k}".format_map),
    schedule_sizes=("m",),
    layers=(
        LayerSchema(
            "dense",
            ("sizes", "residual", "activation", "fast_algorithms"),
            weights=lambda _: (("weight",), ("bias", "slopes", "scales")),
            optional=QUANTIZATION,
        ),
    ),
    onnx=("Gemm", "MatMul", "DynamicMatMul", "QuantizedMatMul"),
    reduction=_reduction,
    flops=lambda s: 2 * s["m"] * s["n"] * s["k"],
    has_epilogue=True,
    dtypes=("float32", "bfloat16", "int8"),
    tvm_dtypes=("float32",),
    space="dense",
    networks={
        (1, 1000, 2048): "ResNet-50 classifier",
        (128, 768, 768): "BERT attention",
        (128, 3072, 768): "BERT feed-forward, in",
        (128, 768, 3072): "BERT feed-forward, out",
        (512, 512, 512): "square",
    },
    saving=strassen.saving,
)
