"""Operators with indices from data: right answers within range, one clear error outside, and never a crash."""

from __future__ import annotations

import numpy as np
import pytest

import compiler
from tests.compiler.tvm_backend.operators.single import INF, NAN, check, normal, parsed, rejected

# For each operator: inputs and outputs, statement, the index's shape, the size of the axis that it names.
READERS = {
    "Gather": ("(float[4,3] x, int64[2] i) => (float[] y)", "y = Gather (x, i)", (2,), 4),
    "Gather of an inner axis": ("(float[4,3] x, int32[2,2] i) => (float[] y)", "y = Gather <axis=1> (x, i)", (2, 2), 3),
    "GatherElements": ("(float[4,3] x, int64[2,3] i) => (float[] y)", "y = GatherElements (x, i)", (2, 3), 4),
    "GatherND": ("(float[4,4] x, int64[3,2] i) => (float[] y)", "y = GatherND (x, i)", (3, 2), 4),
    "ScatterElements": (
        *("(float[4,3] x, int64[2,3] i, float[2,3] u) => (float[] y)", "y = ScatterElements (x, i, u)", (2, 3), 4),
    ),
    "ScatterND": ("(float[4,3] x, int64[2,1] i, float[2,3] u) => (float[] y)", "y = ScatterND (x, i, u)", (2, 1), 4),
}


@pytest.mark.tvm
@pytest.mark.parametrize("name", READERS)
def test_indices_from_data(name: str) -> None:
    signature, statement, shape, size = READERS[name]
    model = parsed(f"{signature} {{ {statement} }}")
    built = compiler.build(model, threads=1)
    rng = np.random.default_rng(0)
    inputs = {
        i.name: rng.standard_normal([d.dim_value for d in i.type.tensor_type.shape.dim]).astype(np.float32)
        for i in model.graph.input
    }
    dtype = np.int32 if "int32" in signature else np.int64
    valid = (np.arange(np.prod(shape)).reshape(shape) % size - size // 2).astype(dtype)  # also negative ones
    if not name.startswith("ScatterElements"):
        check(f"{signature} {{ {statement} }}", **{**inputs, "i": valid})
    for wrong in (size, -size - 1, np.iinfo(dtype).max, np.iinfo(dtype).min):
        indices = valid.copy()
        indices.flat[-1] = wrong
        op = statement.split()[2]
        with pytest.raises(ValueError, match=rf"{op} \(node '.+'\): index {wrong} is out of range.* of size {size}"):
            built.run({**inputs, "i": indices})
    built.run({**inputs, "i": valid})  # the error leaves the model usable


@pytest.mark.tvm
@pytest.mark.parametrize("index", [4, -5])
def test_constant_indices_out_of_range_are_rejected_by_the_build(index: int) -> None:
    rejected(f"(float[4,3] x) => (float[] y) <int64[1] i = {{{index}}}> {{ y = GatherElements <axis=0> (x, j) "
            f"j = Reshape (i, s) }}".replace("y = GatherElements <axis=0> (x, j) j = Reshape (i, s)",
                                             "y = GatherND (x, i)"), f"index {index} is out of range")  # fmt: skip


def scattered(x: np.ndarray, i: np.ndarray, u: np.ndarray, axis: int, reduction: str) -> np.ndarray:
    """ScatterElements, one update after the other."""
    functions = {"none": lambda _a, b: b, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
    want = x.copy()
    for at in np.ndindex(i.shape):
        place = (*at[:axis], i[at], *at[axis + 1 :])
        want[place] = functions[reduction](want[place], u[at])
    return want


# Shapes of the data, of the indices before they are expanded, and of the updates.
ROWS = {
    "rows": ((7, 5), (90, 1), (90, 5), 0),
    "wide rows": ((50, 130), (300, 1), (300, 130), 0),
    "many rows": ((40_000, 2), (30_000, 1), (30_000, 2), 0),
    "batches": ((3, 6, 40), (1, 20, 1), (3, 20, 40), 1),
    "one batch each": ((3, 6, 40), (3, 20, 1), (3, 20, 40), 1),
    "fewer batches than data": ((3, 6, 4), (2, 9, 1), (2, 9, 4), 1),
    "fewer columns than data": ((8, 6), (9, 1), (9, 4), 0),
    "the last axis": ((4, 9), (1, 30), (4, 30), 1),
    "elements": ((9, 70), (80, 70), (80, 70), 0),
}


@pytest.mark.tvm
@pytest.mark.parametrize("reduction", ["none", "add", "max"])
@pytest.mark.parametrize("form", ["expanded", "constant", "from data"])
@pytest.mark.parametrize("name", ROWS)
def test_scattered_rows(name: str, form: str, reduction: str) -> None:
    """Indices that are equal along a row, as an input that is expanded, as a constant, and as an input."""
    data, few, many, axis = ROWS[name]
    rng = np.random.default_rng(0)
    x, u = (rng.integers(-9, 9, shape).astype(np.float32) for shape in (data, many))
    i = rng.integers(-data[axis], data[axis], few)
    every = np.broadcast_to(i, many)
    positive = np.where(every < 0, every + data[axis], every)
    listed = {key: ",".join(map(str, shape)) for key, shape in (("x", data), ("i", few), ("u", many))}
    inputs, constants, expand, index = {"x": x, "u": u}, f"int64[{len(many)}] s", "", "j"
    if form == "constant":
        if every.size > 10_000:
            pytest.skip("the text of the model would be long")
        index = "c"
        constants += f", int64[{listed['u']}] c = {{{','.join(map(str, every.reshape(-1)))}}}"
        signature = f"float[{listed['x']}] x, float[{listed['u']}] u"
    elif form == "expanded":
        expand = "j = Expand (i, s)"
        signature = f"float[{listed['x']}] x, int64[{listed['i']}] i, float[{listed['u']}] u"
        inputs["i"] = i
    else:
        index = "i"
        signature = f"float[{listed['x']}] x, int64[{listed['u']}] i, float[{listed['u']}] u"
        inputs["i"] = np.ascontiguousarray(every)
    constants = (
        constants.replace("s", f"s = {{{listed['u']}}}", 1) if form == "expanded" else constants.partition(", ")[2]
    )
    text = (
        f"({signature}) => (float[{listed['x']}] y) <{constants}>"
        f'{{ {expand} y = ScatterElements <axis = {axis}, reduction = "{reduction}"> (x, {index}, u) }}'
    ).replace("<>", "")
    check(text, [scattered(x, positive, u, axis, reduction)], rtol=0, **inputs)


@pytest.mark.tvm
@pytest.mark.parametrize("axis", [0, 1])
def test_elements_of_rows_are_gathered(axis: int) -> None:
    """GatherElements with an expanded index reads rows."""
    x = normal(6, 7, 40)
    few = (20, 1, 1) if axis == 0 else (6, 20, 1)
    many = (20, 7, 40) if axis == 0 else (6, 20, 40)
    i = np.random.default_rng(1).integers(-x.shape[axis], x.shape[axis], few)
    shape, listed = ",".join(map(str, many)), ",".join(map(str, few))
    check(f"(float[6,7,40] x, int64[{listed}] i) => (float[{shape}] y) <int64[3] s = {{{shape}}}>"
          f"{{ j = Expand (i, s) y = GatherElements <axis = {axis}> (x, j) }}",
          [np.take_along_axis(x, np.broadcast_to(i, many), axis)], x=x, i=i)  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("flags", ["", "exclusive = 1", "reverse = 1", "exclusive = 1, reverse = 1"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 70, 600)])
def test_cumulative_sums(shape: tuple[int, int, int], flags: str, axis: int) -> None:
    x = np.random.default_rng(0).integers(-5, 5, shape).astype(np.float32)
    listed = ",".join(map(str, shape))
    ahead = np.flip(x, axis) if "reverse" in flags else x
    want = np.cumsum(ahead, axis) - (ahead if "exclusive" in flags else 0)
    want = (np.flip(want, axis) if "reverse" in flags else want).astype(np.float32)
    attributes = f"<{flags}>" if flags else ""
    check(f"(float[{listed}] x) => (float[{listed}] y) <int64 a = {{{axis}}}> {{ y = CumSum {attributes} (x, a) }}",
          [want], rtol=0, x=x)  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("axis", [0, 1])
def test_the_largest_of_many_rows(axis: int) -> None:
    x = np.random.default_rng(0).integers(0, 50, (300, 200)).astype(np.float32)
    want = np.argsort(-x, axis, kind="stable").take(range(7), axis)
    check(f"(float[300,200] x) => (float[] v, int64[] i) <int64[1] k = {{7}}> {{ v, i = TopK <axis = {axis}> (x, k) }}",
          [np.take_along_axis(x, want, axis), want], x=x)  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("kind", ["float", "int32", "int64", "uint8", "float16", "double"])
def test_scattered_updates_are_reduced_in_order(reduction: str, kind: str) -> None:
    dtype = np.dtype({"float": "f4", "double": "f8"}.get(kind, kind))
    rng = np.random.default_rng(0)
    x, u = (rng.integers(1, 5, shape).astype(dtype) for shape in ((3, 4), (2, 4)))
    i = np.array([[0, 1, 2, 0], [0, -1, 2, 1]])
    functions = {"none": lambda _a, b: b, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
    want = x.copy()
    for row, column in np.ndindex(i.shape):
        place = (i[row, column], column)
        want[place] = functions[reduction](want[place], u[row, column])
    check(f"({kind}[3,4] x, int64[2,4] i, {kind}[2,4] u) => ({kind}[3,4] y) "
          f'{{ y = ScatterElements <reduction="{reduction}"> (x, i, u) }}', [want], x=x, i=i, u=u)  # fmt: skip
    nd = np.array([[1], [1], [-1]])
    v = rng.integers(1, 5, (3, 4)).astype(dtype)
    want = x.copy()
    for row, place in enumerate(nd[:, 0]):
        want[place] = functions[reduction](want[place], v[row])
    check(f"({kind}[3,4] x, int64[3,1] i, {kind}[3,4] u) => ({kind}[3,4] y) "
          f'{{ y = ScatterND <reduction="{reduction}"> (x, i, u) }}', [want], x=x, i=nd, u=v)  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("depth", ["int64 d = {5}", "int64[1] d = {5}", "int32 d = {5}", "float d = {5}"])
@pytest.mark.parametrize("values", ["float[2] v = {3, -2.5}", "int64[2] v = {7, 9}"])
def test_one_hot_wraps_once_and_ignores_the_rest(depth: str, values: str) -> None:
    indices = np.array([0, -1, 4, 5, -6, 100])
    off, on = (3, -2.5) if "float" in values else (7, 9)
    kind = "float" if "float[2]" in values else "int64"
    want = np.full((6, 5), off, "f4" if kind == "float" else "i8")
    want[0, 0] = want[1, 4] = want[2, 4] = on
    for axis, expected in ((-1, want), (0, want.T)):
        check(f"(int64[6] i) => ({kind}[] y) <{depth}, {values}> {{ y = OneHot <axis={axis}> (i, d, v) }}",
              [expected], i=indices)  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("largest", [0, 1])
def test_top_k_orders_ties_by_index_and_takes_infinities(largest: int) -> None:
    x = np.array([[1, 3, 3, -INF], [-INF, -INF, -INF, -INF], [2, INF, -2, 2]], np.float32)
    check(f"(float[3,4] x) => (float[3,3] y, int64[3,3] i) <int64[1] k = {{3}}> "
          f"{{ y, i = TopK <largest={largest}> (x, k) }}", x=x)  # fmt: skip
    check(f"(float[3,4] x) => (int64[2,4] i) <int64[1] k = {{2}}> "
          f"{{ y, i = TopK <largest={largest}, axis=0> (x, k) }}", x=x)  # fmt: skip


@pytest.mark.tvm
def test_top_k_counts_nan_as_the_largest() -> None:
    x = np.array([1, NAN, 3, NAN], np.float32)
    check("(float[4] x) => (float[3] y, int64[3] i) <int64[1] k = {3}> { y, i = TopK (x, k) }",
          [np.array([NAN, NAN, 3], np.float32), np.array([1, 3, 2])], x=x)  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("op", ["CumSum", "CumProd"])
@pytest.mark.parametrize(("exclusive", "reverse"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_cumulative(op: str, exclusive: int, reverse: int) -> None:
    x = normal(3, 4, 2)
    wide = np.flip(x, 1) if reverse else x
    function, first = (np.cumsum, 0) if op == "CumSum" else (np.cumprod, 1)
    total = function(wide.astype(np.float64), 1)
    if exclusive:
        total = np.concatenate([np.full_like(total[:, :1], first), total[:, :-1]], 1)
    want = (np.flip(total, 1) if reverse else total).astype(np.float32)
    check(f"(float[3,4,2] x) => (float[3,4,2] y) <int64 a = {{1}}> "
          f"{{ y = {op} <exclusive={exclusive}, reverse={reverse}> (x, a) }}", [want], opset=26, x=x)  # fmt: skip
