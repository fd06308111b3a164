"""The search of one workload: propose, measure and learn until the trials are spent, then confirm the winner."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autotune import strategies
from autotune.cost_models.xgboost import CostModel
from autotune.runners.runner import Runner
from autotune.searches.stored import best_of, offers, winner_in
from compiler.measure.comparison import speedup
from compiler.measure.sampling import Samples
from compiler.workloads.database import Records
from compiler.workloads.records import CHOSEN_BACKEND, Measurement, Record, fastest
from compiler.workloads.schedule import Schedule, ScheduleSpace

# At the end, one schedule per this many trials is measured again, at least one and at most this many.
_TRIALS_PER_FINALIST = 16
_FINALISTS = 8
_FINAL_ROUNDS = 4  # in which the finalists are measured again to select the fastest
# In these rounds the fastest finalist is compared with the default schedule. With 12 rounds, a schedule that is as fast
# as the default wins in about 1 of 20 searches.
_CONFIRMING_ROUNDS = 12
_MAX_OTHER_RECORDS = 1024  # the latest records of other workloads: enough to learn from, and training stays fast


@dataclass(frozen=True)
class TuneResult:
    """The result of a search.

    Attributes:
        best: the schedule that the search settled on, with all of its samples. It is the default schedule unless
            another one is faster with a confidence interval above 1.
        history: the best seconds known after each trial of this search. Earlier records count. ``math.inf`` as long as
            nothing has succeeded.
        trials: the number of measured candidates, fewer than requested if the space has no more schedules.
        failures: the number of trials that failed.
        search_secs: wall-clock seconds of the entire search.
    """

    best: Record
    history: tuple[float, ...]
    trials: int
    failures: int
    search_secs: float


def search_workload(
    space: ScheduleSpace,
    runner: Runner,
    strategy: str = "rl",
    trials: int = 64,
    seed: int = 0,
    records: Records | None = None,
    on_trial: Callable[[Record], None] | None = None,
) -> TuneResult:
    """Searches for a fast schedule of the space's workload.

    Each measurement is written to ``records`` as soon as it finishes. The search continues from the records of the same
    workload, target and backend: they are not measured again, and they count for the best. The cost model also learns
    from the records of other workloads.

    The fastest of many single readings is often a lucky one. So the leading schedules are measured again at the end,
    and the fastest of them is compared with the default schedule in interleaved runs. It wins only if the 95 %
    bootstrap interval of its speedup lies above 1; otherwise the default stays. These readings are stored as well, but
    they do not count as trials.

    Args:
        space: the schedules of a workload on a target and a backend.
        runner: measures the schedules.
        strategy: a key of ``autotune.strategies.STRATEGIES``.
        trials: the number of schedules to measure, in addition to the earlier ones.
        seed: with the same seed, records and measurements, the same schedules are proposed.
        records: the open records file, or None to store nothing.
        on_trial: called with each record as soon as it is stored.

    Raises:
        ValueError: an unknown strategy, trials below 1, or a record that does not parse.
        RuntimeError: nothing has succeeded, now or earlier; the message has the most frequent reason.
    """
    started = time.monotonic()
    if trials < 1:
        raise ValueError(f"trials must be at least 1, got {trials}")
    batch = max(4, min(16, trials // 4))  # at least four rounds if the trials suffice
    search = WorkloadSearch(space, runner, strategy, seed, records, batch=batch, on_trial=on_trial)
    search.step(trials)
    search.finish(finalists_of(search.trials))
    if search.best is None:
        raise RuntimeError(search.failure_reason())
    return TuneResult(search.best, tuple(search.history), search.trials, search.failures, time.monotonic() - started)


def finalists_of(trials: int) -> int:
    """Returns the number of schedules to measure again after a number of trials."""
    return max(1, min(_FINALISTS, trials // _TRIALS_PER_FINALIST))


class WorkloadSearch:
    """A search that can be continued, a few trials at a time. :func:`search_workload` runs one from start to end.

    Args:
        space, runner, strategy, seed, records, on_trial: as of :func:`search_workload`.
        batch: the number of schedules measured between two updates of the cost model.

    Attributes:
        history: the best seconds known after each trial, as in :class:`TuneResult`.
        best_secs: the lowest median of any reading; ``math.inf`` as long as nothing has succeeded.
        winner: the schedule that this search, or the latest one before it, settled on; None before the first.

    Raises:
        ValueError: an unknown strategy, or a record that does not parse.
    """

    def __init__(
        self,
        space: ScheduleSpace,
        runner: Runner,
        strategy: str = "rl",
        seed: int = 0,
        records: Records | None = None,
        *,
        batch: int = 16,
        on_trial: Callable[[Record], None] | None = None,
    ) -> None:
        strategies.check(strategy)
        self.space = space
        self._runner, self._store, self._batch, self._on_trial = runner, records, batch, on_trial
        self._strategy_name, self._seed = strategy, seed
        self._unobserved: list[Record] = []  # passed to the strategy before its next proposal
        self._errors: Counter[str] = Counter()
        self.history: list[float] = []
        # Before the heavy imports and the first proposal, so that the runner gets ready in the background.
        runner.prepare(space.workload, space.target, space.backend)
        self._learn()

    def _learn(self) -> None:
        """Learns from the stored records."""
        space, store, seed = self.space, self._store, self._seed
        found = store.query(target=space.target, backend=space.backend) if store else []
        known = [replace(r, target=space.target) for r in found]  # with its machine model, which records do not have
        self._records = [r for r in known if r.workload == space.workload and offers(space, r.schedule)]
        others = [r for r in known if r.workload != space.workload]
        self._cost_model = CostModel(seed)
        self._cost_model.update([*others[-_MAX_OTHER_RECORDS:], *self._records])
        earlier = [(r.schedule, r.measurement) for r in self._records]
        self._strategy = strategies.load(self._strategy_name)(space, self._cost_model, seed, earlier)
        self.best_secs = min(map(_median_secs, self._records), default=math.inf)
        self.winner = winner_in(space, store)

    @property
    def trials(self) -> int:
        return len(self.history)

    @property
    def failures(self) -> int:
        return self._errors.total()

    @property
    def best(self) -> Record | None:
        """The winner with all of its samples. Without a winner, the :func:`fastest` record, or None."""
        return best_of(self._records, self.winner)

    def of(self, schedule: Schedule) -> Record | None:
        """Returns one schedule's record with all of its samples, or None if it never succeeded."""
        return fastest(record for record in self._records if record.schedule == schedule)

    def step(self, trials: int) -> int:
        """Measures this many more schedules. Returns their number, which is lower if the space has no more."""
        before = self.trials
        while left := before + trials - self.trials:
            if self._unobserved:
                self._strategy.observe(*zip(*((r.schedule, r.measurement) for r in self._unobserved), strict=True))
                self._unobserved = []
            if not self.measure(self._strategy.propose(min(self._batch, left))):
                break
        return self.trials - before

    def measure(self, schedules: Sequence[Schedule]) -> list[Record]:
        """Measures these schedules as trials. The strategy and the cost model learn from them."""
        measured: list[Record] = []
        for record in self._read(schedules):
            measured.append(record)
            if record.measurement.error is not None:
                self._errors[record.measurement.error] += 1
            self.best_secs = min(self.best_secs, _median_secs(record))
            self.history.append(self.best_secs)
            if self._on_trial:
                self._on_trial(record)
        self._cost_model.update(measured)
        self._unobserved += measured
        return measured

    def finish(self, finalists: int) -> None:
        """Settles on a winner and stores it: the default schedule, unless another one is faster beyond chance.

        The leading schedules are measured again in rounds. The fastest of them is compared with the default in further
        interleaved rounds. It wins if the 95 % interval of its speedup lies above 1, or if the default fails. Nothing
        happens if nothing has succeeded.

        Args:
            finalists: how many of the leading schedules are measured again.
        """
        default = self.space.default()
        leading = self._leading(finalists, default)
        if len(leading) > 1:
            self._collect(leading * _FINAL_ROUNDS)
        challenger = fastest(record for record in self._records if record.schedule in leading)
        if challenger is not None and self._beats(challenger.schedule, default):
            self.winner = challenger.schedule
        elif self.of(default) is not None:
            self.winner = default
        if self._store and self.winner is not None and self._decides_for_records():
            self._store.set_winner(self.space.workload, self.space.target, self.winner)

    def failure_reason(self) -> str:
        """Returns the most frequent reason of the failed trials, in one line."""
        ((reason, count),) = self._errors.most_common(1)
        where = f"{self.space.workload} on {self.space.backend}"
        return f"all {self.trials} trials of {where} failed; {count} times: {reason}"

    def _leading(self, few: int, default: Schedule) -> list[Schedule]:
        """Returns the leading schedules without the default: the fastest reading, then the best by reading and cost
        model together, and the winner so far.

        The model has seen all readings, so it takes luck out of a single one. The slowest reading of a schedule counts.
        """
        succeeded = {r.schedule: r for r in sorted(self._records, key=_median_secs) if r.measurement.ok}
        succeeded.pop(default, None)
        if not succeeded:
            return []
        schedules = list(succeeded)
        read = np.log([_median_secs(record) for record in succeeded.values()])
        predicted = self._cost_model.predict(self.space.workload, self.space.target, schedules)
        order = np.argsort(read + predicted, kind="stable")
        leading = dict.fromkeys([schedules[int(read.argmin())], *(schedules[i] for i in order[: few - 1])])
        if self.winner in succeeded:
            leading[self.winner] = None
        return list(leading)

    def _beats(self, challenger: Schedule, default: Schedule) -> bool:
        """Returns whether a schedule is faster than the default, by interleaved runs of both."""
        known = [record.measurement for record in self._records if record.schedule == default]
        known = known or [record.measurement for record in self._collect([default])]
        if not any(measurement.ok for measurement in known):
            return True
        pair = [challenger, default]
        turns = [schedule for turn in range(_CONFIRMING_ROUNDS) for schedule in (pair, pair[::-1])[turn % 2]]
        readings = self._collect(turns)
        ours, baseline = ([r.measurement for r in readings if r.schedule == schedule] for schedule in pair)
        return all(m.ok for m in ours) and confirmed(ours, baseline)

    def _decides_for_records(self) -> bool:
        """Returns whether the winner replaces the stored one.

        It does not if the stored one uses an algorithm that this space lacks, as after a search that excludes
        Winograd's and Strassen's algorithms.
        """
        stored = self._store.winner(self.space.workload, self.space.target, self.space.backend) if self._store else None
        if stored is None:
            return True
        algorithms = next((d.choices for d in self.space.decisions if d.name == "algorithm"), ("direct",))
        return stored.values.get("algorithm", "direct") in algorithms

    def _collect(self, schedules: Sequence[Schedule]) -> list[Record]:
        return list(self._read(schedules))

    def _read(self, schedules: Sequence[Schedule]) -> Iterable[Record]:
        """Measures schedules and yields their records, each as soon as it is stored."""
        space = self.space
        measurements = self._runner.measure(space.workload, space.target, space.backend, schedules)
        for schedule, measurement in zip(schedules, measurements, strict=True):
            record = Record(space.workload, space.target, schedule, measurement, self._strategy_name, self._seed)
            if self._store:
                self._store.add(record)
                if space.backend == CHOSEN_BACKEND and schedule == space.default():
                    self._store.set_default(space.workload, space.target, schedule)
            self._records.append(record)
            yield record


def confirmed(ours: Sequence[Measurement], baseline: Sequence[Measurement]) -> bool:
    """Returns whether a schedule is faster than another one: the 95 % interval of its speedup lies above 1.

    Args:
        ours, baseline: one measurement per round. Rounds in which either failed do not count.
    """
    pairs = [(own.run_secs, other.run_secs) for own, other in zip(ours, baseline, strict=True) if own.ok and other.ok]
    if not pairs:
        return False
    own_rounds, other_rounds = zip(*pairs, strict=True)
    return speedup(Samples(own_rounds), Samples(other_rounds)).low > 1


def _median_secs(record: Record) -> float:
    return record.measurement.median_secs if record.measurement.ok else math.inf
