"""``python -m autotune.search --model``: from the job to what is printed and written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from autotune.commands.interrupt import held_interrupt
from autotune.commands.model_job import ModelJob
from autotune.commands.model_progress import model_progress
from autotune.commands.result import aligned, conditions
from autotune.commands.units import change_text, secs_text
from autotune.searches.model_tasks import Task, described, tasks_of
from compiler.workloads.records import Record, Records, model_key
from compiler.workloads.target import Target

if TYPE_CHECKING:
    from autotune.searches.model_search import TaskState


def run(asked: ModelJob, records: Records) -> None:
    """Does the job and hands over what was found.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; what was measured is kept.
        ValueError: nothing is on record, where the job is to measure what is.
        RuntimeError: a search failed.
    """
    if asked.graph:
        from autotune.commands import graph_command

        graph_command.run(asked, records)
        return
    target, states = search(asked, records)
    hand_over(asked, records, target, states)


def search(asked: ModelJob, records: Records) -> tuple[Target, list[TaskState]]:
    """Measures the defaults, shows what each task is worth, and spends the trials. The target comes back with its
    measured figures.
    """
    from autotune.searches.model_search import ModelSearch

    targets = {
        threads: Target.named(asked.target.isa, threads).measured()
        for threads in sorted({asked.target.num_cores, *(layer.threads for layer in asked.layers if layer.workload)})
    }
    target = targets[asked.target.num_cores]
    tasks = tasks_of(asked.layers, targets)
    print(conditions(target), flush=True)
    with held_interrupt() as interrupt:

        def on_trial(_: Record) -> None:
            interrupt.raise_if_pressed()
            shown.step()

        with ModelSearch(
            tasks, records, asked.strategy, asked.seed, fast_algorithms=asked.fast_algorithms, on_trial=on_trial
        ) as searches:
            with model_progress(len(tasks)) as shown:
                searches.measure_defaults()
            print(f"\n{weights(searches.states)}\n", flush=True)
            with model_progress(asked.trials) as shown:
                searches.search(asked.trials, lambda state: shown.slice(state, searches.states))
    return target, searches.states


def weights(states: Sequence[TaskState]) -> str:
    """What each task is worth by default; the dearest comes first."""
    total = sum(state.default_total for state in states)
    lines = [["workload", "layers", "threads", "each", "all", "share"]]
    lines += [
        [
            *_described(state.task),
            secs_text(state.default_secs),
            secs_text(state.default_total),
            f"{state.default_total / total:.1%}",
        ]
        for state in sorted(states, key=lambda state: -state.default_total)
    ]
    return f"{aligned(lines, [False, *[True] * 5])}\nAll of them: {secs_text(total)} a run, by default schedules"


def outcome(states: Sequence[TaskState]) -> str:
    """What the search came to; in the order of :func:`weights`."""
    before, after = (sum(totals) for totals in zip(*((s.default_total, s.best_total) for s in states), strict=True))
    lines = [["workload", "layers", "threads", "default", "best", "change", "of roofline", "trials", "saves"]]
    lines += [
        [
            *_described(state.task),
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
        f"Expected of all of them: {secs_text(before)} -> {secs_text(after)} a run, {change_text(before, after)}; "
        "each measured alone, with its weights in memory"
    )


def hand_over(asked: ModelJob, records: Records, target: Target, states: Sequence[TaskState]) -> None:
    """Prints the table, writes the files, and says where they are."""
    from autotune.commands.report import write_report

    print(f"\n{outcome(states)}\n")
    results = [state.result(asked.strategy) for state in states if state.trials]
    if asked.json:
        asked.json.write_text(json.dumps(_content(asked, target, states), indent=2, allow_nan=False) + "\n")
        print(f"Results: {asked.json}")
    print(f'Records: {asked.records} (SQLite); compiler.build(..., schedules="{asked.records}") goes by them')
    if results:
        print(f"Search curves and roofline: open {write_report(asked.report, target, results)} in a browser")
    if chosen := records.chosen(model_key(asked.workloads), asked.target):
        print(
            f"An earlier --graph has chosen the schedules of {len(chosen)} workloads, which go before these; "
            "--graph again weighs them anew"
        )


def _described(task: Task) -> list[str]:
    return [described(task.workload), str(task.count), str(task.target.num_cores)]


def _content(asked: ModelJob, target: Target, states: Sequence[TaskState]) -> dict[str, object]:
    return {
        "model": str(asked.model),
        "target": target.to_json(),
        "default_secs": sum(state.default_total for state in states),
        "best_secs": sum(state.best_total for state in states),
        "results": [
            {
                **state.result(asked.strategy).to_json(),
                "epilogue": list(state.task.workload.epilogue),
                "layers": list(state.task.layers),
                "default_secs": state.default_secs,
            }
            for state in states
        ],
    }
