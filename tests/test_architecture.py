"""The picture of the architecture is current, and its ways are those of real runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import onnx
import pytest

import compiler
from autotune import backends
from autotune.commands.arguments import operator_options, parser
from autotune.runners.trial import Bench, Timing
from autotune.searches.tuning import search_workload
from compiler.workloads.database import Records
from compiler.workloads.records import Measurement
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from docs import draw_architecture
from docs.draw_architecture import ROWS, WAYS, Way
from docs.packages import PACKAGES
from tests.compiler.models import perceptron
from tests.graph_passes import oracle


def test_the_picture_is_current() -> None:
    assert draw_architecture.FILE.read_text(encoding="utf-8") == draw_architecture.picture()


def test_rows_list_each_package_once_above_what_it_imports() -> None:
    height = {name: len(ROWS) - place for place, row in enumerate(ROWS) for name in row}
    assert sorted(height) == sorted(package.name for package in PACKAGES)
    assert sum(map(len, ROWS)) == len(height)
    for package in PACKAGES:
        assert all(height[package.name] > height[name] for name in package.ours), package.name


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.title)
def test_a_way_visits_each_package_once_each_way(way: Way) -> None:
    for steps in (way.there, way.back):
        packages = [step.package for step in steps]
        assert len(set(packages)) == len(packages)


def traced(run: Callable[[], object], way: Way) -> list[str]:
    """Runs something, and returns the functions of the way in the order of first calls, then of first returns."""
    there, back = ({step.function for step in steps} for steps in (way.there, way.back))
    called: list[str] = []
    returned: list[str] = []

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        name = f"{frame.f_globals.get('__name__')}:{getattr(frame.f_code, 'co_qualname', frame.f_code.co_name)}"
        if event == "call" and name in there and name not in called:
            called.append(name)
        if event == "return" and name in back and name not in returned:
            returned.append(name)

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return [*called, *returned]


def expected(way: Way) -> list[str]:
    return [step.function for step in (*way.there, *way.back)]


class InProcess:
    """A runner without worker processes, whose work can be traced."""

    def prepare(self, workload: Workload, target: Target, backend: str) -> None:
        self._bench = Bench(backends.space(backend, workload, target), workload)

    def measure(
        self,
        workload: Workload,  # noqa: ARG002
        target: Target,  # noqa: ARG002
        backend: str,  # noqa: ARG002
        schedules: Iterable[Schedule],
    ) -> Iterator[Measurement]:
        for schedule in schedules:
            yield self._bench.measure(schedule, Timing())

    def close(self) -> None:
        pass


@pytest.mark.skipif(sys.version_info < (3, 11), reason="frames have no qualified names")
def test_the_way_of_a_workload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def run() -> None:
        arguments = parser().parse_args(["--op", "dense", "--shape", "4x8x8", "--backend", "kernel"])
        options = operator_options(arguments)
        (workload,) = options.workloads
        space = backends.space("kernel", workload, options.target)
        with Records(options.records) as records:
            search_workload(space, InProcess(), "random", 2, 0, records)

    assert traced(run, WAYS[0]) == expected(WAYS[0])


@pytest.mark.tvm
@pytest.mark.skipif(sys.version_info < (3, 11), reason="frames have no qualified names")
def test_the_way_of_a_model() -> None:
    model: onnx.ModelProto = perceptron()

    def run() -> None:
        compiler.build(model, threads=1).run(oracle.random_inputs(model, seed=1))

    assert traced(run, WAYS[1]) == expected(WAYS[1])
