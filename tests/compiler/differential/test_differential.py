"""The differential test: a sample of it, and its parts.

``--all-cases`` runs 20,000 models of one node and 2,000 graphs, which takes half an hour.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import defs

from tests.compiler.differential import children, references
from tests.compiler.differential.check import outcomes
from tests.compiler.differential.generate import NEWEST, Unit, drawn, units, versions
from tests.compiler.differential.operators import LEFT_OUT, STRATEGIES
from tests.compiler.differential.oracle import run_onnxruntime
from tests.compiler.differential.outcome import FAILURES, LATE, PASSED, UNSUPPORTED, WRONG, Outcome, compared
from tests.compiler.differential.report import Report
from tests.compiler.differential.tolerance import ABSOLUTE, EXACT, ONE_STEP, RELATIVE, tolerances

SAMPLE = (100, 10)
ALL = (20000, 2000)


@pytest.mark.tvm
def test_models_pass_or_are_not_supported(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    cases, graphs = ALL if request.config.getoption("--all-cases") else SAMPLE
    # A separate process without threads, since it forks.
    command = [sys.executable, "-m", "tests.compiler.differential", f"--cases={cases}", f"--graphs={graphs}"]
    done = subprocess.run([*command, f"--json={tmp_path / 'json'}"], capture_output=True, text=True, check=False)
    assert (tmp_path / "json").exists(), done.stderr
    report = json.loads((tmp_path / "json").read_text())
    kinds = [operator["outcomes"] for operator in report["operators"].values()]
    assert sum(sum(k.values()) for k in kinds) >= 0.9 * (cases + graphs)
    assert sum(k.get(PASSED, 0) for k in kinds) >= 0.5 * (cases + graphs)
    assert not report["failures"], done.stdout
    assert done.returncode == 0


def test_every_operator_has_cases_or_a_reason() -> None:
    names = {schema.name for schema in defs.get_all_schemas_with_history() if not schema.domain}
    assert set(STRATEGIES) | set(LEFT_OUT) == names
    assert not set(STRATEGIES) & set(LEFT_OUT)
    assert all(versions(name) for name in STRATEGIES)


def test_tolerances_name_operators() -> None:
    assert set(STRATEGIES) >= EXACT | RELATIVE | ABSOLUTE | ONE_STEP | set(references.REFERENCES)
    assert not EXACT & RELATIVE
    assert not EXACT & ABSOLUTE
    assert not RELATIVE & ABSOLUTE


@pytest.mark.parametrize("operator", ["Resize", "Slice", ""])
def test_the_same_seed_draws_the_same_cases(operator: str) -> None:
    unit = Unit(operator, 13, (13, 18), 10, 3)
    first, second = drawn(unit), drawn(unit)
    assert [case.model.SerializeToString() for case in first] == [case.model.SerializeToString() for case in second]
    other = drawn(Unit(operator, 13, (13, 18), 10, 4))
    assert [case.model.SerializeToString() for case in first] != [case.model.SerializeToString() for case in other]


def test_units_divide_the_cases() -> None:
    work = units(1000, 60, seed=0)
    assert sum(unit.count for unit in work if unit.operator) == 1000
    assert sum(unit.count for unit in work if not unit.operator) == 60
    assert {unit.operator for unit in work} == {*STRATEGIES, ""}


@pytest.mark.parametrize("operator", sorted(references.REFERENCES))
def test_own_references_agree_with_onnxruntime(operator: str) -> None:
    """On most cases that both support; both differ from the standard in places that the other does not."""
    agreed = differed = 0
    for case in drawn(Unit(operator, NEWEST, (13,), 40, 0)):
        try:
            want = run_onnxruntime(case.model, case.inputs)
        except Exception:  # noqa: BLE001, S112 - has no code for the case
            continue
        got = references.run(case.model, case.inputs, defs.get_schema(operator, 13, "").since_version)
        if got is None:
            continue
        rounded = [x.astype(y.dtype) for x, y in zip(got, want, strict=True)]
        if any(x.shape != y.shape for x, y in zip(rounded, want, strict=True)):
            differed += 1
            continue
        problem = compared(rounded, want, tolerances(case.operators, list(case.inputs.values()), want))
        agreed, differed = agreed + (not problem), differed + bool(problem)
    assert agreed > 2 * differed
    assert agreed > 5


# The comparison


def test_a_difference_is_found() -> None:
    x = np.array([1.0, np.inf, np.nan], np.float32)
    assert not compared([x], [x.copy()], [(0.0, 0.0)])
    assert "1 of 3 differ" in compared([x + np.float32(1e-3)], [x], [(1e-4, 1e-4)])
    assert not compared([x + np.float32(1e-3)], [x], [(0.0, 2e-3)])
    for other in ([1.0, -np.inf, np.nan], [1.0, np.inf, 0.0], [np.nan, np.inf, np.nan], [np.inf, np.inf, np.nan]):
        assert "NaN or infinity" in compared([np.array(other, np.float32)], [x], [(1.0, 1.0)])
    assert "float64" in compared([x.astype(np.float64)], [x], [(1.0, 1.0)])
    assert "[1, 3]" in compared([x[None]], [x], [(1.0, 1.0)])
    n = np.array([1, 255], np.uint8)
    assert "1 of 2" in compared([np.array([1, 254], np.uint8)], [n], [(0.0, 0.0)])
    assert not compared([np.array([0, 254], np.uint8)], [n], [(0.0, 1.0)])


# Processes


def test_a_process_that_ends_is_the_result_of_its_item() -> None:
    found = children.results(_task, ["a", "segfault", "b", "exit", "raise", "hang", "c"], limit_secs=1.0)
    assert found[0::6] == ["a", "c"]
    assert found[2] == "b"
    assert found[1] == children.Died("second", "SIGSEGV")
    assert found[3] == children.Died("first", "exit code 7")
    assert isinstance(found[4], children.Died)
    assert found[5] == children.Died("first", "no answer in 1 s")


def _task(item: str, phase: Callable[[str], None]) -> str:
    phase("first")
    if item == "segfault":
        phase("second")
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == "exit":
        os._exit(7)
    if item == "raise":
        raise RuntimeError
    if item == "hang":
        time.sleep(60)
    return item


def test_items_of_a_worker_that_ends_are_computed_again(tmp_path: Path) -> None:
    paths = [tmp_path / str(index) for index in range(5)]
    assert list(children.in_workers(_ends_once, paths, 2, _nothing)) == [path.name for path in paths]


def _ends_once(path: Path) -> str:
    if path.name == "3" and not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def _nothing() -> None:
    pass


# The report


def test_failures_are_listed_once_with_the_smallest_case(tmp_path: Path) -> None:
    cases = drawn(Unit("Relu", 14, (14,), 12, 0))
    report = Report()
    texts = [f"output 0: {n} of 9 differ: {n}.5 instead of 1.0 at [{n}]" for n in range(12)]
    report.add(zip(cases, [Outcome(WRONG, text) for text in texts], strict=True))
    report.add([(cases[0], Outcome(LATE, "build raises KeyError: 'x7'")), (cases[1], Outcome(UNSUPPORTED, "no"))])
    assert [(f.kind, f.count) for f in report.failures.values()] == [(WRONG, 12), (LATE, 1)]
    wrong, _ = report.failures.values()
    assert wrong.case.size == min(case.size for case in cases)
    place = wrong.save(tmp_path)
    assert sorted(path.name for path in place.iterdir()) == ["inputs.npz", "model.onnx", "reason.txt"]
    assert report.failed == 13
    assert report.table().splitlines()[1].split()[:6] == ["Relu", "13", "0", "13", "1", "0"]
    assert set(FAILURES) >= {f["kind"] for f in report.to_json()["failures"]}


@pytest.mark.tvm
def test_outcomes_of_cases() -> None:
    """Addition is right in every form; the process forks before any thread of a model starts."""
    code = (
        "from tests.compiler.differential.generate import Unit, drawn;"
        "from tests.compiler.differential.check import outcomes;"
        "print({o.kind for o in outcomes(drawn(Unit('Add', 14, (18,), 20, 0)))})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert PASSED in done.stdout
    assert not any(kind in done.stdout for kind in FAILURES)
    assert outcomes([]) == []
