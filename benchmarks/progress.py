"""A plugin of pytest that prints what will be measured, and each row as it is measured.

pytest captures what tests print, so the rows are printed between tests, by its terminal reporter. They are plain lines
and flushed, so that they are also seen at once in a pipe or a file.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import pytest

from benchmarks.heading import plural
from benchmarks.layers.schedules import missing_trials
from benchmarks.plan import LayerRun, ModelRun, Plan, Run
from benchmarks.rows import Rows
from benchmarks.selection import records

Results = list[dict[str, Any]]


class Progress:
    """Prints the plan after the collection, and rows, reasons of skips and failures between the tests.

    Args:
        config: with the options ``--bench-...``.
        results, model_results: the tests append to them.
    """

    def __init__(self, config: pytest.Config, results: Results, model_results: Results) -> None:
        self._config = config
        self._results, self._model_results = results, model_results
        self._left: dict[str, Run] = {}  # by the node id of their tests
        self._secs: dict[str, float] = {}  # the estimate of each run
        self._rows = Rows(Plan((), 0.0))
        self._skipped: set[str] = set()  # reasons that are printed already

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        self._left = runs(items, self._config.option)
        option = self._config.option
        plan = Plan(tuple(self._left.values()), option.bench_seconds, records(option), option.bench_all)
        self._rows = Rows(plan)
        self._secs = {node: plan.secs(run) for node, run in self._left.items()}
        terminal = self._terminal
        if terminal is not None and len(self._left) == len(items):
            terminal.showfspath = False  # only rows
        return list(plan.lines())

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Counts a measurement without printing a letter or a word."""
        if report.nodeid not in self._left:
            return None
        if report.failed:
            return ("failed" if report.when == "call" else "error"), "", ""
        return (report.outcome if report.when == "call" or report.skipped else ""), "", ""

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        run = self._left.get(report.nodeid)
        if run is None:
            return
        for line in self._lines(run, report):
            self._print(line)
        if report.when == "teardown":
            del self._left[report.nodeid]

    def _lines(self, run: Run, report: pytest.TestReport) -> Iterator[str]:
        left = sum(self._secs[node] for node in self._left if node != report.nodeid)
        if report.failed:
            yield f"{_name(run)} FAILED: {_reason(report)}"
        elif report.skipped:
            if (reason := _reason(report)) not in self._skipped:
                self._skipped.add(reason)
                yield f"{_name(run)} skipped: {reason}"
        elif report.when == "call" and isinstance(run, LayerRun):
            yield from self._rows.layer(self._results, left)
        elif report.when == "call":
            yield from self._rows.model(self._model_results, left)

    @property
    def _terminal(self) -> pytest.TerminalReporter | None:
        return self._config.pluginmanager.get_plugin("terminalreporter")

    def _print(self, line: str) -> None:
        if self._terminal is not None:
            self._terminal.write_line(line)
            self._terminal.flush()


def runs(items: Iterable[pytest.Item], option: Namespace) -> dict[str, Run]:
    """Returns the runs of the measuring tests by node id; ``items`` may contain other tests."""
    path = records(option)
    found: dict[str, Run] = {}
    for item in items:
        if item.get_closest_marker("measures") is None or not isinstance(item, pytest.Function):
            continue
        params = cast("Mapping[str, Any]", item.callspec.params)
        if "layer" in params:
            group, shape = params["layer"]
            trials = missing_trials(shape.workload, params["threads"], path, option.bench_trials) if path else 0
            found[item.nodeid] = LayerRun(group, shape, params["threads"], trials)
        elif "whole_model" in params:
            found[item.nodeid] = ModelRun(params["whole_model"], params["threads"])
    return found


def _name(run: Run) -> str:
    name = run.model if isinstance(run, ModelRun) else run.shape.name
    return f"{name}, {plural(run.threads, 'thread')},"


def _reason(report: pytest.TestReport) -> str:
    """Returns why a test failed or was skipped, in one line."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else report.longreprtext
    return text.strip().splitlines()[0] if text.strip() else "unknown"
