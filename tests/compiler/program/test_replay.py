"""Later runs replay the calls of the first one without the virtual machine, for new inputs."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest

import compiler
from tests.graph_passes import oracle
from tests.graph_passes.models import either, model

pytestmark = pytest.mark.tvm

MODELS = {
    "a chain": "g (float[4,8] x) => (float[4,8] y) <float[8,8] w>"
    "{ a = MatMul (x, w) b = Softplus (a) c = MatMul (b, w) y = Softplus (c) }",
    "an output that is also read": "g (float[4,8] x) => (float[4,8] y, float[4,8] z) <float[8,8] w>"
    "{ a = MatMul (x, w) y = Softplus (a) b = MatMul (y, w) z = Softplus (b) }",
    "reshaped outputs": "g (float[4,8] x) => (float[32] y, float[8,4] z) <float[8,8] w, int64[1] flat, int64[2] wide>"
    "{ a = MatMul (x, w) b = Softplus (a) y = Reshape (b, flat) z = Reshape (b, wide) }",
    "a reshaped input": "g (float[4,8] x) => (float[8,8] y) <float[4,8] w, int64[2] tall>"
    "{ a = Reshape (x, tall) y = MatMul (a, w) }",
    "an input as output": "g (float[4,8] x) => (float[4,8] x, float[4,8] y) <float[8,8] w> { y = MatMul (x, w) }",
    "a copied input": "g (float[4,8] x) => (float[4,8] y) { y = Identity (x) }",
    "a reshaped input as output": "g (float[4,8] x) => (float[32] y) <int64[1] flat> { y = Reshape (x, flat) }",
    "a constant output": "g (float[4,8] x) => (float[4] y, float[4,8] z) <float[4] w> { y = Identity (w) z = Exp (x) }",
    "two inputs": "g (float[4,8] x, float[4,8] b) => (float[4,8] y) <float[8,8] w>"
    "{ a = MatMul (x, w) c = Add (a, b) y = Tanh (c) }",
    "a recurrence": "g (float[5,1,8] x) => (float[5,1,1,8] y, float[1,1,8] h) <float[1,32,8] w, float[1,32,8] r>"
    "{ y, h = LSTM <hidden_size = 8> (x, w, r) }",
    "integers": "g (int64[3] i) => (float[3,8] y, int64[3] j) <float[9,8] table, int64[1] one>"
    "{ y = Gather (table, i) j = Add (i, one) }",
}
ARRAYS = {
    "reshaped outputs": {"flat": np.array([32]), "wide": np.array([8, 4])},
    "a reshaped input": {"tall": np.array([8, 4]), "w": np.ones((4, 8))},
    "a reshaped input as output": {"flat": np.array([32])},
    "integers": {"one": np.array([1])},
}


def inputs_of(original: onnx.ModelProto, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {}
    for value in original.graph.input:
        kind = value.type.tensor_type
        shape = [dim.dim_value for dim in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        found[value.name] = rng.integers(0, 9, shape) if dtype == np.int64 else rng.standard_normal(shape, np.float32)
    return found


def answers_of(original: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [output.name for output in original.graph.output]
    return dict(zip(names, oracle.run(original, inputs), strict=True))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("threads", [1, 2])
def test_each_run_answers_its_own_inputs(name: str, threads: int) -> None:
    original = model(MODELS[name], **ARRAYS.get(name, {}))
    built = compiler.build(original, threads=threads)
    runs = [inputs_of(original, seed) for seed in range(4)]
    found = [built.run(inputs) for inputs in runs]  # all of them are kept, so that a run would overwrite earlier ones
    for inputs, answers in zip(runs, found, strict=True):
        for output, expected in answers_of(original, inputs).items():
            np.testing.assert_allclose(answers[output], expected, rtol=1e-4, atol=1e-5)


def test_changed_outputs_do_not_change_later_runs() -> None:
    original = model(MODELS["an output that is also read"])
    built = compiler.build(original, threads=1)
    inputs = inputs_of(original, 0)
    first = {name: array.copy() for name, array in built.run(inputs).items()}
    for _ in range(3):
        for name, array in built.run(inputs).items():
            np.testing.assert_array_equal(array, first[name])
            array[...] = np.nan


def test_inputs_of_any_alignment() -> None:
    original = model(MODELS["two inputs"])
    built = compiler.build(original, threads=1)
    for shift in range(5):
        inputs = inputs_of(original, shift)
        moved = {}
        for name, array in inputs.items():
            room = np.zeros(array.size + 5, array.dtype)[shift : shift + array.size].reshape(array.shape)
            room[...] = array
            moved[name] = room
        np.testing.assert_array_equal(built.run(moved)["y"], built.run(inputs)["y"])


@pytest.mark.parametrize("first", ["same", "different"])
def test_one_array_for_two_inputs(first: str) -> None:
    original = model(MODELS["two inputs"])
    built = compiler.build(original, threads=1)
    inputs = inputs_of(original, 0)
    shared = {"x": inputs["x"], "b": inputs["x"]}
    order = [shared, inputs, shared] if first == "same" else [inputs, shared, inputs]
    for given in order:
        np.testing.assert_allclose(built.run(given)["y"], answers_of(original, given)["y"], rtol=1e-4, atol=1e-5)


def test_runs_at_the_same_time() -> None:
    original = model(MODELS["a chain"])
    built = compiler.build(original, threads=1)
    runs = [inputs_of(original, seed) for seed in range(8)]
    expected = [built.run(inputs)["y"] for inputs in runs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            for want, got in zip(expected, pool.map(built.run, runs), strict=True):
                np.testing.assert_array_equal(got["y"], want)


BRANCHES = {
    "one branch": "g (bool c, bool d, float[4,8] x) => (float[4,8] y) <float[8,8] w> { a = Exp (x) "
    + either("y", "c", "float[4,8] p { b = MatMul (a, w) p = Softplus (b) }", "float[4,8] n { n = MatMul (x, w) }")
    + " }",
    "branches in branches": "g (bool c, bool d, float[4,8] x) => (float[4,8] y) <float[8,8] w> { "
    + either(
        "y",
        "c",
        f"float[4,8] p {{ {either('p', 'd', 'float[4,8] q { q = MatMul (x, w) }', 'float[4,8] r { r = Neg (x) }')} }}",
        "float[4,8] n { n = Identity (x) }",
    )
    + " }",
    "more paths than replays": "g (bool c, bool d, float[4,8] x) => "
    "(float[4,8] y, float[4,8] z, float[4,8] u) <float[8,8] w> { "
    + either("y", "c", "float[4,8] h { h = Exp (x) }", "float[4,8] i { i = Neg (x) }")
    + either("z", "d", "float[4,8] k { k = MatMul (y, w) }", "float[4,8] l { l = Neg (y) }")
    + "s = ReduceSum <keepdims = 0> (x) n = Cast <to = 9> (s) v = Xor (c, n) "
    + either("u", "v", "float[4,8] m { m = Abs (z) }", "float[4,8] q { q = Tanh (z) }")
    + " }",
}


@pytest.mark.parametrize("name", BRANCHES)
def test_each_path_through_branches_is_replayed(name: str) -> None:
    original = model(BRANCHES[name])
    built = compiler.build(original, threads=1)
    x = inputs_of(model(MODELS["a chain"]), 1)["x"]
    rng = np.random.default_rng(7)
    for run in range(24):
        inputs = {"c": np.array(rng.random() < 0.5), "d": np.array(rng.random() < 0.5), "x": x * (run % 2)}
        found = built.run(inputs)
        for output, expected in answers_of(original, inputs).items():
            np.testing.assert_allclose(found[output], expected, rtol=1e-4, atol=1e-5)


def test_other_schedules_on_the_same_machine() -> None:
    """Programs that share virtual machines replay the same calls with their own layers."""
    original = model(MODELS["a chain"])
    built = compiler.build(original, threads=2)
    inputs = inputs_of(original, 0)
    expected = built.run(inputs)["y"]
    schedule = built.schedules()[0]
    assert schedule is not None
    other = built.with_schedules({0: schedule.replace(mr=1)})
    for program in (other, built, other, built, other):
        np.testing.assert_allclose(program.run(inputs)["y"], expected, rtol=1e-5, atol=1e-6)


def aligned(array: np.ndarray) -> np.ndarray:
    """Returns a copy at an address that programs need not copy."""
    room = np.zeros(array.size + 16, array.dtype)
    start = -room.ctypes.data % 64 // array.itemsize
    copy = room[start : start + array.size].reshape(array.shape)
    copy[...] = array
    return copy


def test_the_inputs_of_the_first_run_are_not_kept() -> None:
    original = model(MODELS["two inputs"])
    built = compiler.build(original, threads=1)
    inputs = {name: aligned(array) for name, array in inputs_of(original, 0).items()}
    kept = [weakref.ref(array) for array in inputs.values()]
    built.run(inputs)
    del inputs
    gc.collect()
    assert [reference() for reference in kept] == [None, None]
