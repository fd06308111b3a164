"""Operators that move elements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compiler
from tests.compiler.tvm_backend.operators.single import check, normal, parsed, rejected

SLICES = [
    *((7, 3, 1), (5, 20, 1), (4, -20, -1), (-1, -100, -2), (0, 5, -1), (2, 2, 1), (-3, 100, 1), (100, -100, -3)),
]


@pytest.mark.tvm
@pytest.mark.parametrize(("start", "end", "step"), SLICES)
def test_slices(start: int, end: int, step: int) -> None:
    x = normal(6, 3)
    check(f"(float[6,3] x) => (float[] y) <int64[1] s = {{{start}}}, int64[1] e = {{{end}}}, int64[1] a = {{0}}, "
          f"int64[1] t = {{{step}}}> {{ y = Slice (x, s, e, a, t) }}", [x[start:end:step] if end > -7 or step > 0
          else x[start::step]], x=x)  # fmt: skip


@pytest.mark.tvm
def test_a_tile_that_is_sliced_backward() -> None:
    x = normal(1, 7)
    check("(float[1,7] x) => (float[1,9] y) <int64[2] r = {1, 2}, int64[1] s = {9}, int64[1] e = {-100}, "
          "int64[1] a = {1}, int64[1] t = {-1}> { u = Tile (x, r) v = Slice (u, s, e, a, t) "
          "y = Slice (v, one, ten, a) }".replace("y = Slice (v, one, ten, a)", "y = Neg (v)").replace("float[1,9] y",
          "float[1,10] y"), [-np.tile(x, (1, 2))[:, 9::-1]], x=x)  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_borders_that_repeat(mode: str) -> None:
    pad: Any = np.pad
    x = normal(3, 4)
    check(f'(float[3,4] x) => (float[] y) <int64[4] p = {{2, 1, 1, 3}}> {{ y = Pad <mode="{mode}"> (x, p) }}',
          [pad(x, ((2, 1), (1, 3)), mode=mode)], opset=19, x=x)  # fmt: skip


@pytest.mark.tvm
def test_reflection_wider_than_the_axis_is_rejected() -> None:
    rejected('(float[3,3] x) => (float[9,3] y) <int64[4] p = {3, 0, 3, 0}> { y = Pad <mode="reflect"> (x, p) }',
            r"Pad \(node .*axis 0 by 3, but its size is 3; at most 2")  # fmt: skip


@pytest.mark.tvm
def test_borders_of_a_constant_may_crop() -> None:
    x = normal(4, 5)
    check("(float[4,5] x) => (float[] y) <int64[4] p = {-1, 2, 1, -3}, float v = {7}> { y = Pad (x, p, v) }",
          [np.pad(x[1:, :2], ((0, 1), (2, 0)), constant_values=7)], x=x)  # fmt: skip


@pytest.mark.tvm
def test_sizes_from_data_are_checked_against_the_stated_shape() -> None:
    x = normal(1, 3, 1)
    for op, wrong in (("Expand", [2, 3, 5]), ("Reshape", [3, 1])):
        stated = "2,3,6" if op == "Expand" else "3,1,1"
        model = parsed(f"(float[1,3,1] x, int64[{len(wrong)}] s) => (float[{stated}] y) {{ y = {op} (x, s) }}")
        right = [2, 1, 6] if op == "Expand" else [-1, 1]
        if op == "Reshape":
            model = parsed("(float[1,3,1] x, int64[2] s) => (float[3,1] y) { y = Reshape (x, s) }")
            wrong = [1, 3]
        built = compiler.build(model, threads=1)
        want = np.broadcast_to(x, (2, 3, 6)) if op == "Expand" else x.reshape(3, 1)
        np.testing.assert_array_equal(built.run({"x": x, "s": np.array(right)})["y"], want)
        with pytest.raises(ValueError, match=rf"{op} \(node .*sizes are .* at run time, but the model was compiled"):
            built.run({"x": x, "s": np.array(wrong)})


@pytest.mark.tvm
@pytest.mark.parametrize("op", ["DepthToSpace", 'DepthToSpace <mode="CRD">', "SpaceToDepth"])
def test_blocks(op: str) -> None:
    name, _, rest = op.partition(" ")
    attributes = (rest.strip("<>") + ", " if rest else "") + "blocksize=2"
    check(f"(float[2,8,4,6] x) => (float[] y) {{ y = {name} <{attributes}> (x) }}", x=normal(2, 8, 4, 6))


@pytest.mark.tvm
def test_empty_tensors_pass_through() -> None:
    check("(float[0,3] x, float[2,3] z) => (float[2,3] y, float[1,3] s, float[0,3] r) <int64[1] a = {0}> "
          "{ y = Concat <axis=0> (x, z) s = ReduceSum (x, a) r = Relu (x) }",
          x=np.zeros((0, 3), np.float32), z=normal(2, 3))  # fmt: skip
    check("(float[2,0] x, float[0,3] z) => (float[2,3] y) { y = MatMul (x, z) }", [np.zeros((2, 3), np.float32)],
          x=np.zeros((2, 0), np.float32), z=np.zeros((0, 3), np.float32))  # fmt: skip


@pytest.mark.tvm
def test_a_part_of_size_zero() -> None:
    check("(float[4,2] x) => (float[0,2] a, float[4,2] b) <int64[2] s = {0, 4}> { a, b = Split <axis=0> (x, s) }",
          x=normal(4, 2))  # fmt: skip


@pytest.mark.tvm
def test_dropout_for_inference_has_a_mask_of_ones() -> None:
    check("(float[3,2] x) => (float[3,2] y, bool[3,2] m) { y, m = Dropout (x) }", x=normal(3, 2))


@pytest.mark.tvm
def test_sequences_that_the_model_makes() -> None:
    x = normal(6, 2)
    check("(float[6,2] x) => (float[2,2] y, float[6,2] z, int64 n) <int64 two = {2}, int64 one = {1}> {"
          " s = SplitToSequence <axis=0> (x, two) y = SequenceAt (s, one) t = SequenceErase (s, one)"
          " u = SequenceInsert (t, y) z = ConcatFromSequence <axis=0> (u) n = SequenceLength (u) }",
          [x[2:4], np.concatenate([x[:2], x[4:], x[2:4]]), np.array(3)], x=x)  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize(("shape", "repeats"), [((3, 4, 5), (6, 4, 2)), ((2, 3, 4, 5), (7, 6, 4, 2)), ((4, 5), (1, 3))])
def test_tiles(shape: tuple[int, ...], repeats: tuple[int, ...]) -> None:
    """LLVM's loop vectorizer miscompiles the first two for AVX-512."""
    sizes, counts = (",".join(map(str, numbers)) for numbers in (shape, repeats))
    x = normal(*shape)
    check(f"(float[{sizes}] x) => (float[] y) <int64[{len(shape)}] r = {{{counts}}}> {{ y = Tile (x, r) }}",
          [np.tile(x, repeats)], x=x)  # fmt: skip


@pytest.mark.tvm
def test_a_reshape_that_is_sliced_backward() -> None:
    x = normal(4, 6)
    check("(float[4,6] x) => (float[5,2] y) <int64[2] r = {8, 3}, int64[2] s = {7, 2}, int64[2] e = {2, -100}, "
          "int64[2] a = {0, 1}, int64[2] t = {-1, -2}> { u = Reshape (x, r) v = Slice (u, s, e, a, t) y = Neg (v) }",
          [-x.reshape(8, 3)[7:2:-1, 2::-2]], x=x)  # fmt: skip


@pytest.mark.tvm
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", ["2, -1", "-1, 2", "-2, 3", "3, -2", "-1, -1"])
def test_pad_crops_before_it_repeats(mode: str, pads: str) -> None:
    x = np.arange(6, dtype=np.float32)
    size = 6 + sum(map(int, pads.split(",")))
    check(
        f'(float[6] x) => (float[{size}] y) <int64[2] pads = {{{pads}}}> {{ y = Pad <mode = "{mode}"> (x, pads) }}',
        opset=19,
        x=x,
    )


@pytest.mark.tvm
@pytest.mark.parametrize("step", [-1, -2, 1, 2])
@pytest.mark.parametrize("start", [-9, -5, -4, -1, 0, 3, 9])
@pytest.mark.parametrize("end", [-9, -4, -1, 0, 2, 9, -(2**31)])
def test_slice_of_bounds_beyond_the_axis(start: int, end: int, step: int) -> None:
    """ONNX moves a start before the first element to it, also if the step is negative."""
    first, last = (start + 4 if start < 0 else start), (end + 4 if end < 0 else end)
    first = min(max(first, 0), 4 if step > 0 else 3)
    last = min(max(last, 0 if step > 0 else -1), 4 if step > 0 else 3)
    want = np.array([float(i) for i in range(first, last, step)], np.float32)
    check(
        f"(float[4] x) => (float[{len(want)}] y) "
        f"<int64[1] a = {{{start}}}, int64[1] b = {{{end}}}, int64[1] axis = {{0}}, int64[1] step = {{{step}}}> "
        "{ y = Slice (x, a, b, axis, step) }",
        [want],
        x=np.arange(4, dtype=np.float32),
    )
