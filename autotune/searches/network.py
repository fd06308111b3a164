"""The running network: what a search inside a model measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

import numpy as np

from compiler.measure import sampling
from compiler.measure.sampling import Samples
from compiler.workloads.layer import Layer
from compiler.workloads.schedule import Schedule

_TURN_SECS = 0.02  # the least length of one model's turn
_TURN_RUNS = (3, 200)  # the least and the largest number of timed runs in a turn

_COMPARING_ROUNDS = 150  # enough to see gains of 1 % through the noise of a shared machine
_COMPARING_RUNS = 600  # of each entire network, in all rounds together, within these bounds:
_COMPARING_SECS = (1.0, 60.0)


class Model(Protocol):
    """A model with layers that can be replaced. ``compiler.program.compiled_model.CompiledModel`` is one."""

    @property
    def layers(self) -> Sequence[Layer]: ...

    def schedules(self) -> Sequence[Schedule | None]:
        """Returns the schedule of each layer, with defaults spelled out."""
        ...

    def with_layers(self, changed: Mapping[int, Layer]) -> Any:
        """Returns this model with other layers at some places."""
        ...


@dataclass(frozen=True)
class Call:
    """One call of a program: of the layer at ``place``, or of generated code if ``place`` is None."""

    place: int | None
    secs: float


class Network(Protocol):
    """Measures models on given inputs."""

    def calls(self, model: Any) -> list[Call]:
        """Returns the calls of the model's program with their median times, in order, without the virtual machine's."""
        ...

    def compare(self, before: Any, after: Any, interrupted: Callable[[], None]) -> tuple[Samples, Samples]:
        """Runs two models interleaved and returns the samples of ``before`` and ``after``, in the same rounds.

        Args:
            before, after: the models.
            interrupted: called between two turns; whatever it raises ends the comparison.
        """
        ...


class RunningNetwork:
    """A :class:`Network` of compiled models in this process.

    Args:
        model: a :class:`compiler.program.compiled_model.CompiledModel`. Its speed determines the length of a turn.
        inputs: the inputs by name.
        seed: the seed of the order of turns.
        rounds: the number of rounds of a comparison.

    Raises:
        ValueError, TypeError: as :meth:`CompiledModel.run`.
    """

    def __init__(
        self, model: Any, inputs: Mapping[str, np.ndarray], seed: int = 0, rounds: int = _COMPARING_ROUNDS
    ) -> None:
        self._inputs, self._seed, self._rounds = inputs, seed, rounds
        model.run(inputs)  # one-time costs must not be measured
        self._turn = _TURN_RUNS[0]
        total = sum(call.secs for call in self.calls(model))
        self._turn = int(np.clip(_TURN_SECS / total, *_TURN_RUNS))
        self._comparing_secs = float(np.clip(_COMPARING_RUNS * total, *_COMPARING_SECS))

    def calls(self, model: Any) -> list[Call]:
        return [
            Call(call.layer, median(call.secs))
            for call in model.call_secs(self._inputs, self._turn)
            if call.layer is not None or not call.function.startswith("vm.builtin.")
        ]

    def compare(self, before: Any, after: Any, interrupted: Callable[[], None]) -> tuple[Samples, Samples]:
        runs = {"before": lambda: before.run(self._inputs), "after": lambda: after.run(self._inputs)}
        samples = sampling.measure(runs, self._comparing_secs, self._rounds, self._seed, lambda _done: interrupted())
        return samples["before"], samples["after"]
