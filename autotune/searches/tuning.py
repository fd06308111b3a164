"""The search itself: propose, measure, learn, until the trials are used up."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from autotune import backends as spaces
from autotune import strategies
from autotune.cost_models.xgboost import CostModel
from autotune.runners.local import Measurer, Worker
from compiler.workloads.records import Measurement, Record, Records, fastest
from compiler.workloads.schedule import Schedule, ScheduleSpace
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

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
    fast_algorithms: bool = True,
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
        backend: one of ``autotune.backends.BACKENDS``.
        strategy: a key of ``autotune.strategies.STRATEGIES``.
        trials: schedules to measure now, on top of the earlier ones.
        seed: the same seed, records and measurements give the same proposals.
        records: a file, made where there is none, or an open one; None keeps nothing.
        threads: cores to run on, where ``target`` is a name; a :class:`Target` says itself how many.
        fast_algorithms: whether a layer may use Winograd's or Strassen's algorithm, which round more than a sum does.
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
    with ExitStack() as stack:
        store = stack.enter_context(Records(records)) if isinstance(records, str | os.PathLike) else records
        search = stack.enter_context(
            Search(
                workload,
                target,
                backend,
                strategy,
                seed,
                store,
                batch=max(4, min(16, trials // 4)),  # four rounds at least, where trials suffice
                fast_algorithms=fast_algorithms,
                on_trial=on_trial,
                worker=worker,
            )
        )
        search.step(trials)
        search.measure_again(min(_FINALISTS, search.trials // _TRIALS_A_FINALIST))
    if search.best is None:
        raise RuntimeError(search.why_nothing_succeeded())
    return TuneResult(search.best, tuple(search.history), search.trials, search.failures, time.monotonic() - started)


class Search:
    """A search that can be taken further, a few trials at a time; :func:`tune` is one that is taken all the way.

    Args:
        workload, target, backend, strategy, seed, fast_algorithms, on_trial, worker: as of :func:`tune`.
        store: where measurements are kept, and what the search goes on from.
        batch: schedules measured between two updates of the cost model.

    Attributes:
        history: the best seconds known after each trial, as in :class:`TuneResult`.
        best_secs: the lowest median of any reading; ``math.inf`` where nothing has succeeded.

    Raises:
        ValueError: an unknown backend or strategy, or a record that does not parse.
    """

    def __init__(
        self,
        workload: Workload,
        target: Target,
        backend: str = "kernel",
        strategy: str = "rl",
        seed: int = 0,
        store: Records | None = None,
        *,
        batch: int = 16,
        fast_algorithms: bool = True,
        on_trial: Callable[[Record], None] | None = None,
        worker: Worker | None = None,
    ) -> None:
        self.space = spaces.space(backend, workload, target, fast_algorithms)
        self._names = strategy, seed
        self._store, self._batch, self._on_trial = store, batch, on_trial
        self._unobserved: list[Record] = []  # the strategy is told before it proposes again, and not if it never does
        self._errors: Counter[str] = Counter()
        self.history: list[float] = []
        with ExitStack() as stack:
            # Before the imports and the first proposal, so that the worker gets ready meanwhile.
            self._measurer = stack.enter_context(Measurer(workload, target, backend, worker=worker))
            self._learn(workload, strategy, seed)
            self._opened = stack.pop_all()

    def _learn(self, workload: Workload, strategy: str, seed: int) -> None:
        """Takes in what is on record."""
        target, backend, store = self.space.target, self.space.backend, self._store
        known = store.query(target=target, backend=backend) if store else []
        self._records = [r for r in known if r.workload == workload and offers(self.space, r)]
        others = [r for r in known if r.workload != workload]
        self._cost_model = CostModel(seed)
        self._cost_model.update([*others[-_MAX_OTHER_RECORDS:], *self._records])
        earlier = [(r.schedule, r.measurement) for r in self._records]
        self._strategy = strategies.load(strategy)(self.space, self._cost_model, seed, earlier)
        self.best_secs = min(map(_median_secs, self._records), default=math.inf)

    @property
    def trials(self) -> int:
        return len(self.history)

    @property
    def failures(self) -> int:
        return self._errors.total()

    @property
    def best(self) -> Record | None:
        """The :func:`fastest` of this search and the earlier ones, with all samples of it; None where there is none."""
        return fastest(self._records)

    def of(self, schedule: Schedule) -> Record | None:
        """What is known of one schedule, with all samples of it; None where it never succeeded."""
        return fastest(record for record in self._records if record.schedule == schedule)

    def step(self, trials: int) -> int:
        """Measures so many schedules more, and returns how many it were: fewer where the space has no more."""
        before = self.trials
        while left := before + trials - self.trials:
            if self._unobserved:
                self._strategy.observe(*zip(*((r.schedule, r.measurement) for r in self._unobserved), strict=True))
                self._unobserved = []
            if not self.measure(self._strategy.propose(min(self._batch, left))):
                break
        return self.trials - before

    def measure(self, schedules: Sequence[Schedule]) -> list[Record]:
        """Tries these schedules, each of which is a trial; the strategy and the cost model learn from them."""
        measured: list[Record] = []
        for schedule, measurement in zip(schedules, self._measurer.measure_each(schedules), strict=True):
            record = self._keep(schedule, measurement)
            measured.append(record)
            if measurement.error is not None:
                self._errors[measurement.error] += 1
            self.best_secs = min(self.best_secs, _median_secs(record))
            self.history.append(self.best_secs)
            if self._on_trial:
                self._on_trial(record)
        self._cost_model.update(measured)
        self._unobserved += measured
        return measured

    def measure_again(self, few: int) -> None:
        """Takes more readings of ``few`` of the fastest and of the default, by turns; they are no trials."""
        finals = _finalists(self.space, self._cost_model, self._records, few) * _FINAL_ROUNDS
        for schedule, measurement in zip(finals, self._measurer.measure_each(finals), strict=True):
            self._keep(schedule, measurement)

    def why_nothing_succeeded(self) -> str:
        """In one line, with the most frequent reason."""
        ((reason, count),) = self._errors.most_common(1)
        where = f"{self.space.workload} on {self.space.backend}"
        return f"all {self.trials} trials of {where} failed; {count} times: {reason}"

    def close(self) -> None:
        """Ends the worker process, unless it is someone else's."""
        self._opened.close()

    def __enter__(self) -> Search:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _keep(self, schedule: Schedule, measurement: Measurement) -> Record:
        strategy, seed = self._names
        record = Record(self.space.workload, self.space.target, schedule, measurement, strategy, seed)
        if self._store:
            self._store.add(record)
        self._records.append(record)
        return record


def _finalists(space: ScheduleSpace, cost_model: CostModel, measured: Sequence[Record], few: int) -> list[Schedule]:
    """What to measure again: the fastest reading, then what reading and cost model together hold to be fastest (the
    model has seen every reading, so it takes luck out of a single one), and the default. Of several readings of a
    schedule the slowest counts.
    """
    succeeded = {r.schedule: r for r in sorted(measured, key=_median_secs) if r.measurement.ok}
    if not (few and succeeded):
        return []
    schedules = list(succeeded)
    read = np.log([_median_secs(record) for record in succeeded.values()])
    order = np.argsort(read + cost_model.predict(space.workload, space.target, schedules), kind="stable")
    finalists = dict.fromkeys([schedules[int(read.argmin())], *(schedules[i] for i in order[: few - 1])])
    if space.default() in succeeded:
        finalists[space.default()] = None
    return list(finalists)


def offers(space: ScheduleSpace, record: Record) -> bool:
    """Whether the space has a record's schedule: an earlier version's may have had other choices."""
    try:
        space.choices(record.schedule)
    except ValueError:
        return False
    return space.is_legal(record.schedule)


def _median_secs(record: Record) -> float:
    return record.measurement.median_secs if record.measurement.ok else math.inf
