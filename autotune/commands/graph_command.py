"""``python -m autotune.search --model FILE --graph``: from the records to the choices of a model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from autotune.commands.interrupt import held_interrupt
from autotune.commands.model_job import ModelJob
from autotune.commands.model_progress import model_progress
from autotune.commands.result import aligned
from autotune.commands.units import secs_text
from autotune.searches.graph_candidates import Candidate, candidates
from autotune.searches.model_tasks import described
from compiler.workloads.records import Choice, Records, model_key
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

if TYPE_CHECKING:
    from autotune.searches.graph_search import Outcome, Trial


def run(asked: ModelJob, records: Records) -> None:
    """Builds the model by what is on record, searches it, and keeps what holds.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; what was chosen before stays.
        ValueError: nothing is on record of this model on this target.
    """
    workloads = asked.workloads
    known = _known(asked, records)
    print(
        f"{asked.target.name}, {asked.target.isa}, threads: {asked.target.num_cores}; "
        f"{known} of {len(set(workloads))} workloads are on record",
        flush=True,
    )
    if not known:
        raise ValueError(f"{asked.records} has nothing on {asked.model} on this target; search without --graph first")
    outcome = search(asked, records)
    model = model_key(workloads)
    if outcome.holds:
        records.choose(model, asked.target, merged(records.chosen(model, asked.target), outcome.changed))
    hand_over(asked, outcome)


def search(asked: ModelJob, records: Records) -> Outcome:
    """Measures the candidates inside the network."""
    from autotune.searches.graph_search import search_graph
    from compiler.build import build
    from compiler.runtimes.inputs import random_inputs

    model = build(
        asked.model,
        asked.input_shapes,
        asked.target.num_cores,
        asked.target.isa,
        records.path,
        fast_algorithms=asked.fast_algorithms,
    )
    inputs = random_inputs([(spec.name, spec.shape, spec.dtype) for spec in model.inputs], asked.seed)

    def offered(workload: Workload, threads: int) -> list[Candidate]:
        return candidates(workload, threads, asked.target, records, asked.fast_algorithms)

    with held_interrupt() as interrupt, model_progress(len(set(asked.workloads))) as shown:

        def on_trial(trial: Trial) -> None:
            shown.step()
            shown.say(_line(trial))

        return search_graph(model, inputs, offered, asked.seed, on_trial, interrupt.raise_if_pressed)


def merged(earlier: dict[Workload, Choice], changed: Iterable[Trial]) -> list[Choice]:
    """The earlier choices of the model with those that have changed."""
    return list((earlier | {trial.workload: trial.after for trial in changed}).values())


def hand_over(asked: ModelJob, outcome: Outcome) -> None:
    """Prints what was accepted and what it is worth, and writes the file."""
    if outcome.changed:
        print(f"\n{table(outcome.changed)}\n")
    print(verdict(outcome))
    if outcome.holds:
        print(f'Chosen in {asked.records}: compiler.build(..., schedules="{asked.records}") of this model goes by it')
    if asked.json:
        asked.json.write_text(json.dumps(_content(asked, outcome), indent=2, allow_nan=False) + "\n")
        print(f"Results: {asked.json}")


def table(changed: Sequence[Trial]) -> str:
    """What was accepted, a line a workload."""
    lines = [["workload", "layers", "share", "saves of it", "95% interval", "threads", "schedule"]]
    for trial in changed:
        gain = trial.gain
        if gain is not None:
            lines.append(
                [
                    described(trial.workload),
                    str(len(trial.places)),
                    f"{trial.share:.1%}",
                    f"{gain.median:.1%}",
                    f"{gain.low:.1%} to {gain.high:.1%}",
                    f"{trial.before.threads} -> {trial.after.threads}",
                    difference(trial.before, trial.after),
                ]
            )
    return aligned(lines, [False, True, True, True, True, False, False])


def difference(before: Choice, after: Choice) -> str:
    """The decisions in which two schedules differ, as ``name=before->after``."""
    old, new = before.schedule.values, after.schedule.values
    changed = [f"{name}={old.get(name)}->{value}" for name, value in new.items() if old.get(name) != value]
    return " ".join(changed) or "the same"


def verdict(outcome: Outcome) -> str:
    """What the whole network gains, in a line."""
    if outcome.comparison is None:
        return "The network runs fastest by the schedules that it has: nothing is changed"
    before, after, gain = outcome.comparison.before_secs, outcome.comparison.after_secs, outcome.comparison.gain
    whole = (
        f"The whole network: {secs_text(before)} -> {secs_text(after)}; it saves {gain.median:.1%}, "
        f"95% interval {gain.low:.1%} to {gain.high:.1%}"
    )
    return whole if outcome.holds else f"{whole}: no more than chance, so the schedules stay as they were"


def _known(asked: ModelJob, records: Records) -> int:
    """How many of the model's workloads have a record."""
    counts = {1, asked.target.num_cores}
    targets: list[Target] = [dataclasses.replace(asked.target, num_cores=count) for count in counts]
    return sum(any(records.best(workload, target, "kernel") for target in targets) for workload in set(asked.workloads))


def _line(trial: Trial) -> str:
    became = (
        "stays" if trial.gain is None else f"{trial.gain.median:.1%} less by {difference(trial.before, trial.after)}"
    )
    return f"{described(trial.workload)}, {trial.share:.1%} of the network, {trial.tried} tried: {became}"


def _content(asked: ModelJob, outcome: Outcome) -> dict[str, Any]:
    return {
        "model": str(asked.model),
        "target": asked.target.to_json(),
        "holds": outcome.holds,
        "comparison": None if outcome.comparison is None else dataclasses.asdict(outcome.comparison),
        "trials": [
            {
                "workload": trial.workload.to_json(),
                "layers": len(trial.places),
                "share": trial.share,
                "tried": trial.tried,
                "before": _choice(trial.before),
                "after": _choice(trial.after),
                "gain": None if trial.gain is None else dataclasses.asdict(trial.gain),
            }
            for trial in outcome.trials
        ],
    }


def _choice(choice: Choice) -> dict[str, Any]:
    return {"schedule": choice.schedule.to_json(), "threads": choice.threads}
