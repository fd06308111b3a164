"""The search of a model: each slice of trials goes to the task that is expected to save the model most time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from autotune.runners.runner import Runner
from autotune.searches.model_tasks import Task, least_secs, weights_level
from autotune.searches.stored import best_of, offers, winner_in
from autotune.searches.task_scheduler import Standing, slice_of, spend
from autotune.searches.tuning import WorkloadSearch
from compiler.measure.roofline import Roofline
from compiler.workloads.database import Records
from compiler.workloads.records import Measurement, Record, fastest
from compiler.workloads.schedule import ScheduleSpace
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

_DEFAULT_READINGS = 3
_FINALISTS = 2  # of each task, at least: measured again at the end
_TRIALS_PER_FINALIST = 16


@dataclass
class TaskState:
    """A task and what is known of it.

    Attributes:
        roofline: the limits of the CPU for this workload.
        space: the schedules of the workload.
        default_secs: seconds of a layer with the default schedule.
        best: the schedule that a search settled on; without one, the fastest stored schedule.
        best_secs: seconds of a layer with it; while the search goes on, the lowest reading of any schedule.
        earlier: the number of schedules that were stored before this search.
        search: this search; None until it gets a trial.
        search_secs: wall-clock seconds of this search.
    """

    task: Task
    roofline: Roofline
    space: ScheduleSpace
    default_secs: float
    best: Record
    best_secs: float
    earlier: int
    search: WorkloadSearch | None = None
    search_secs: float = field(default=0.0)

    @property
    def default_total(self) -> float:
        """Seconds of all its layers in one run of the model, with default schedules."""
        return self.task.count * self.default_secs

    @property
    def best_total(self) -> float:
        """Seconds of all its layers in one run of the model, with the best schedule."""
        return self.task.count * self.best_secs

    @property
    def trials(self) -> int:
        return self.search.trials if self.search else 0

    @property
    def fraction_of_roofline(self) -> float:
        return self.roofline.secs / self.best_secs


class ModelSearch:
    """The searches of all tasks of a model.

    Args:
        tasks: the tasks of the model.
        records: where every measurement is stored, and what the searches continue from.
        runner: measures the schedules.
        space_of: returns the schedule space of a workload on a target.
        strategy, seed: as of :func:`autotune.tune`.
        fast_algorithms: whether the spaces have Winograd's and Strassen's algorithms.
        on_trial: called with each record as soon as it is stored.

    Attributes:
        states: one per task, after :meth:`measure_defaults` has run.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        records: Records,
        runner: Runner,
        space_of: Callable[[Workload, Target], ScheduleSpace],
        strategy: str = "rl",
        seed: int = 0,
        *,
        fast_algorithms: bool = True,
        on_trial: Callable[[Record], None] | None = None,
    ) -> None:
        self.states: list[TaskState] = []
        self._tasks, self._records, self._runner, self._space_of = tasks, records, runner, space_of
        self._strategy, self._seed, self._fast_algorithms = strategy, seed, fast_algorithms
        self._on_trial = on_trial

    def measure_defaults(self) -> None:
        """Measures the default schedule of every task without a stored measurement. They do not count as trials.

        Raises:
            RuntimeError: a default schedule fails, or the runner does.
        """
        for task in self._tasks:
            self.states.append(self._state(task))

    def search(self, trials: int, on_slice: Callable[[TaskState], None] | None = None) -> None:
        """Spends the trials, then settles on the winner of each task that was searched.

        Args:
            trials: the trials of all tasks together. Fewer are made if every space is exhausted.
            on_slice: called with a task's state after each of its slices, and after its winner is known.
        """
        standings = [
            Standing(
                state.task.count,
                least_secs(state.task.workload, state.roofline, self._fast_algorithms),
                state.best_secs,
                state.earlier,
            )
            for state in self.states
        ]

        def step(place: int, requested: int) -> tuple[int, float]:
            state = self.states[place]
            made = self._advance(state, requested)
            if on_slice:
                on_slice(state)
            return made, state.best_secs

        spend(standings, trials, slice_of(trials, len(self.states)), step)
        for state in self.states:
            if state.search and state.trials:
                state.search.finish(max(_FINALISTS, state.trials // _TRIALS_PER_FINALIST))
                state.best = _known(state.search.best)
                state.best_secs = state.best.measurement.median_secs
                state.default_secs = _known(state.search.of(state.space.default())).measurement.median_secs
                if on_slice:
                    on_slice(state)

    def _state(self, task: Task) -> TaskState:
        space = self._space_of(task.workload, task.target)
        stored = self._records.query(task.workload, task.target, space.backend)
        known = [record for record in stored if offers(space, record.schedule)]
        default = fastest(record for record in known if record.schedule == space.default())
        if default is None:
            default = self._measure_default(space)
            known.append(default)
        best = _known(best_of(known, winner_in(space, self._records)))
        return TaskState(
            task=task,
            roofline=Roofline.measured(
                task.workload, task.target.isa, task.target.num_cores, weights_level(task.workload)
            ),
            space=space,
            default_secs=default.measurement.median_secs,
            best=best,
            best_secs=best.measurement.median_secs,
            earlier=len({record.schedule for record in known}),
        )

    def _measure_default(self, space: ScheduleSpace) -> Record:
        workload, target, schedule = space.workload, space.target, space.default()
        readings = self._runner.measure(workload, target, space.backend, [schedule] * _DEFAULT_READINGS)
        record = Record(workload, target, schedule, _pooled(list(readings)))
        self._records.add(record)
        self._records.set_default(workload, target, schedule)
        if self._on_trial:
            self._on_trial(record)
        if not record.measurement.ok:
            raise RuntimeError(f"the default schedule of {workload} failed: {record.measurement.error}")
        return record

    def _advance(self, state: TaskState, trials: int) -> int:
        started = time.monotonic()
        if state.search is None:  # not earlier, because it learns from what the other tasks have measured so far
            state.search = WorkloadSearch(
                state.space,
                self._runner,
                self._strategy,
                self._seed,
                self._records,
                batch=max(4, trials // 2),
                on_trial=self._on_trial,
            )
        made = state.search.step(trials)
        state.best_secs = state.search.best_secs
        state.search_secs += time.monotonic() - started
        return made


def _pooled(measurements: Sequence[Measurement]) -> Measurement:
    """Returns several readings as one, because ``fastest`` prefers schedules with more than one."""
    failed = next((measurement for measurement in measurements if not measurement.ok), None)
    return failed or Measurement(sum((measurement.run_secs for measurement in measurements), start=()))


def _known(record: Record | None) -> Record:
    if record is None:
        raise RuntimeError("a task whose default schedule was measured has no record")
    return record
