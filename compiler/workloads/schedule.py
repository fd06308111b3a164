"""Schedules and schedule spaces: the interface between search strategies and backends."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import numpy as np

from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

Choice: TypeAlias = bool | int | str | tuple[int, ...]


@dataclass(frozen=True)
class Decision:
    """One parameter of a schedule and its choices."""

    name: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Schedule:
    """One choice for each decision of a space. Immutable, hashable, and convertible to JSON and back."""

    backend: str
    values: Mapping[str, Choice]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType({k: _frozen(v) for k, v in self.values.items()}))

    def __hash__(self) -> int:
        return hash((self.backend, frozenset(self.values.items())))

    def __reduce__(self) -> tuple[Any, ...]:  # a mappingproxy cannot be copied; a dict can
        return Schedule, (self.backend, dict(self.values))

    def replace(self, **changes: Choice) -> Schedule:
        return Schedule(self.backend, {**self.values, **changes})

    def to_json(self) -> dict[str, Any]:
        values = {name: list(v) if isinstance(v, tuple) else v for name, v in self.values.items()}
        return {"backend": self.backend, "values": values}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Schedule:
        return cls(fields["backend"], fields["values"])

    def __str__(self) -> str:
        return " ".join(f"{k}={json.dumps(v) if isinstance(v, tuple) else v}" for k, v in self.values.items())


class Program(Protocol):
    """A runnable schedule."""

    def load(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Takes inputs by name, as returned by ``compiler.workloads.reference.make_inputs``, and packs the weights."""
        ...

    def run(self) -> np.ndarray:
        """Runs once and returns the output."""
        ...

    def time(self, number: int, repeat: int) -> list[float]:
        """Returns ``repeat`` samples in seconds per run, each the mean over ``number`` runs.

        The weights of convolutions are evicted from the caches before each run, as by the other layers of a network.
        Other programs run back to back.
        """
        ...


class ScheduleSpace(ABC):
    """All schedules of a backend for one workload on one target.

    Strategies use ``decisions``, ``is_legal`` and ``default``; runners use ``build``.
    """

    backend: str
    workload: Workload
    target: Target
    decisions: tuple[Decision, ...]

    @abstractmethod
    def is_legal(self, schedule: Schedule) -> bool:
        """Returns whether the schedule can be built and is worth building. Cheap: it never builds anything."""

    @abstractmethod
    def default(self) -> Schedule:
        """Returns a good schedule without any search; it is always legal."""

    @abstractmethod
    def build(self, schedule: Schedule) -> Program:
        """Builds a program for the schedule.

        Raises:
            ValueError: the schedule is not legal in this space.
            RuntimeError: the backend cannot build it.
        """

    def algorithm(self, schedule: Schedule) -> str:  # noqa: ARG002 - spaces with several algorithms use it
        """Returns the schedule's algorithm, by the name that ``compiler.workloads.reference.tolerance`` takes."""
        return "direct"

    def schedule(self, choices: Sequence[int]) -> Schedule:
        """Returns the schedule with choice number ``choices[i]`` for decision ``i``."""
        return Schedule(self.backend, {d.name: d.choices[c] for d, c in zip(self.decisions, choices, strict=True)})

    def choices(self, schedule: Schedule) -> tuple[int, ...]:
        """The inverse of :meth:`schedule`.

        Raises:
            ValueError: the schedule is of another backend, or names a decision or choice that this space lacks.
        """
        if schedule.backend != self.backend or set(schedule.values) != {d.name for d in self.decisions}:
            raise ValueError(f"a schedule of another space: {schedule.backend}: {schedule}")
        return tuple(_index(d, schedule.values[d.name]) for d in self.decisions)

    def random(self, rng: np.random.Generator, attempts: int = 1000) -> Schedule:
        """Draws a legal schedule uniformly, by rejection. Returns the default if ``attempts`` draws find none."""
        sizes = [len(d.choices) for d in self.decisions]
        for _ in range(attempts):
            schedule = self.schedule([int(c) for c in rng.integers(sizes)])
            if self.is_legal(schedule):
                return schedule
        return self.default()

    def neighbors(self, schedule: Schedule) -> Iterator[tuple[int, int, Schedule]]:
        """Yields ``(decision, choice, schedule)`` for every legal schedule that differs in one decision."""
        for i, decision in enumerate(self.decisions):
            for j, choice in enumerate(decision.choices):
                if choice != schedule.values[decision.name]:
                    changed = schedule.replace(**{decision.name: choice})
                    if self.is_legal(changed):
                        yield i, j, changed


def _index(decision: Decision, choice: Choice) -> int:
    try:
        return decision.choices.index(choice)
    except ValueError:
        raise ValueError(f"decision {decision.name} has no choice {choice!r}") from None


def _frozen(value: Any) -> Choice:
    return tuple(value) if isinstance(value, list) else value
