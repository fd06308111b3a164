"""Searches the schedules of a whole model: each trial goes where it is expected to save the model the most time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from autotune import backends as spaces
from autotune.commands.result import Limits, SearchResult
from autotune.runners.local import Measurer, Worker
from autotune.searches.model_tasks import Task, least_secs
from autotune.searches.task_scheduler import Standing, slice_of, spend
from autotune.searches.tuning import Search, offers
from compiler.workloads.records import Measurement, Record, Records, fastest
from compiler.workloads.schedule import Schedule

BACKEND = "kernel"  # what computes the layers that are searched

_DEFAULT_READINGS = 3
_FINALISTS = 2  # of each task, besides the default: measured again at the end
_TRIALS_A_FINALIST = 16


@dataclass
class TaskState:
    """A task, and what is known of it.

    Attributes:
        limits: of the CPU for this workload.
        default: the schedule that its layers run by without any search.
        default_secs: what a layer takes by it.
        best: the fastest schedule on record.
        best_secs: what a layer takes by it; while the search goes on, the lowest reading of any schedule.
        earlier: schedules on record before this search.
        search: this search, once it has got a trial.
        search_secs: wall-clock seconds that went into it.
    """

    task: Task
    limits: Limits
    default: Schedule
    default_secs: float
    best: Record
    best_secs: float
    earlier: int
    search: Search | None = None
    search_secs: float = field(default=0.0)

    @property
    def default_total(self) -> float:
        """Seconds of all its layers in one run of the model, by default."""
        return self.task.count * self.default_secs

    @property
    def best_total(self) -> float:
        """The same by the fastest schedule."""
        return self.task.count * self.best_secs

    @property
    def trials(self) -> int:
        return self.search.trials if self.search else 0

    @property
    def fraction_of_roofline(self) -> float:
        return self.task.workload.flops / self.best_secs / 1e9 / self.limits.roofline_gflops(self.task.workload)

    def result(self, strategy: str) -> SearchResult:
        """As of a search of this workload alone."""
        return SearchResult(
            workload=self.task.workload,
            limits=self.limits,
            backend=BACKEND,
            strategy=strategy,
            trials=self.trials,
            failures=self.search.failures if self.search else 0,
            search_secs=self.search_secs,
            median_secs=self.best_secs,
            schedule=self.best.schedule,
            history=tuple(self.search.history) if self.search else (),
        )


class ModelSearch:
    """The searches of all tasks of a model, with one worker process for each number of threads.

    Args:
        tasks: of the model.
        records: where every measurement is kept, and what the searches go on from.
        strategy, seed, fast_algorithms: as of :func:`autotune.tune`.
        on_trial: called with each record as soon as it is kept.

    Attributes:
        states: of the tasks, once :meth:`measure_defaults` has run.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        records: Records,
        strategy: str = "rl",
        seed: int = 0,
        *,
        fast_algorithms: bool = True,
        on_trial: Callable[[Record], None] | None = None,
    ) -> None:
        self.states: list[TaskState] = []
        self._tasks, self._records = tasks, records
        self._strategy, self._seed, self._fast_algorithms = strategy, seed, fast_algorithms
        self._on_trial = on_trial
        self._opened = ExitStack()
        self._workers: Mapping[int, Worker] = {
            threads: self._opened.enter_context(Worker(threads=threads))
            for threads in sorted({task.target.num_cores for task in tasks})
        }

    def measure_defaults(self, on_task: Callable[[TaskState], None] | None = None) -> None:
        """Measures every task by its default schedule, where that is not on record; no trial.

        Args:
            on_task: is told of each task as it is done.

        Raises:
            RuntimeError: a default schedule fails, or a worker process cannot start.
        """
        for task in self._tasks:
            self.states.append(self._state(task))
            if on_task:
                on_task(self.states[-1])

    def search(self, trials: int, on_slice: Callable[[TaskState], None] | None = None) -> None:
        """Spends the trials, then measures the fastest schedules of what was searched again.

        Args:
            trials: of all tasks together; fewer are made where every space is used up.
            on_slice: is told whose turn it was, after each slice and each last measurement.
        """
        standings = [
            Standing(
                state.task.count,
                least_secs(state.task.workload, state.limits, self._fast_algorithms),
                state.best_secs,
                state.earlier,
            )
            for state in self.states
        ]

        def step(place: int, asked: int) -> tuple[int, float]:
            state = self.states[place]
            made = self._advance(state, asked)
            if on_slice:
                on_slice(state)
            return made, state.best_secs

        spend(standings, trials, slice_of(trials, len(self.states)), step)
        for state in self.states:
            if state.search and state.trials:
                state.search.measure_again(max(_FINALISTS, state.trials // _TRIALS_A_FINALIST))
                state.best = _known(state.search.best)
                state.best_secs = state.best.measurement.median_secs
                state.default_secs = _known(state.search.of(state.default)).measurement.median_secs
                if on_slice:
                    on_slice(state)

    def close(self) -> None:
        """Ends the worker processes."""
        self._opened.close()

    def __enter__(self) -> ModelSearch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _state(self, task: Task) -> TaskState:
        space = spaces.space(BACKEND, task.workload, task.target, self._fast_algorithms)
        default = space.default()
        known = [r for r in self._records.query(task.workload, task.target, BACKEND) if offers(space, r)]
        by_default = fastest(record for record in known if record.schedule == default)
        if by_default is None:
            by_default = self._measured(task, default)
            known.append(by_default)
        best = _known(fastest(known))
        return TaskState(
            task=task,
            limits=Limits.measured(task.workload, task.target),
            default=default,
            default_secs=by_default.measurement.median_secs,
            best=best,
            best_secs=best.measurement.median_secs,
            earlier=len({record.schedule for record in known}),
        )

    def _measured(self, task: Task, schedule: Schedule) -> Record:
        worker = self._workers[task.target.num_cores]
        with Measurer(task.workload, task.target, BACKEND, worker=worker) as measurer:
            measurement = _pooled(measurer.measure([schedule] * _DEFAULT_READINGS))
        record = Record(task.workload, task.target, schedule, measurement)
        self._records.add(record)
        if self._on_trial:
            self._on_trial(record)
        if not measurement.ok:
            raise RuntimeError(f"the default schedule of {task.workload} failed: {measurement.error}")
        return record

    def _advance(self, state: TaskState, trials: int) -> int:
        started = time.monotonic()
        if state.search is None:  # only now, since it learns from what the other tasks have measured so far
            task = state.task
            state.search = self._opened.enter_context(
                Search(
                    task.workload,
                    task.target,
                    BACKEND,
                    self._strategy,
                    self._seed,
                    self._records,
                    batch=max(4, trials // 2),
                    fast_algorithms=self._fast_algorithms,
                    on_trial=self._on_trial,
                    worker=self._workers[task.target.num_cores],
                )
            )
        made = state.search.step(trials)
        state.best_secs = state.search.best_secs
        state.search_secs += time.monotonic() - started
        return made


def _pooled(measurements: Sequence[Measurement]) -> Measurement:
    """As one, so that a default that was read more often does not go before what was read once; see ``fastest``."""
    failed = next((measurement for measurement in measurements if not measurement.ok), None)
    return failed or Measurement(sum((measurement.run_secs for measurement in measurements), start=()))


def _known(record: Record | None) -> Record:
    if record is None:
        raise RuntimeError("nothing is known of a task whose default schedule was measured")
    return record
