"""Strides that move towards the inputs: structure, multiply-adds, outputs, and models without any gain."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import pytest

from benchmarks import models
from graph_passes import Optimized, optimize
from tests.graph_passes.models import model, operators, run_pass


def strides(proto: onnx.ModelProto, op_type: str = "Conv") -> list[Sequence[int]]:
    """Returns the strides of all nodes of an operator, in order."""
    return [
        next((list(a.ints) for a in node.attribute if a.name == "strides"), [1, 1])
        for node in proto.graph.node
        if node.op_type == op_type
    ]


def macs(optimized: Optimized) -> tuple[int | None, int | None]:
    return optimized.reports[0].macs_before, optimized.reports[0].macs_after


WEIGHTS = "float[4,4,3,3] k, float[4,4,1,1] a, float[4,4,1,1] b, float[4,4,1,1] c"
PAD = "pads: ints = [1, 1, 1, 1]"


def bottleneck(size: int = 9, first: str = "[2, 2]", second: str = "[2, 2]") -> onnx.ModelProto:
    """The last block of a stage of ResNet v1, and the first two convolutions of the next stage."""
    return model(
        f"""g (float[1,4,{size},{size}] x) => (float[N,4,H,W] y, float[N,4,I,J] z) <{WEIGHTS}, float[4] d> {{
            s = Relu (x)
            h = Conv (s, a)
            i = Conv <{PAD}> (h, k, d)
            j = Relu (i)
            l = Conv (j, b)
            m = Add (l, s)
            n = Relu (m)
            y = Conv <strides: ints = {first}> (n, a)
            z = Conv <strides: ints = {second}> (n, c)
        }}"""
    )


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9])
def test_the_last_block_of_a_stage(size: int) -> None:
    optimized = run_pass(bottleneck(size), "optimize_strides")
    if size == 1:
        return  # nothing is left out of a single pixel
    assert strides(optimized.model) == [[1, 1], [2, 2], [1, 1], [1, 1], [1, 1]]
    assert operators(optimized.model) == {"Relu": 3, "Conv": 5, "Add": 1, "MaxPool": 1}
    assert strides(optimized.model, "MaxPool") == [[2, 2]]
    before, after = macs(optimized)
    assert before is not None
    assert after is not None
    whole, some = size * size, (-(-size // 2)) ** 2
    assert before - after == (9 + 1) * 16 * (whole - some)


def test_different_strides_move_by_what_they_share() -> None:
    optimized = run_pass(bottleneck(9, "[4, 2]", "[2, 6]"), "optimize_strides")
    assert strides(optimized.model) == [[1, 1], [2, 2], [1, 1], [2, 1], [1, 3]]


def test_a_reader_of_every_pixel_keeps_every_pixel() -> None:
    optimized = run_pass(bottleneck(9, "[2, 2]", "[1, 1]"), "optimize_strides")
    assert operators(optimized.model) == {"Relu": 3, "Conv": 5, "Add": 1}
    assert macs(optimized)[0] == macs(optimized)[1]


def test_an_output_keeps_every_pixel() -> None:
    optimized = run_pass(
        model(
            f"""g (float[1,4,9,9] x) => (float[1,4,5,5] y, float[1,4,9,9] h) <{WEIGHTS}> {{
                h = Conv <{PAD}> (x, k)
                y = Conv <strides: ints = [2, 2]> (h, a)
            }}"""
        ),
        "optimize_strides",
    )
    assert strides(optimized.model) == [[1, 1], [2, 2]]


def test_nothing_is_aligned_where_no_multiply_adds_fall() -> None:
    original = model(
        f"""g (float[1,4,9,9] x, float[1,4,9,9] z) => (float[1,4,5,5] y) <{WEIGHTS}> {{
            h = Add (x, z)
            i = Relu (h)
            y = Conv <strides: ints = [2, 2]> (i, a)
        }}"""
    )
    optimized = run_pass(original, "optimize_strides")
    assert operators(optimized.model) == {"Add": 1, "Relu": 1, "Conv": 1}
    assert strides(optimized.model) == [[2, 2]]


@pytest.mark.parametrize(
    "operand",
    ["float[1,4,1,1]", "float[4,1,1]", "float", "float[9,1]", "float[1,1,9,9]", "float[9]", "float[1,4,1,9]"],
)
@pytest.mark.parametrize("constant", [True, False])
def test_broadcasts(operand: str, constant: bool) -> None:
    declared = f"float[1,4,9,9] x{'' if constant else f', {operand} s'}"
    original = model(
        f"""g ({declared}) => (float[1,4,5,5] y) <{WEIGHTS}{f", {operand} s" if constant else ""}> {{
            h = Conv <{PAD}> (x, k)
            i = Mul (s, h)
            y = Conv <strides: ints = [2, 2]> (i, a)
        }}"""
    )
    optimized = run_pass(original, "optimize_strides")
    lines = not constant and operand in ("float[9,1]", "float[9]")  # no pooling reads an array of fewer dimensions
    assert strides(optimized.model) == ([[1, 1], [2, 2]] if lines else [[2, 2], [1, 1]])


def test_a_convolution_that_is_broadcast_keeps_its_pixels() -> None:
    original = model(
        f"""g (float[1,4,9,9] x, float[1,4,9,1] z) => (float[1,4,5,5] y) <{WEIGHTS}> {{
            g = Conv (z, b)
            h = Conv <{PAD}> (x, k)
            i = Mul (g, h)
            y = Conv <strides: ints = [2, 2]> (i, a)
        }}"""
    )
    assert strides(run_pass(original, "optimize_strides").model) == [[2, 1], [2, 2], [1, 1]]


@pytest.mark.parametrize("pads", [[1, 1, 1, 1], [0, 1, 2, 0], [0, 0, 0, 0]])
@pytest.mark.parametrize("size", [7, 8, 9, 10])
def test_padding_and_odd_sizes(pads: list[int], size: int) -> None:
    original = model(
        f"""g (float[1,4,{size},{size}] x) => (float[1,4,H,W] y) <{WEIGHTS}> {{
            h = Conv <pads: ints = {pads}, strides: ints = [1, 2]> (x, k)
            y = Conv <strides: ints = [3, 2]> (h, a)
        }}"""
    )
    assert strides(run_pass(original, "optimize_strides").model) == [[3, 4], [1, 1]]


@pytest.mark.parametrize("size", [8, 9, 10, 11])
@pytest.mark.parametrize("pads", [[2, 2, 2, 2], [0, 2, 1, 3], [2, 0, 0, 1]])
def test_a_dilated_kernel_reads_a_grid_too(size: int, pads: list[int]) -> None:
    original = model(
        f"""g (float[1,4,{size},{size}] x) => (float[1,4,H,W] y) <{WEIGHTS}> {{
            h = Conv (x, a)
            i = Relu (h)
            y = Conv <dilations: ints = [2, 2], strides: ints = [2, 2], pads: ints = {pads}> (i, k)
        }}"""
    )
    optimized = run_pass(original, "optimize_strides")
    assert strides(optimized.model) == [[2, 2], [1, 1]]


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("size", [7, 8])
def test_automatic_padding(auto_pad: str, size: int) -> None:
    original = model(
        f"""g (float[1,4,{size},{size}] x) => (float[1,4,H,W] y) <{WEIGHTS}> {{
            h = Conv <auto_pad: string = "{auto_pad}"> (x, k)
            y = Conv <strides: ints = [2, 2]> (h, a)
        }}"""
    )
    assert strides(run_pass(original, "optimize_strides").model) == [[2, 2], [1, 1]]


@pytest.mark.parametrize(
    ("pool", "moved"),
    [
        ("MaxPool <kernel_shape: ints = [3, 3], strides: ints = [2, 2], pads: ints = [1, 1, 1, 1]>", [[4, 4]]),
        ("AveragePool <kernel_shape: ints = [3, 3], pads: ints = [1, 1, 1, 1], count_include_pad: int = 1>", [[2, 2]]),
        ("MaxPool <kernel_shape: ints = [2, 2], strides: ints = [2, 2], ceil_mode: int = 1>", [[2, 2]]),
        ("MaxPool <kernel_shape: ints = [4, 4], ceil_mode: int = 1>", [[2, 2]]),
        ("AveragePool <kernel_shape: ints = [4, 2], ceil_mode: int = 1>", [[2, 2]]),
    ],
)
def test_poolings_compute_a_grid(pool: str, moved: list[list[int]]) -> None:
    original = model(
        f"""g (float[1,4,9,9] x) => (float[1,4,H,W] y) <{WEIGHTS}> {{
            h = {pool} (x)
            y = Conv <strides: ints = [2, 2]> (h, a)
        }}"""
    )
    optimized = run_pass(original, "optimize_strides")
    assert strides(optimized.model, pool.split()[0]) == moved


def test_concatenation_passes_a_grid_on() -> None:
    original = model(
        f"""g (float[1,4,9,9] x) => (float[1,4,5,5] y) <{WEIGHTS}, float[4,8,1,1] w> {{
            h = Conv <{PAD}> (x, k)
            i = Conv (x, b)
            j = Concat <axis: int = 1> (h, i)
            y = Conv <strides: ints = [2, 2]> (j, w)
        }}"""
    )
    assert strides(run_pass(original, "optimize_strides").model) == [[2, 2], [2, 2], [1, 1]]


def test_concatenation_of_rows_does_not() -> None:
    original = model(
        f"""g (float[1,4,9,9] x) => (float[1,4,9,5] y) <{WEIGHTS}> {{
            h = Conv <{PAD}> (x, k)
            i = Conv (x, b)
            j = Concat <axis: int = 2> (h, i)
            y = Conv <strides: ints = [2, 2]> (j, a)
        }}"""
    )
    assert strides(run_pass(original, "optimize_strides").model) == [[1, 1], [1, 1], [2, 2]]


def test_other_types_are_aligned_by_slices() -> None:
    original = model(
        f"""g (float[1,4,9,9] x) => (float[1,4,5,5] y) <{WEIGHTS}, int64 axis> {{
            h = Conv <{PAD}> (x, k)
            i = Cast <to: int = 6> (h)
            j = Cast <to: int = 6> (x)
            l = CumSum (j, axis)
            m = Add (i, l)
            n = Cast <to: int = 1> (m)
            y = Conv <strides: ints = [2, 2]> (n, a)
        }}""",
        axis=2,
    )
    optimized = run_pass(original, "optimize_strides")
    assert operators(optimized.model) == {"Conv": 2, "Cast": 3, "CumSum": 1, "Slice": 1, "Add": 1}
    assert strides(optimized.model) == [[2, 2], [1, 1]]


def test_one_and_three_dimensions() -> None:
    line = model(
        """g (float[1,4,9] x) => (float[1,4,6] y) <float[4,4,3] k, float[4,4,1] a> {
            h = Conv (x, k)
            i = Add (h, h)
            y = Conv <strides: ints = [2], pads: ints = [2, 2]> (i, a)
        }"""
    )
    assert [s[0] for s in strides(run_pass(line, "optimize_strides").model)] == [2, 1]
    volume = model(
        """g (float[1,2,5,5,5] x) => (float[1,2,2,1,3] y) <float[2,2,3,3,1] k, float[2,2,1,1,1] a> {
            h = Conv (x, k)
            y = Conv <strides: ints = [2, 3, 2]> (h, a)
        }"""
    )
    assert strides(run_pass(volume, "optimize_strides").model)[0] == [2, 3, 2]


def test_an_operand_of_fewer_axes_is_read_in_full() -> None:
    original = model(
        """g (float[1,4,8,8] x, float[4,1,1] s) => (float[1,4,4,4] y) <float[4,4,1,1] w, float[4,4,1,1] v> {
            a = Conv (x, w)
            t = Sigmoid (s)
            m = Mul (a, t)
            y = Conv <strides: ints = [2,2]> (m, v)
        }"""
    )
    run_pass(original, "optimize_strides")


def test_what_is_read_in_a_branch_is_read_in_full() -> None:
    original = model(
        f"""g (float[1,4,9,9] x, bool flag) => (float[1,4,5,5] y, float[N,M,H,W] z) <{WEIGHTS}> {{
            h = Conv <{PAD}> (x, k)
            y = Conv <strides: ints = [2, 2]> (h, a)
            z = If (flag) <
                then_branch = t () => (float[1,4,9,9] p) {{ p = Relu (h) }},
                else_branch = e () => (float[1,4,9,9] q) {{ q = Neg (x) }}
            >
        }}"""
    )
    assert strides(optimize(original, passes=["optimize_strides"]).model) == [[1, 1], [2, 2]]


@pytest.mark.parametrize(("name", "before", "after"), [("resnet50", 3858, 3482), ("resnet50-v1.5", 4089, 4089)])
def test_resnet50(name: str, before: int, after: int) -> None:
    """v1 loses 9.7 % of its multiply-adds. v1.5 loses none, since its first 1x1 convolutions have stride 1."""
    passes = ["freeze_shapes", "fold_constants", "fold_batch_norm", "optimize_strides"]
    report = optimize(models.load(name), passes=passes).reports[-1]
    assert report.macs_before is not None
    assert report.macs_after is not None
    assert (round(report.macs_before / 1e6), round(report.macs_after / 1e6)) == (before, after)
    assert (report.nodes_before == report.nodes_after) == (before == after)
