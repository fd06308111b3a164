"""The search itself: propose, measure, learn, until the trials are used up."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from autotune import strategies
from autotune.cost_model import CostModel
from autotune.measure import Measurer, Worker
from compiler import spaces
from compiler.records import Measurement, Record, Records, fastest
from compiler.schedule import Schedule, ScheduleSpace
from compiler.target import Target
from compiler.workload import Workload

# Measured again at the end: one schedule for this many trials, but no more than this many, in this many rounds.
_TRIALS_A_FINALIST = 16
_FINALISTS = 8
_FINAL_ROUNDS = 4
_MAX_OTHER_RECORDS = 1024  # of other workloads, the latest: enough to learn from, and training stays quick


@dataclass(frozen=True)
class TuneResult:
    """What a search found.

    Attributes:
        best: the fastest schedule, be it of this search or an earlier one on the same records, with all samples of it.
        history: the best seconds known after each trial of this search; earlier records count, and it is ``math.inf``
            for as long as nothing has succeeded.
        trials: measurements made; fewer than asked for where the space has no more schedules.
        failures: how many of them failed.
        search_secs: wall-clock seconds of the whole search.
    """

    best: Record
    history: tuple[float, ...]
    trials: int
    failures: int
    search_secs: float


def tune(
    workload: Workload,
    target: str | Target = "host",
    backend: str = "kernel",
    strategy: str = "rl",
    trials: int = 64,
    seed: int = 0,
    records: str | os.PathLike[str] | Records | None = None,
    *,
    threads: int = 1,
    winograd: bool = True,
    on_trial: Callable[[Record], None] | None = None,
    worker: Worker | None = None,
) -> TuneResult:
    """Searches a fast schedule.

    Each measurement is written to ``records`` as it finishes. What they hold already of the same workload, target and
    backend is where the search goes on from: it is not measured again, and counts for the best. The cost model learns
    from it, and from what was measured of other workloads too.

    The fastest of many single readings is a lucky one more often than not. So the fastest few are measured again at the
    end, in turn with the default schedule, and the lowest median over all samples wins. That is kept in ``records``,
    too, but is no trial.

    Args:
        target: a target, or the name of one for :meth:`Target.named`.
        backend: one of ``compiler.spaces.BACKENDS``.
        strategy: a key of ``autotune.strategies.STRATEGIES``.
        trials: schedules to measure now, on top of the earlier ones.
        seed: the same seed, records and measurements give the same proposals.
        records: a file, made where there is none, or an open one; None keeps nothing.
        threads: cores to run on, where ``target`` is a name; a :class:`Target` says itself how many.
        winograd: whether a convolution may use Winograd's algorithm, which rounds more than a sum does.
        on_trial: called with each record as soon as it is kept.
        worker: a warm one to measure in, which stays open.

    Raises:
        ValueError: an unknown target, backend or strategy, trials below 1, or an unusable records file.
        RuntimeError: nothing succeeded, now or earlier; the message has the most frequent reason.
    """
    started = time.monotonic()
    if trials < 1:
        raise ValueError(f"trials must be at least 1, got {trials}")
    if not isinstance(target, Target):
        target = Target.named(target, num_cores=threads)
    strategies.check(strategy)
    space = spaces.space(backend, workload, target, winograd)
    with ExitStack() as stack:
        store = stack.enter_context(Records(records)) if isinstance(records, str | os.PathLike) else records
        # Before the imports and the first proposal, so that the worker gets ready meanwhile.
        measurer = stack.enter_context(Measurer(workload, target, backend, worker=worker))
        known = store.query(target=target, backend=backend) if store else []
        earlier = [r for r in known if r.workload == workload and _offers(space, r)]
        others = [r for r in known if r.workload != workload]
        cost_model = CostModel(seed)
        cost_model.update([*others[-_MAX_OTHER_RECORDS:], *earlier])
        search = strategies.load(strategy)(space, cost_model, seed, [(r.schedule, r.measurement) for r in earlier])

        mine = list(earlier)
        best_secs = min(map(_median_secs, earlier), default=math.inf)

        def keep(schedule: Schedule, measurement: Measurement) -> Record:
            record = Record(workload, target, schedule, measurement, strategy, seed)
            if store:
                store.add(record)
            mine.append(record)
            return record

        history: list[float] = []
        errors: Counter[str] = Counter()
        while batch := search.propose(min(_batch_size(trials), trials - len(history))):
            measured: list[Record] = []
            for schedule, measurement in zip(batch, measurer.measure_each(batch), strict=True):
                record = keep(schedule, measurement)
                measured.append(record)
                if measurement.error is not None:
                    errors[measurement.error] += 1
                else:
                    best_secs = min(best_secs, measurement.median_secs)
                history.append(best_secs)
                if on_trial:
                    on_trial(record)
            cost_model.update(measured)
            if len(history) == trials:
                break
            search.observe(batch, [record.measurement for record in measured])
        finals = _finalists(space, cost_model, mine, len(history)) * _FINAL_ROUNDS
        for schedule, measurement in zip(finals, measurer.measure_each(finals), strict=True):
            keep(schedule, measurement)
    best = fastest(mine)
    if best is None:
        ((reason, count),) = errors.most_common(1)
        raise RuntimeError(f"all {len(history)} trials of {workload} on {backend} failed; {count} times: {reason}")
    return TuneResult(best, tuple(history), len(history), errors.total(), time.monotonic() - started)


def _batch_size(trials: int) -> int:
    """Schedules measured between two updates of the cost model: four rounds at least, where trials suffice."""
    return max(4, min(16, trials // 4))


def _finalists(space: ScheduleSpace, cost_model: CostModel, measured: Sequence[Record], trials: int) -> list[Schedule]:
    """What to measure again: the fastest reading, then what reading and cost model together hold to be fastest (the
    model has seen every reading, so it takes luck out of a single one), and the default. Of several readings of a
    schedule the slowest counts.
    """
    succeeded = {r.schedule: r for r in sorted(measured, key=_median_secs) if r.measurement.ok}
    few = min(_FINALISTS, trials // _TRIALS_A_FINALIST)
    if not (few and succeeded):
        return []
    schedules = list(succeeded)
    read = np.log([_median_secs(record) for record in succeeded.values()])
    order = np.argsort(read + cost_model.predict(space.workload, space.target, schedules), kind="stable")
    finalists = dict.fromkeys([schedules[int(read.argmin())], *(schedules[i] for i in order[: few - 1])])
    if space.default() in succeeded:
        finalists[space.default()] = None
    return list(finalists)


def _offers(space: ScheduleSpace, record: Record) -> bool:
    """Whether the space still has this schedule: an earlier version's may have had other choices."""
    try:
        space.choices(record.schedule)
    except ValueError:
        return False
    return space.is_legal(record.schedule)


def _median_secs(record: Record) -> float:
    return record.measurement.median_secs if record.measurement.ok else math.inf
