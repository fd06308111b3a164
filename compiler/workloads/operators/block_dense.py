"""block_dense: x (m, k) · weight (n, k)ᵀ -> (m, n), with weights of few bits and a scale per block of k.

Inputs have a weight in float32, which the kernel's constructor rounds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from compiler.workloads.activations import MAX_SLOPE
from compiler.workloads.operators.bounds import sum_tolerance
from compiler.workloads.operators.function import check_no_schedule
from compiler.workloads.operators.operator import Array, Arrays, Instance, LayerSchema, Notation, OperatorDef, Sizes
from kernels import packed_numbers

BITS = (2, 4, 8)
_SCALE_BITS = 32

__all__ = ["BITS", "BLOCK_DENSE", "block_numbers", "block_scales", "in_blocks", "packed_numbers"]


def in_blocks(weight: Array, block: int) -> Array:
    """Returns a weight (n, k) as (n, blocks, block), with zeros behind the end of a row."""
    n, k = weight.shape
    blocks = -(-k // block)
    padded = np.zeros((n, blocks * block), weight.dtype)
    padded[:, :k] = weight
    return padded.reshape(n, blocks, block)


def block_scales(weight: Array, bits: int, block: int) -> Array:
    """Returns the scale of each block (n, blocks): the middle of the range is zero."""
    largest = np.abs(in_blocks(weight, block)).max(2)
    return np.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1).astype(weight.dtype)


def block_numbers(weight: Array, bits: int, block: int) -> tuple[Array, Array]:
    """Returns the rounded numbers of a weight (n, k), from 0 to 2^bits - 1, and :func:`block_scales`."""
    scales = block_scales(weight, bits, block)
    half = 2 ** (bits - 1)
    numbers = np.clip(np.rint(in_blocks(weight, block) / scales[..., None]) + half, 0, 2 * half - 1)
    return numbers.astype(np.uint8).reshape(len(weight), -1)[:, : weight.shape[1]], scales


def _product(_: Sizes, inputs: Arrays) -> Array:
    return inputs["x"] @ inputs["weight"].T


def _reduction(s: Sizes) -> int:
    return s["k"]


def _check(s: Sizes) -> None:
    if s["bits"] not in BITS:
        raise ValueError(f"block_dense has weights of {', '.join(map(str, BITS))} bits, got {s['bits']}")
    if s["block"] < s["k"] and s["block"] % (32 // s["bits"]):
        raise ValueError(f"blocks of {s['bits']} bits are multiples of {32 // s['bits']}, got {s['block']}")


def _tolerance(workload: Instance, inputs: Arrays, algorithm: str) -> Array:
    """That of a sum, and half a step of each weight."""
    s = workload.sizes
    exact = sum_tolerance(_product, lambda s: s["k"] + 2, lambda *_: 0.0)(workload, inputs, algorithm)
    steps = np.repeat(block_scales(inputs["weight"], s["bits"], s["block"]), s["block"], 1)[:, : s["k"]]
    slope = 1 if workload.activation is None else np.maximum(MAX_SLOPE, np.abs(inputs.get("slopes", 0)))
    return exact + slope * (np.abs(inputs["x"]) @ steps.T) / 2 * (1 + 1e-5)


def _kernel(
    workload: Instance, inputs: Arrays, *, isa: str, threads: int, schedule: Any = None, machine: Any = None
) -> Any:
    check_no_schedule(schedule)
    del machine  # there is nothing that its costs would decide
    s = workload.sizes
    bits, block = s["bits"], s["block"]
    numbers, scales = block_numbers(inputs["weight"], bits, block)
    return kernels.BlockDense(
        packed_numbers(numbers, bits),
        scales,
        s["k"],
        bits,
        block,
        bias=inputs.get("bias"),
        activation=workload.activation,
        isa=isa,
        threads=threads,
        slopes=inputs.get("slopes"),
    )


BLOCK_DENSE = OperatorDef(
    name="block_dense",
    dims=("m", "n", "k", "bits", "block"),
    inputs=lambda s: {"x": (s["m"], s["k"]), "weight": (s["n"], s["k"])},
    output=lambda s: (s["m"], s["n"]),
    reference=_product,
    tolerance=_tolerance,
    kernel=_kernel,
    notation=Notation("1x4096x4096x4x32", "{m}x{n}x{k}, {bits} bits in blocks of {block}".format_map),
    layers=(
        LayerSchema(
            "block_dense",
            ("sizes", "bits", "block", "residual", "activation"),
            weights=lambda _: (("numbers", "scales"), ("zero_points", "bias", "slopes")),
        ),
    ),
    schedule_sizes=("m",),
    onnx=("BlockMatMul",),
    reduction=_reduction,
    flops=lambda s: 2 * s["m"] * s["n"] * s["k"],
    check=_check,
    has_epilogue=True,
    weight_bits=lambda s: s["bits"] + _SCALE_BITS / s["block"],
    networks={
        (1, 4096, 4096, 4, 32): "Llama-2 7B, one token",
        (1, 11008, 4096, 4, 32): "Llama-2 7B, one token, feed-forward",
        (128, 4096, 4096, 4, 32): "Llama-2 7B, prompt",
    },
)
