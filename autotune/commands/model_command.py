"""``python -m autotune.search --model``: searches the layers of a model and reports the results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from autotune import backends
from autotune.commands.interrupt import held_interrupt
from autotune.commands.model_options import ModelOptions
from autotune.commands.model_progress import model_progress
from autotune.commands.result import SearchResult, aligned, conditions, workload_text
from autotune.commands.units import change_text, secs_text
from autotune.searches.model_tasks import Task, tasks_of
from compiler.workloads.database import Records
from compiler.workloads.machines import notices
from compiler.workloads.records import Record, model_key
from compiler.workloads.target import Target

if TYPE_CHECKING:
    from autotune.runners.runner import Runner
    from autotune.searches.model_search import TaskState

BACKEND = "kernel"  # computes the layers that are searched


def run(options: ModelOptions, records: Records, runner: Runner) -> None:
    """Searches the layers of a model and reports the results.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; all finished measurements are stored.
        RuntimeError: a search failed.
    """
    own_threads = {layer.threads for layer in options.layers if layer.workload}
    targets = {
        threads: replace(options.target, num_cores=threads).measured()
        for threads in sorted({options.target.num_cores, *own_threads})
    }
    target = targets[options.target.num_cores]
    print(conditions(target), *notices(target), sep="\n", flush=True)
    states = search(
        tasks_of(options.layers, targets),
        options.trials,
        options.strategy,
        options.seed,
        options.fast_algorithms,
        records,
        runner,
    )
    print(f"\n{outcome(states)}\n")
    if options.json:
        content = _content(options.model, target, states, options.strategy)
        options.json.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
        print(f"Results: {options.json}")
    print(f'Records: {options.records} (SQLite); used by compiler.build(..., schedules="{options.records}")')
    if searched := [_result(state, options.strategy) for state in states if state.trials]:
        from autotune.commands.report import report_line

        print(report_line(options.report, target, searched))
    if chosen := records.chosen(model_key(options.workloads), options.target):
        print(
            f"An earlier --graph has chosen the schedules of {len(chosen)} workloads, which take precedence; "
            "run --graph again to update them"
        )


def search(
    tasks: Sequence[Task],
    trials: int,
    strategy: str,
    seed: int,
    fast_algorithms: bool,
    records: Records,
    runner: Runner,
) -> list[TaskState]:
    """Measures the default schedules, prints the cost of each task, and spends the trials."""
    from autotune.searches.model_search import ModelSearch

    with held_interrupt() as interrupt:

        def on_trial(_: Record) -> None:
            interrupt.raise_if_pressed()
            shown.step()

        searches = ModelSearch(
            tasks,
            records,
            runner,
            partial(backends.space, BACKEND, fast_algorithms=fast_algorithms),
            strategy,
            seed,
            fast_algorithms=fast_algorithms,
            on_trial=on_trial,
        )
        with model_progress(len(tasks)) as shown:
            searches.measure_defaults()
        print(f"\n{weights(searches.states)}\n", flush=True)
        with model_progress(trials) as shown:
            searches.search(trials, lambda state: shown.slice(state, searches.states))
    return searches.states


def weights(states: Sequence[TaskState]) -> str:
    """Returns a table of what each task costs with its default schedule, most expensive first."""
    total = sum(state.default_total for state in states)
    lines = [["workload", "layers", "threads", "each", "all", "share"]]
    lines += [
        [
            *_task_cells(state.task),
            secs_text(state.default_secs),
            secs_text(state.default_total),
            f"{state.default_total / total:.1%}",
        ]
        for state in sorted(states, key=lambda state: -state.default_total)
    ]
    return f"{aligned(lines, [False, *[True] * 5])}\nAll of them: {secs_text(total)} per run, by default schedules"


def outcome(states: Sequence[TaskState]) -> str:
    """Returns a table of what the search achieved, in the order of :func:`weights`."""
    before, after = (sum(totals) for totals in zip(*((s.default_total, s.best_total) for s in states), strict=True))
    lines = [["workload", "layers", "threads", "default", "best", "change", "of roofline", "trials", "saves"]]
    lines += [
        [
            *_task_cells(state.task),
            secs_text(state.default_secs),
            secs_text(state.best_secs),
            change_text(state.default_secs, state.best_secs),
            f"{state.fraction_of_roofline:.1%}",
            str(state.trials),
            secs_text(state.default_total - state.best_total),
        ]
        for state in sorted(states, key=lambda state: -state.default_total)
    ]
    return (
        f"{aligned(lines, [False, *[True] * 8])}\n"
        f"Expected of all of them: {secs_text(before)} -> {secs_text(after)} per run, {change_text(before, after)}; "
        "each measured alone, with its weights in memory"
    )


def _result(state: TaskState, strategy: str) -> SearchResult:
    """Returns the result of a task as that of a search of its workload alone."""
    return SearchResult(
        workload=state.task.workload,
        roofline=state.roofline,
        backend=BACKEND,
        strategy=strategy,
        trials=state.trials,
        failures=state.search.failures if state.search else 0,
        search_secs=state.search_secs,
        median_secs=state.best_secs,
        schedule=state.best.schedule,
        history=tuple(state.search.history) if state.search else (),
    )


def _task_cells(task: Task) -> list[str]:
    return [workload_text(task.workload), str(task.count), str(task.target.num_cores)]


def _content(model: Path, target: Target, states: Sequence[TaskState], strategy: str) -> dict[str, object]:
    return {
        "model": str(model),
        "target": target.to_json(),
        "default_secs": sum(state.default_total for state in states),
        "best_secs": sum(state.best_total for state in states),
        "results": [
            {
                **_result(state, strategy).to_json(),
                "epilogue": list(state.task.workload.epilogue),
                "layers": list(state.task.layers),
                "default_secs": state.default_secs,
            }
            for state in states
        ],
    }
