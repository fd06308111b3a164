"""Layers of other sizes, made from those of a program: the function ``resized`` of ``compiler/cpp``."""

from __future__ import annotations

import json
import resource
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
from tests.kernels.recurrences import DIRECTIONS, GATES, USUAL, Form, oracle
from tests.kernels.test_recurrent import Sizes, make_weights
from tests.kernels.test_recurrent import make_inputs as make_recurrent_inputs

ISA = kernels.available_isas()[0]
THREADS = 2

STATES = ("sequence_lens", "initial_h", "initial_c")  # optional inputs of recurrent layers

Arrays = Mapping[str, np.ndarray]

INPUTS = make_inputs(Workload.dense(4, 32, 16, epilogue=("bias",)))


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
    made = native.function("make_layers")(json.dumps(objects), tensors, ISA, THREADS, [], None, None)
    return native.function("make_program")(tvm_ffi.system_lib(), made, False)


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
    both = {"direct", "strassen"}
    assert algorithms == both if fast and ISA == "avx512" else algorithms <= (both if fast else {"direct"})


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


def block_dense(m: int, k: int, bits: int, weights: Arrays) -> Layer:
    """A layer with weights of few bits, one block per row."""
    n = len(weights["scales"])
    attributes = {"sizes": [m, n, k], "bits": bits, "block": k, "residual": False, "activation": None}
    stages = (Workload("block_dense", (m, n, k, bits, k)),)
    return Layer("b", "block_dense", (m, n), attributes, weights, None, stages)


def test_weights_of_few_bits_are_shared() -> None:
    n, k = 21, 64
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 16, (n, k), dtype=np.uint8)
    scales = rng.random((n, 1), dtype=np.float32) + 0.5
    weights = {"numbers": kernels.packed_numbers(numbers, 4), "scales": scales}
    found = program(block_dense(3, k, 4, weights))
    x = rng.standard_normal((30, k), dtype=np.float32)
    want = x.astype(np.float64) @ ((numbers.astype(np.float64) - 8) * scales).T
    for m in (1, 8, 9, 30):
        layer = block_dense(m, k, 4, weights)
        np.testing.assert_allclose(run(resized(found, layer), layer, [x[:m].copy()]), want[:m], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="k and bits must be the same for all sizes"):
        resized(found, block_dense(3, k // 2, 8, weights))


CONVOLUTIONS = {
    "3x3": {"c": 16, "o": 40, "kernel": 3, "padding": 1},
    "7x7 of stride 2": {"c": 3, "o": 32, "kernel": 7, "stride": 2, "padding": 3},
    "1x1": {"c": 24, "o": 96, "kernel": 1},
    "depthwise": {"c": 24, "o": 24, "kernel": 3, "padding": 1, "groups": 24},
    "groups": {"c": 24, "o": 16, "kernel": 3, "dilation": 2, "groups": 2},
}
IMAGES = ((1, 20, 20), (3, 20, 20), (1, 45, 33), (2, 11, 9))  # n, h, w


def conv2d(workload: Workload, inputs: Arrays, threads: int = 1, fast: bool = False) -> Layer:
    return Layer("c", "conv2d", workload.output_shape, {
        **stage(workload), "fast_algorithms": fast
    }, {name: inputs[name] for name in ("weight", "bias")}, workload, (), threads)  # fmt: skip


def stage(workload: Workload) -> dict[str, Any]:
    """The attributes of a convolution."""
    s = workload.sizes
    return {
        "x": [s["n"], s["h"], s["w"], s["c"]],
        "weight_shape": [s["o"], s["c"] // s["groups"], s["kh"], s["kw"]],
        "stride": [s["stride_h"], s["stride_w"]],
        "padding": [s["pad_top"], s["pad_left"], s["pad_bottom"], s["pad_right"]],
        "dilation": [s["dilation_h"], s["dilation_w"]],
        "groups": s["groups"],
        "residual": False,
        "activation": workload.activation,
    }


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_of_other_images(kind: str, fast: bool) -> None:
    fixed = {**CONVOLUTIONS[kind], "epilogue": ("bias", "relu")}
    workloads = [Workload.conv2d(*images, **fixed) for images in IMAGES]
    # Padding may depend on the size of the images.
    workloads.append(Workload.conv2d(*IMAGES[2], **{**fixed, "padding": (0, 1, 1, 0)}))
    weights = make_inputs(workloads[0])
    found = program(conv2d(workloads[0], weights, 1, fast))
    for place, workload in enumerate(workloads * 2):
        inputs = {**make_inputs(workload, seed=place), "weight": weights["weight"], "bias": weights["bias"]}
        layer = conv2d(workload, inputs, 1 + place % THREADS, fast)
        other = resized(found, layer)
        algorithm = str(schedule(other).get("algorithm", "direct"))
        assert_right(run(other, layer, [inputs["x"]]), workload, inputs, algorithm)


def test_chains_of_other_images() -> None:
    def workloads(n: int, h: int, w: int) -> list[Workload]:
        one = Workload.conv2d(n, h, w, 8, 48, 1, epilogue=("bias",))
        two = Workload.conv2d(n, h, w, 48, 48, 3, 1, 1, groups=48, epilogue=("bias", "prelu"))
        return [one, two, Workload.conv2d(n, h, w, 48, 8, 1, epilogue=("bias", "prelu"))]

    def chain(of: Sequence[Workload], threads: int) -> Layer:
        attributes = {"stages": [stage(workload) for workload in of]}
        return Layer("c", "conv2d_chain", of[-1].output_shape, attributes, weights, None, tuple(of), threads)

    parts = [make_inputs(workload, seed=place) for place, workload in enumerate(workloads(1, 8, 8))]
    names = ("weight", "bias", "slopes")
    weights = {f"{name}{place}": part[name] for place, part in enumerate(parts) for name in names if name in part}
    found = program(chain(workloads(1, 20, 20), 1))
    for place, images in enumerate(IMAGES):
        of = workloads(*images)
        layer = chain(of, 1 + place % THREADS)
        x = make_inputs(of[0], seed=place)["x"]
        value, magnitude = x.astype(np.float64), np.abs(x).astype(np.float64)
        for workload, part in zip(of, parts, strict=True):
            value = reference(workload, {**part, "x": value})
            magnitude = reference(workload, {name: np.abs(array) for name, array in part.items()} | {"x": magnitude})
        # Each product and sum rounds once; 8 + 9 + 48 products in a row.
        allowed = 2 * (8 + 9 + 48) * np.finfo(np.float32).eps * magnitude
        assert (np.abs(run(resized(found, layer), layer, [x]) - value) <= allowed).all()


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("cell", GATES)
def test_recurrent_layers_of_other_steps(cell: str, direction: str) -> None:
    form, inputs, units = Form(cell, direction), 12, 37
    weights = make_weights(form, Sizes(1, 1, inputs, units))

    def layer(steps: int, batch: int, threads: int) -> Layer:
        functions = [{"function": name, "alpha": 0.0, "beta": 0.0} for name in USUAL[cell]]
        reverse = DIRECTIONS[direction]
        attributes = {
            "cell": cell,
            "sizes": [steps, batch, inputs, units],
            "reverse": [int(flag) for flag in reverse],
            "activations": functions * len(reverse),
            "clip": None,
            **dict.fromkeys(("input_forget", "linear_before_reset", "batch_first", *STATES, "y_h", "y_c"), False),
            "y": True,
        }
        named = {name: array for name, array in weights._asdict().items() if array is not None}
        stages = (Workload(cell, (len(reverse), steps, batch, inputs, units)),)
        return Layer("r", "recurrent", (steps, len(reverse), batch, units), attributes, named, None, stages, threads)

    found = program(layer(5, 1, 1))
    for place, (steps, batch) in enumerate([(1, 1), (40, 1), (7, 18), (100, 3)]):
        of = layer(steps, batch, 1 + place % THREADS)
        x = make_recurrent_inputs(form, Sizes(steps, batch, inputs, units), states=False)["x"]
        want = oracle(form, weights, x)[0]
        assert (np.abs(run(resized(found, of), of, [x]) - want.value) <= want.tolerance).all()
    other = layer(5, 1, 1)
    attributes = {**other.attributes, "clip": 1.0}
    with pytest.raises(ValueError, match="layer 0: only steps, batch and the inputs and outputs may differ"):
        resized(found, replace(other, attributes=attributes))


def test_layers_without_packed_weights() -> None:
    """Normalization of other rows, in a program with a dense layer, and attention of other sizes."""
    rows, columns = 9, 40
    inputs = make_inputs(Workload("layer_norm", (rows, columns)))
    weights = {name: inputs[name] for name in ("gamma", "beta")}
    attention_inputs = make_inputs(Workload.attention(2, 2, 7, rows, 16))

    def layers(m: int) -> list[Layer]:
        norm, attention = Workload("layer_norm", (m, columns)), Workload.attention(2, 2, 7, m, 16)
        layouts = dict.fromkeys(("q", "k", "v", "out"), "tokens")
        sizes = {"sizes": list(attention.dims), "mask": None, "scale": 0.25, "or_zero": False}
        return [
            dense(m, INPUTS),
            Layer("n", "layer_norm", (m, columns), {"sizes": [m, columns], "epsilon": 1e-5}, weights, norm),
            Layer("a", "attention", attention.output_shape, layouts | sizes, {}, attention),
        ]

    found = program(*layers(3))
    for m in (1, rows):
        of = layers(m)
        other = resized(found, *of)
        few = {**inputs, "x": inputs["x"][:m].copy()}
        assert_right(run(other, of[1], [few["x"]], 1), Workload("layer_norm", (m, columns)), few)
        keys = {name: np.ascontiguousarray(array[:, :m]) for name, array in attention_inputs.items() if name != "q"}
        few = {"q": attention_inputs["q"], **keys}
        assert_right(run(other, of[2], [*few.values()], 2), Workload.attention(2, 2, 7, m, 16), few)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"op": "softmax"}, "layer 1: op must be dense for all sizes, got softmax"),
        ({"op": 3}, "layer 1: op must be a text"),
        ({"weights": {"weight": 0, "bias": 2}}, "layer 1: the weights must be the same for all sizes"),
        ({"weights": {"weight": 0}}, "layer 1: the weights must be the same for all sizes"),
        ({"weights": {"weight": "0", "bias": 1}}, "layer 1: weight must be the index of a weight"),
        ({"weights": None}, "layer 1: weights must be an object"),
        ({"dtype": "int8"}, "layer 1: the data types, scales and zero points must be the same for all sizes"),
        (
            {"out_dtype": "int8", "out_scale": 1.0, "out_zero_point": 0},
            "layer 1: the data types, scales and zero points must be the same for all sizes",
        ),
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
