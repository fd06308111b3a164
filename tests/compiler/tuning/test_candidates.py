"""Builds with ``tune``: what is measured, what is kept, and that the answers stay right."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

import compiler
from compiler.__main__ import main
from compiler.measure.sampling import Samples
from compiler.program.choice import COMPILED
from compiler.tuning import choose
from compiler.tuning.candidates import ONNX_RUNTIME, SEGMENTS_ON_ONE_THREAD
from tests.graph_passes import oracle

pytestmark = pytest.mark.tvm
ON_ONE = f"{ONNX_RUNTIME} on one thread"
TEXTS = {
    "float": "(float[2, 8] x) => (float[2, 8] y) { a = MatMul (x, w) y = Softmax (a) }",
    "8-bit integers": "(float[2, 8] x) => (float[2, 8] y) "
    "{ q, s, z = DynamicQuantizeLinear (x) wq, ws, wz = DynamicQuantizeLinear (w) i = MatMulInteger (q, wq, z, wz) "
    "f = Cast <to = 1> (i) t = Mul (s, ws) g = Mul (f, t) y = Relu (g) }",
    "a segment": "(float[2, 8] x) => (float[2, 8] y, int64[2, n] i) { a = MatMul (x, w) y = Exp (a) i = NonZero (y) }",
    "a branch": "(float[2, 8] x, bool c) => (float[2, 8] y) { y = If (c) "
    "<then_branch = t () => (float[2, 8] u) { u = Exp (x) }, else_branch = e () => (float[2, 8] v) { v = Neg (x) }> }",
}
Chosen = Callable[[str], list[list[str]]]


def parsed(name: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 18]> g {TEXTS[name]}')
    w = np.random.default_rng(1).standard_normal((8, 8)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    return model


def inputs_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32)
    return {value.name: x if value.name == "x" else np.array(True) for value in model.graph.input}


@pytest.fixture
def make_fastest(monkeypatch: pytest.MonkeyPatch) -> Chosen:
    """Returns a function that makes one candidate the fastest, and returns the list of what was measured."""

    def make(fastest: str) -> list[list[str]]:
        measured: list[list[str]] = []

        def sample(runs: Mapping[str, Callable[[], Any]]) -> dict[str, Samples]:
            measured.append(list(runs))
            for run in runs.values():
                run()
            return {name: Samples(((0.5 if name == fastest else 1.0,),) * 10) for name in runs}

        monkeypatch.setattr(choose, "sampled", sample)
        return measured

    return make


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", TEXTS)
def test_the_answers_of_all_candidates(name: str, threads: int, make_fastest: Chosen, tmp_path: Path) -> None:
    model = parsed(name)
    inputs = inputs_of(model)
    measured = make_fastest(COMPILED)
    compiler.build(model, threads=threads, tune=True)
    (names,) = measured
    has_segments = name == "a segment" and threads > 1
    assert names == [
        COMPILED,
        *[SEGMENTS_ON_ONE_THREAD] * has_segments,
        ONNX_RUNTIME,
        *[ON_ONE] * (threads > 1),
    ]
    for fastest in names:
        make_fastest(fastest)
        built = compiler.build(model, threads=threads, tune=True)
        assert built.tuned is not None
        assert built.tuned.chosen == fastest
        assert built.tuned.seconds[fastest] == 0.5
        assert bool(built.layers or built.generated) == (not fastest.startswith(ONNX_RUNTIME))
        assert {part.threads for part in built.segments} <= {1 if "one thread" in fastest else None}
        built.save(tmp_path / f"{fastest}.lw")
        loaded = compiler.load(tmp_path / f"{fastest}.lw")
        assert loaded.tuned == built.tuned
        assert loaded.segments == built.segments
        for each in (built, loaded):
            for want, got in zip(oracle.run(model, inputs), each.run(inputs).values(), strict=True):
                assert (got.shape, got.dtype) == (want.shape, want.dtype)
                # 8-bit integers: both compute the same integers; the rest is rounding of products of up to 8 terms.
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6 * np.abs(want).max())


def test_dynamic_sizes_weights_as_inputs_and_functions(make_fastest: Chosen) -> None:
    make_fastest(ONNX_RUNTIME)
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18, "own": 1]> g (float[n, 8] x, float[8, 8] w) => (float[n, 8] y) '
        '{ a = MatMul (x, w) y = own.Twice (a) } <domain: "own", opset_import: ["": 18]> Twice (a) => (b) '
        "{ b = Add (a, a) }"
    )
    w = np.eye(8, dtype=np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    built = compiler.build(model, {"x": (3, 8)}, threads=1, tune=True)
    assert not built.layers
    (segment,) = built.segments
    assert segment.operators == {"MatMul": 1, "Add": 1}
    assert [str(spec) for spec in (*built.inputs, *built.outputs)] == ["x: float32[3, 8]", "y: float32[3, 8]"]
    x = np.arange(24, dtype=np.float32).reshape(3, 8)
    np.testing.assert_array_equal(built.run({"x": x})["y"], 2 * x)


def test_subnormal_numbers(make_fastest: Chosen) -> None:
    """ONNX Runtime takes them as zero, or keeps them, as the program does."""
    make_fastest(ONNX_RUNTIME)
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (float[2] x) => (float[2] y) { y = Mul (x, x) }'
    )
    x = {"x": np.full(2, 1e-20, np.float32)}  # its square is subnormal
    assert compiler.build(model, threads=1, tune=True).run(x)["y"].tolist() == [0, 0]
    kept = compiler.build(model, threads=1, tune=True, ieee=True).run(x)["y"]
    np.testing.assert_array_equal(kept, x["x"] * x["x"])
    assert kept[0] > 0


def test_the_inputs_of_a_check_are_those_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def keep(candidates: Any, inputs: Any) -> Any:
        given.append(inputs)
        made = candidates[COMPILED]()
        return made, None

    monkeypatch.setattr(choose, "choose", keep)
    model = parsed("float")
    inputs = inputs_of(model)
    assert compiler.build(model, threads=1, tune=True, check=inputs).checked
    compiler.build(model, threads=1, tune=True)
    assert given[0] is inputs
    assert given[1].keys() == inputs.keys()


def test_strings_have_no_random_values() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20]> g (string[2] x) => (string[2] y) { y = StringConcat (x, x) }'
    )
    with pytest.raises(ValueError, match=r"^tune=True runs the model: input x is not .*; give inputs with check=$"):
        compiler.build(model, threads=1, tune=True)


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"^tune=True may leave .* ONNX Runtime, which fallback=None forbids"):
        compiler.build(parsed("float"), threads=1, tune=True, fallback=None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"^tune=True needs onnxruntime: pip install 'loopwright\[fallback\]'$"):
        compiler.build(parsed("float"), threads=1, tune=True)


def test_the_command(make_fastest: Chosen, capsys: pytest.CaptureFixture[str]) -> None:
    make_fastest(ONNX_RUNTIME)
    onnx.save(parsed("float"), "m.onnx")
    words = ["build", "m.onnx", "-o", "m.lw", "--threads", "1", "--tune", "--json", "m.json"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "\nTuned:\n  compiled: 1000.000 ms\n  ONNX Runtime: 500.000 ms, 2.00 times as fast as compiled" in printed
    assert "\nSegment 0 runs in ONNX Runtime (nodes: 2): MatMul, Softmax\n" in printed
    for words in (["run", "m.lw", "--tune"], ["build", "m.onnx", "-o", "n.lw", "--tune", "--no-fallback"]):
        with pytest.raises(SystemExit, match="2"):
            main(words)
        assert "--tune" in capsys.readouterr().err
