"""Schedules and the spaces they come from: all that a search strategy knows of a backend."""

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
    """One thing that a schedule decides, and what it can be."""

    name: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Schedule:
    """One choice for each decision of a space. Immutable, hashable, JSON in and out."""

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
        return {"backend": self.backend, "values": dict(self.values)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Schedule:
        return cls(fields["backend"], fields["values"])

    def __str__(self) -> str:
        return " ".join(f"{k}={json.dumps(v) if isinstance(v, tuple) else v}" for k, v in self.values.items())


class Program(Protocol):
    """A schedule made runnable."""

    def load(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Takes the inputs by name, as ``compiler.workloads.reference.make_inputs`` makes them; packs the weights."""
        ...

    def run(self) -> np.ndarray:
        """Runs once and returns the output."""
        ...

    def time(self, number: int, repeat: int) -> list[float]:
        """``repeat`` samples, each the mean seconds a run over ``number`` runs.

        Convolutions meet their weights in memory, as in a network, whose other layers have put them out of the caches;
        other programs run back to back.
        """
        ...


class ScheduleSpace(ABC):
    """Every schedule that a backend offers for one workload on one target.

    A strategy sees ``decisions``, ``is_legal`` and ``default``; ``build`` is for whoever measures.
    """

    backend: str
    workload: Workload
    target: Target
    decisions: tuple[Decision, ...]

    @abstractmethod
    def is_legal(self, schedule: Schedule) -> bool:
        """Whether the schedule can be built and is worth building: cheap, never builds anything."""

    @abstractmethod
    def default(self) -> Schedule:
        """A good schedule without any search; always legal."""

    @abstractmethod
    def build(self, schedule: Schedule) -> Program:
        """Makes the schedule runnable.

        Raises:
            ValueError: the schedule is not legal here.
            RuntimeError: the backend could not build it.
        """

    def algorithm(self, schedule: Schedule) -> str:  # noqa: ARG002 - one that offers several looks at it
        """What the schedule computes with: the name by which ``compiler.workloads.reference.tolerance`` knows how far it errs."""
        return "direct"

    def schedule(self, choices: Sequence[int]) -> Schedule:
        """The schedule that takes choice ``choices[i]`` (an index) of decision ``i``."""
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
        """A legal schedule drawn uniformly by rejection; the default where ``attempts`` draws find none."""
        sizes = [len(d.choices) for d in self.decisions]
        for _ in range(attempts):
            schedule = self.schedule([int(c) for c in rng.integers(sizes)])
            if self.is_legal(schedule):
                return schedule
        return self.default()

    def neighbors(self, schedule: Schedule) -> Iterator[tuple[int, int, Schedule]]:
        """``(decision, choice, schedule)`` for every legal schedule that differs in one decision."""
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
