"""Layers of other sizes, made from those of a program: the function ``resized`` of ``compiler/cpp``."""

from __future__ import annotations

import json
import resource
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm_ffi

import kernels
from compiler.program import native, saved_model
from compiler.workloads.layer import Layer
from compiler.workloads.reference import make_inputs, reference, tolerance
from compiler.workloads.workload import Workload

ISA = kernels.available_isas()[0]
THREADS = 2

Arrays = Mapping[str, np.ndarray]


def dense(m: int, inputs: Arrays, threads: int = 1, fast: bool = False, activation: str | None = None) -> Layer:
    """A dense layer with the weights of the inputs."""
    n, k = inputs["weight"].shape
    attributes = {"sizes": [m, n, k], "residual": "residual" in inputs, "activation": activation}
    weights = {name: inputs[name] for name in ("weight", "bias") if name in inputs}
    workload = Workload.dense(m, n, k)
    return Layer("d", "dense", (m, n), attributes | {"fast_algorithms": fast}, weights, workload, (), threads)


def program(*layers: Layer) -> Any:
    """A program with these layers, which is not run itself."""
    objects, weights = saved_model.described(layers)
    tensors = [*map(tvm_ffi.from_dlpack, weights)]
    made = native.function("make_layers")(json.dumps(objects), tensors, ISA, THREADS, [])
    return native.function("make_program")(tvm_ffi.system_lib(), made)


def resized(found: Any, *layers: Layer) -> Any:
    return native.function("resized")(found, json.dumps(saved_model.described(layers)[0]))


def run(found: Any, layer: Layer, arguments: Sequence[np.ndarray], index: int = 0) -> np.ndarray:
    """Runs one layer of a program."""
    out = np.full(layer.output_shape, np.nan, np.float32)
    call = native.function(layer.op)
    call(native.function("layers_of")(found), index, *map(tvm_ffi.from_dlpack, arguments), tvm_ffi.from_dlpack(out))
    return out


def schedule(found: Any, index: int = 0) -> dict[str, Any]:
    return json.loads(native.function("schedules")(native.function("layers_of")(found)))[index]


def assert_right(y: np.ndarray, workload: Workload, inputs: Arrays, algorithm: str = "direct") -> None:
    error = np.abs(y - reference(workload, inputs))
    allowed = tolerance(workload, inputs, algorithm)
    assert (error <= allowed).all(), f"{workload}: {np.nanmax(error / allowed):.3g} times the tolerance"


@pytest.mark.parametrize("fast", [False, True])
def test_dense_layers_of_any_number_of_rows(fast: bool) -> None:
    n, k, epilogue = 160, 264, ("bias", "residual", "relu")
    inputs = make_inputs(Workload.dense(300, n, k, epilogue=epilogue))
    found = program(dense(64, inputs, 1, fast, "relu"))
    algorithms = set()
    for m in range(1, 301):
        layer = dense(m, inputs, 1 + m % THREADS, fast, "relu")
        other = resized(found, layer)
        algorithms.add(algorithm := str(schedule(other).get("algorithm", "direct")))
        of_m = {**inputs, "x": inputs["x"][:m], "residual": inputs["residual"][:m]}
        y = run(other, layer, [of_m["x"].copy(), of_m["residual"].copy()])
        assert_right(y, Workload.dense(m, n, k, epilogue=epilogue), of_m, algorithm)
    assert algorithms == ({"direct", "strassen"} if fast and ISA == "avx512" else {"direct"})


def test_threads_need_the_same_packed_weights_at_once() -> None:
    n, k, threads = 256, 512, 8
    inputs = make_inputs(Workload.dense(128, n, k))
    for _ in range(5):
        found = program(dense(200, inputs))
        barrier = threading.Barrier(threads)

        def check(place: int, found: Any = found, barrier: threading.Barrier = barrier) -> None:
            m = (8, 33, 100, 128)[place % 4]  # few rows, the usual panels, Strassen's algorithm
            layer = dense(m, inputs, fast=True)
            of_m = {**inputs, "x": inputs["x"][:m].copy()}
            barrier.wait()
            other = resized(found, layer)
            algorithm = str(schedule(other).get("algorithm", "direct"))
            assert_right(run(other, layer, [of_m["x"]]), Workload.dense(m, n, k), of_m, algorithm)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(check, range(threads)))


def resident() -> int:
    """Returns the bytes of this process in memory."""
    with Path("/proc/self/statm").open() as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def test_sizes_share_packed_weights() -> None:
    """Fifty sizes need few packed forms, whether their programs live or not."""
    m, size = 300, 1024
    inputs = make_inputs(Workload.dense(m, size, size))
    weight_bytes = inputs["weight"].nbytes
    layers = [dense(1 + (m - 1) * i // 49, inputs, 1 + i % THREADS, fast=True) for i in range(50)]
    found = program(layers[-1])
    run(found, layers[-1], [inputs["x"]])
    before = resident()
    others = [resized(found, layer) for layer in layers]
    for other, layer in zip(others, layers, strict=True):
        run(other, layer, [inputs["x"][: layer.output_shape[0]].copy()])
    # Panels of two widths, and Strassen's weights (7/4) of one or two threads that share columns.
    assert resident() - before < 8 * weight_bytes
    del found
    assert_right(run(others[3], layers[3], [inputs["x"][:19].copy()]), Workload.dense(19, size, size), {
        **inputs, "x": inputs["x"][:19]})  # fmt: skip


INPUTS = make_inputs(Workload.dense(4, 32, 16, epilogue=("bias",)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"op": "softmax"}, "layer 1: op must be dense for all sizes, got softmax"),
        ({"op": 3}, "layer 1: op must be a text"),
        ({"weights": {"weight": 0, "bias": 2}}, "layer 1: the weights must be the same for all sizes"),
        ({"weights": {"weight": 0}}, "layer 1: the weights must be the same for all sizes"),
        ({"weights": {"weight": "0", "bias": 1}}, "layer 1: weight must be the index of a weight"),
        ({"weights": None}, "layer 1: weights must be an object"),
        ({"sizes": [0, 32, 16]}, "layer 1: sizes must be at least 1"),
        ({"sizes": [7, 32, 17]}, "layer 1: weight must be a contiguous float32 weight of the shape that the layer has"),
        ({"activation": "relu"}, "layer 1: activation must be the same for all sizes"),
        ({"threads": 3}, "layer 1: threads must be between 1 and the model's 2"),
        ({"schedule": {"mr": 5000}}, "layer 1: schedule lacks 'nr'"),
    ],
)
def test_wrong_descriptions(changes: dict[str, Any], message: str) -> None:
    layers = [dense(4, INPUTS), dense(4, INPUTS)]
    found = program(*layers)
    objects = [layer.to_json({"weight": 0, "bias": 1}) for layer in layers]
    with pytest.raises(ValueError, match=f"^{message}$"):
        native.function("resized")(found, json.dumps([objects[0], objects[1] | changes]))


@pytest.mark.parametrize(
    ("descriptions", "message"),
    [
        ([], "there are 1 layers, got 0 descriptions"),
        ([{}, {}], "there are 1 layers, got 2 descriptions"),
        ([3], "layer 0: its description must be an object"),
        ({}, "the descriptions must be a list"),
    ],
)
def test_other_numbers_of_descriptions(descriptions: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        native.function("resized")(program(dense(4, INPUTS)), json.dumps(descriptions))
