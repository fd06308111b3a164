"""``python -m autotune.search --op``: searches the shapes of an operator and reports the results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autotune import backends
from autotune.commands.arguments import OperatorOptions
from autotune.commands.interrupt import held_interrupt
from autotune.commands.progress import SearchProgress, progress
from autotune.commands.result import SearchResult, conditions, rows, table
from autotune.searches.model_tasks import weights_level
from compiler.measure.levels import measured_bandwidth
from compiler.measure.roofline import Roofline
from compiler.program import tvm_pair
from compiler.workloads.database import Records
from compiler.workloads.machines import notices
from compiler.workloads.records import Record
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

if TYPE_CHECKING:
    from autotune.runners.runner import Runner
    from autotune.searches.tuning import TuneResult


def run(options: OperatorOptions, records: Records, runner: Runner) -> None:
    """Searches every shape on every backend and reports the results.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; all finished measurements are stored.
        ImportError: TVM is needed and missing.
        RuntimeError: a search failed.
    """
    if "tvm" in options.backends:
        tvm_pair.check()
    target = options.target.measured()
    print(conditions(target), *notices(target), sep="\n", flush=True)
    results = search(
        options.workloads,
        target,
        {backend: options.trials_on(backend) for backend in options.backends},
        options.strategy,
        options.seed,
        options.fast_algorithms,
        records,
        runner,
    )
    report_results(target, results, options.records, options.json, options.report)


def search(
    workloads: Iterable[Workload],
    target: Target,
    trials: Mapping[str, int],
    strategy: str,
    seed: int,
    fast_algorithms: bool,
    records: Records,
    runner: Runner,
) -> list[SearchResult]:
    """Searches every workload on every backend, for the number of trials of the backend."""
    from autotune.searches.tuning import search_workload

    results: list[SearchResult] = []
    plan = [SearchProgress(workload, backend, trials[backend]) for workload in workloads for backend in trials]
    with held_interrupt() as interrupt, progress(plan) as shown:

        def on_trial(record: Record) -> None:
            shown.trial(record.measurement)
            interrupt.raise_if_pressed()

        for workload in workloads:
            roofline = _roofline(workload, target)
            found: dict[str, TuneResult] = {}
            for backend, count in trials.items():
                shown.start(roofline)
                space = backends.space(backend, workload, target, fast_algorithms)
                found[backend] = search_workload(space, runner, strategy, count, seed, records, on_trial)
                shown.finish(found[backend].best.measurement.median_secs)
            # Noise can only lower a measured limit, so the higher of two measurements is nearer to the limit.
            roofline = roofline.highest(_roofline(workload, target))
            results += [_result(workload, roofline, backend, strategy, found[backend]) for backend in found]
    return results


def report_results(
    target: Target, results: Sequence[SearchResult], records: Path, json_file: Path | None, report: Path
) -> None:
    """Prints the table, writes the files, and prints where they are."""
    from autotune.commands.report import report_line

    print(f"\n{table(rows(results))}\n")
    if json_file:
        content = {"target": target.to_json(), "results": [result.to_json() for result in results]}
        json_file.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
        print(f"Results: {json_file}")
    print(f"Records: {records} (SQLite; the next search continues from there)")
    print(report_line(report, target, results))


def _roofline(workload: Workload, target: Target) -> Roofline:
    """Returns the limits of a workload as runners time it, measured now."""
    weights = weights_level(workload)
    return Roofline.measured(workload, target.isa, target.num_cores, weights, measured_bandwidth)


def _result(workload: Workload, roofline: Roofline, backend: str, strategy: str, found: TuneResult) -> SearchResult:
    return SearchResult(
        workload=workload,
        roofline=roofline,
        backend=backend,
        strategy=strategy,
        trials=found.trials,
        failures=found.failures,
        search_secs=found.search_secs,
        median_secs=found.best.measurement.median_secs,
        schedule=found.best.schedule,
        history=found.history,
    )
