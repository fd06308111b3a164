"""The choice among candidates by times that a test gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx.parser
import pytest

import compiler
from compiler.measure.sampling import Samples
from compiler.program.choice import COMPILED, Choice
from compiler.tuning.candidates import Make
from compiler.tuning.choose import choose

pytestmark = pytest.mark.tvm
INPUTS = {"x": np.array([-1.0, 2.0], np.float32)}


def program(text: str = "y = Relu (x)", output: str = "float[2] y") -> compiler.CompiledModel:
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 18]> g (float[2] x) => ({output}) {{ {text} }}'
    )
    return compiler.build(model, threads=1)


def timer(secs: Mapping[str, list[float]], seen: list[str]) -> Callable[..., Mapping[str, Samples]]:
    """Returns a sampler with these times of each candidate, one run in each round."""

    def sample(runs: Mapping[str, Callable[[], object]]) -> dict[str, Samples]:
        for name, run in runs.items():
            run()
            seen.append(name)
        return {name: Samples(tuple((each,) for each in secs[name])) for name in runs}

    return sample


def chosen(secs: Mapping[str, list[float]]) -> tuple[str, Choice]:
    ready = {name: program() for name in secs}
    makes: dict[str, Make] = {name: (lambda name=name: ready[name]) for name in secs}
    seen: list[str] = []
    found, choice = choose(makes, INPUTS, timer(secs, seen))
    assert seen == list(secs)
    assert found is ready[choice.chosen]
    assert list(choice.seconds) == list(secs)
    return choice.chosen, choice


def test_the_fastest_is_chosen() -> None:
    name, choice = chosen({COMPILED: [1.0] * 10, "a": [0.5] * 10, "b": [0.25] * 10, "c": [2.0] * 10})
    assert name == "b"
    assert choice.speedups == {"a": (2, 2, 2), "b": (4, 4, 4), "c": (0.5, 0.5, 0.5)}
    assert choice.seconds == {COMPILED: 1, "a": 0.5, "b": 0.25, "c": 2}


@pytest.mark.parametrize(
    "secs",
    [
        [1.0] * 10,  # as fast
        [0.99] * 10,  # within the margin
        [0.5] * 5 + [1.5] * 5,  # the interval contains 1
        [1.0] * 9 + [0.01],
    ],
)
def test_compiled_code_stays_where_nothing_is_clearly_faster(secs: list[float]) -> None:
    assert chosen({COMPILED: [1.0] * 10, "other": secs})[0] == COMPILED


def test_a_spread_that_both_share_does_not_matter() -> None:
    """Rounds are resampled together, so another process that slows down both of them hides nothing."""
    slow = [1.0, 1.0, 1.0, 1.1, 1.1, 1.1, 1.2, 1.2, 1.2, 1.2]
    assert chosen({COMPILED: slow, "other": [each / 1.3 for each in slow]})[0] == "other"


def test_candidates_that_do_not_fit_are_left_out() -> None:
    def fails() -> compiler.CompiledModel:
        raise ValueError("not\npossible")

    makes: dict[str, Make] = {
        COMPILED: program,
        "fails": fails,
        "other type": lambda: program("y = Cast <to = 7> (x)", "int64[2] y"),
        "other shape": lambda: program("y = Concat <axis = 0> (x, x)", "float[4] y"),
        "right": program,
    }
    seen: list[str] = []
    _, choice = choose(makes, INPUTS, timer({COMPILED: [1.0] * 8, "right": [0.5] * 8}, seen))
    assert seen == [COMPILED, "right"]
    assert choice.chosen == "right"
    assert choice.left_out == {
        "fails": "not possible",
        "other type": "its outputs are y int64[2], not y float32[2]",
        "other shape": "its outputs are y float32[4], not y float32[2]",
    }
    lines = list(choice.lines())
    assert lines[0] == "compiled: 1000.000 ms"
    assert lines[1] == "right: 500.000 ms, 2.00 times as fast as compiled (95 %: 2.00 to 2.00) (chosen)"
    assert lines[2] == "fails: left out: not possible"


def test_a_program_that_fails_on_the_inputs() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (float[2] x, int64 i) => (float y) { y = Gather (x, i) }'
    )
    compiled = compiler.build(model, threads=1)
    with pytest.raises(ValueError, match=r"^tune=True runs the model on x, i, and it fails: .*check=$") as caught:
        choose({COMPILED: lambda: compiled}, INPUTS | {"i": np.array(5)}, timer({}, []))
    assert "\n" not in str(caught.value)
