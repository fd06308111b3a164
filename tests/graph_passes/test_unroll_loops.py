"""Loops with a known number of iterations become copies of their bodies; others stay, with a reason."""

from __future__ import annotations

import onnx
import pytest
from onnx import parser

import graph_passes
from graph_passes.unroll_loops import UnrollLoops
from tests.graph_passes.models import model, operators, remarks, run_pass


def loop(head: str, body: str, tail: str = "", outputs: str = "float[2] last, float[N, 2] all") -> onnx.ModelProto:
    """A Loop over a state s of two numbers, with one scan output; ``head`` defines ``most`` and ``first``."""
    return model(
        f"""g (float[2] x) => ({outputs}) {{
            {head}
            last, all = Loop <body = b (int64 i, bool c, float[2] s) => (bool going, float[2] next, float[2] seen) {{
                {body}
            }}> (most, first, x)
            {tail}
        }}"""
    )


THREE = "most = Constant <value_int = 3> ()  first = Constant <value = bool {1}> ()"
STEP = "n = Cast <to = 1> (i)  next = Add (s, n)  seen = Mul (next, x)"


def test_a_constant_number_of_iterations() -> None:
    optimized = run_pass(loop(THREE, f"going = Identity (c) {STEP}"), "unroll_loops")
    found = operators(optimized.model)
    assert "Loop" not in found
    assert (found["Add"], found["Mul"], found["Concat"]) == (3, 3, 1)


def test_a_number_that_follows_from_a_shape() -> None:
    head = "sizes = Shape (x)  most = Squeeze (sizes)  first = Constant <value = bool {1}> ()"
    optimized = run_pass(loop(head, f"going = Identity (c) {STEP}"), "unroll_loops")
    assert operators(optimized.model)["Mul"] == 2


@pytest.mark.parametrize("limit", [2, 4])
def test_a_condition_of_counters(limit: int) -> None:
    condition = f"one = Constant <value_int = 1> ()  k = Add (i, one)  end = Constant <value_int = {limit}> ()"
    optimized = run_pass(loop(THREE, f"{condition} going = Less (k, end) {STEP}"), "unroll_loops")
    assert operators(optimized.model)["Mul"] == min(limit, 3)


def test_a_condition_of_a_state() -> None:
    """The state j counts in steps of two, from a constant; the loop has no other limit."""
    original = model(
        """g (float[2] x) => (float[2] last) {
            most = Constant <value_int = 99> ()
            first = Constant <value = bool {1}> ()
            zero = Constant <value_int = 0> ()
            j, last = Loop <body = b (int64 i, bool c, int64 j, float[2] s) => (bool going, int64 k, float[2] t) {
                two = Constant <value_int = 2> ()
                end = Constant <value_int = 6> ()
                k = Add (j, two)
                going = Less (k, end)
                t = Add (s, x)
            }> (most, first, zero, x)
        }"""
    )
    optimized = run_pass(original, "unroll_loops")
    assert "Loop" not in operators(optimized.model)
    folded = graph_passes.optimize(original, passes=["unroll_loops", "fold_constants"])
    assert operators(folded.model) == {"Add": 3}


def test_no_iteration_returns_the_state() -> None:
    head = "most = Constant <value_int = 0> ()  first = Constant <value = bool {1}> ()"
    body = f"going = Identity (c) {STEP}"
    optimized = run_pass(loop(head, body, outputs="float[2] last"), "unroll_loops")
    assert operators(optimized.model) == {"Identity": 1}
    optimized = graph_passes.optimize(loop(head, body), passes=["unroll_loops"])
    assert "not unrolled: it has no iterations" in remarks(optimized)


def test_a_loop_in_a_loop() -> None:
    original = model(
        """g (float[2] x) => (float[2] last) {
            two = Constant <value_int = 2> ()
            yes = Constant <value = bool {1}> ()
            last = Loop <body = b (int64 i, bool c, float[2] s) => (bool going, float[2] next) {
                going = Identity (c)
                next = Loop <body = d (int64 j, bool e, float[2] t) => (bool on, float[2] u) {
                    on = Identity (e)
                    v = Mul (t, s)
                    u = Add (v, x)
                }> (two, yes, s)
            }> (two, yes, x)
        }"""
    )
    found = operators(run_pass(original, "unroll_loops").model)
    assert (found["Mul"], found["Add"], found["Loop"]) == (4, 4, 0)


STAYS = {
    "a condition of data": (
        THREE,
        f"sum = ReduceSum <keepdims = 0> (s)  nine = Constant <value_float = 9.0> ()  going = Less (sum, nine) {STEP}",
        "whether it goes on depends on its inputs",
    ),
    "a number from data": (
        "sum = ReduceSum <keepdims = 0> (x)  most = Cast <to = 7> (sum)  first = Constant <value = bool {1}> ()",
        f"going = Identity (c) {STEP}",
        "its number of iterations is not constant",
    ),
    "a first condition from data": (
        "most = Constant <value_int = 3> ()  sum = ReduceSum <keepdims = 0> (x)  first = Cast <to = 9> (sum)",
        f"going = Identity (c) {STEP}",
        "its first condition is not constant",
    ),
}


@pytest.mark.parametrize(("head", "body", "reason"), STAYS.values(), ids=STAYS)
def test_what_stays(head: str, body: str, reason: str) -> None:
    optimized = graph_passes.optimize(loop(head, body), passes=["unroll_loops"])
    assert operators(optimized.model)["Loop"] == 1
    assert remarks(optimized).endswith(f"not unrolled: {reason}")


def test_too_many_iterations_stay() -> None:
    original = loop(THREE, f"going = Identity (c) {STEP}")
    optimized = graph_passes.optimize(original, passes=[UnrollLoops(longest=2)])
    assert remarks(optimized).endswith("not unrolled: it has more than 2 iterations")
    assert "Loop" not in operators(run_pass(original, UnrollLoops(longest=3)).model)


SCAN = """g (float[2] x, {scanned} xs) => (float[2] last, {ys} ys) {{
    last, ys = Scan <num_scan_inputs = 1, {attributes} body = b (float[2] s, float[2] y) => (float[2] t, float[2] z) {{
        t = Add (s, y)
        z = Mul (t, x)
    }}> (x, xs)
}}"""


@pytest.mark.parametrize(
    ("scanned", "ys", "attributes"),
    [
        ("float[3, 2]", "float[3, 2]", ""),
        ("float[3, 2]", "float[3, 2]", "scan_input_directions = [1],"),
        ("float[3, 2]", "float[3, 2]", "scan_output_directions = [1],"),
        ("float[2, 3]", "float[2, 3]", "scan_input_axes = [1], scan_output_axes = [1],"),
        ("float[2, 3]", "float[2, 3]", "scan_input_axes = [-1], scan_output_axes = [-1],"),
    ],
)
def test_a_scan(scanned: str, ys: str, attributes: str) -> None:
    original = model(SCAN.format(scanned=scanned, ys=ys, attributes=attributes))
    found = operators(run_pass(original, "unroll_loops").model)
    assert (found["Scan"], found["Add"], found["Gather"]) == (0, 3, 3)


def test_a_scan_of_unknown_length_stays() -> None:
    original = model(SCAN.format(scanned="float[M, 2]", ys="float[M, 2]", attributes=""))
    optimized = graph_passes.optimize(original, passes=["unroll_loops"])
    assert remarks(optimized).endswith("not unrolled: its number of iterations is unknown")
    optimized = graph_passes.optimize(original, {"xs": (129, 2)}, ["freeze_shapes", "unroll_loops"])
    assert remarks(optimized).endswith("not unrolled: it has 129 iterations, more than 128")


def test_an_old_opset_stays() -> None:
    original = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 12]> g (float[2] x, float[3, 2] xs) => (float[2] last) {'
        " last = Scan <num_scan_inputs = 1, body = b (float[2] s, float[2] y) => (float[2] t) { t = Add (s, y) }> "
        "(x, xs) }"
    )
    assert "opset: 12 is not supported" in remarks(graph_passes.optimize(original, passes=["unroll_loops"]))
