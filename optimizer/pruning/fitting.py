"""Chooses widths for a latency of the entire compiled model.

The costs predict; the compiled model is measured. After each measurement the costs are corrected, and the widths are
chosen again, until the measured latency is within the limit and close to it (the loop of Yang et al.: NetAdapt, ECCV
2018, which measures whole models on the device, too).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import onnx

from optimizer.graphs import inputs_of
from optimizer.plan import Latency
from optimizer.pruning import costs
from optimizer.pruning.costs import Cost, Term
from optimizer.pruning.solver import Choice, Solver

if TYPE_CHECKING:
    from compiler import CompiledModel
    from compiler.measure.sampling import Samples
    from optimizer.prune import Problem

ROUNDS = 6  # of choosing and measuring
CLOSE = 0.97  # the share of the limit that is close enough
CAUTION = 0.985  # by which the next limit is lower, if a model was slower than predicted
MEASURE_SECS, MEASURE_ROUNDS = 0.8, 16  # of each of two models that take turns


class TooSlowError(ValueError):
    """No widths reach a latency."""


class Space(Protocol):
    """Models between which widths choose.

    Attributes:
        choices: what is chosen: the last width of each makes the original.
        starts: widths whose models are measured before the first choice; the first is the original.
    """

    @property
    def choices(self) -> Sequence[Choice]: ...

    @property
    def starts(self) -> Sequence[tuple[int, ...]]: ...

    def variant(self, widths: tuple[int, ...]) -> onnx.ModelProto:
        """Returns the model of these widths."""
        ...


class Predictor(Protocol):
    """Predicts the latency of the compiled model, as a share of that of the original."""

    def cost(self) -> Cost: ...

    def correct(self, model: onnx.ModelProto, compiled: CompiledModel, kept: Sequence[int], share: float) -> None:
        """Learns that a model, in which the groups keep so many channels, has this share of the latency."""
        ...


class Scaled:
    """A latency that is proportional to another cost."""

    def __init__(self, cost: Cost) -> None:
        self._cost, self._factor = cost, 0.0

    def cost(self) -> Cost:
        terms = (Term(term.widths, partial(_times, self._factor, term.value)) for term in self._cost.terms)
        return Cost("share", tuple(terms))

    def correct(
        self,
        model: onnx.ModelProto,  # noqa: ARG002 - of the protocol
        compiled: CompiledModel,  # noqa: ARG002
        kept: Sequence[int],
        share: float,
    ) -> None:
        self._factor = share / self._cost(kept)


def _times(factor: float, value: costs.Value, *sizes: int) -> float:
    return factor * value(*sizes)


def predictor(problem: Problem, cost: str, threads: int, records: Path | None = None) -> Predictor:
    """Returns what predicts latencies from a kind of cost; ``records`` keep the times of our kernels."""
    narrowest, widest = _ends(problem)
    if cost == "kernels":
        from optimizer.pruning.kernel_times import KernelTimes

        return KernelTimes(problem.layers, narrowest, widest, products=problem.products, records=records)
    if cost == "onnxruntime":
        from optimizer.pruning import runtime_times

        return Scaled(runtime_times.cost(problem.model, problem.layers, problem.products, narrowest, widest, threads))
    return Scaled(costs.macs(problem.layers, problem.products) if cost == "macs" else costs.parameters(problem.weights))


def measured_cost(problem: Problem, cost: str, threads: int, records: Path | None = None) -> Cost:
    """Returns the times of layers: in our kernels, corrected by the compiled original, or in ONNX Runtime."""
    narrowest, widest = _ends(problem)
    if cost == "onnxruntime":
        from optimizer.pruning import runtime_times

        return runtime_times.cost(problem.model, problem.layers, problem.products, narrowest, widest, threads)
    found = predictor(problem, cost, threads, records)
    original = compiled(problem.model, threads)
    found.correct(problem.model, original, widest, 1.0)
    return found.cost()


@dataclass(frozen=True)
class Limit:
    """The most that a run of the compiled model may take: seconds, or a share of what the original takes.

    A share does not depend on the speed of the machine at the time, because both models are measured in turns.
    """

    seconds: float | None = None
    share: float | None = None

    def of(self, original: float) -> float:
        """Returns seconds; ``original`` are those of the original."""
        return self.seconds if self.seconds is not None else (self.share or 0.0) * original

    def __str__(self) -> str:
        return f"{self.share:.3g} of the latency" if self.seconds is None else f"{self.seconds * 1e3:g} ms"


def fitted(space: Space, found: Predictor, limit: Limit, threads: int) -> tuple[tuple[int, ...], Latency]:
    """Returns the widths of least lost importance whose compiled model is within the limit.

    Raises:
        TooSlowError: no widths reach the limit; the message has the least seconds.
        ImportError: a package for compiling is missing.
    """
    widest, *others = space.starts
    model = space.variant(widest)
    original = compiled(model, threads)
    turns = Turns(original)
    whole = turns.alone()
    if whole <= limit.of(whole):
        return widest, Latency(threads, whole, whole, whole)
    found.correct(model, original, widest, 1.0)
    for start in others:
        model, program = _variant(space, start, threads)
        found.correct(model, program, start, turns.share(program))
    smallest = _solver(space, found).smallest
    _, program = _variant(space, smallest, threads)
    least = turns.share(program)
    if least * turns.quiet > limit.of(turns.quiet):
        raise TooSlowError(
            f"no widths reach {limit}: the least is {least * turns.quiet * 1e3:.3g} ms, with every group at "
            f"its narrowest; the original takes {turns.quiet * 1e3:.3g} ms"
        )
    best, share, predicted = smallest, least, found.cost()(smallest)
    tried, part = {smallest}, 1.0
    for _ in range(ROUNDS):
        price = found.cost()
        solver = _solver(space, found)
        widths = solver.solve(part * limit.of(turns.quiet) / turns.quiet) or smallest
        if widths in tried:
            break
        tried.add(widths)
        model, program = _variant(space, widths, threads)
        measured = turns.share(program)
        secs, most = measured * turns.quiet, limit.of(turns.quiet)
        if secs <= most and solver.lost(widths) < solver.lost(best):
            best, share, predicted = widths, measured, price(widths)
        if CLOSE * most <= secs <= most:
            break
        found.correct(model, program, widths, measured)
        part *= 1 if secs <= most else CAUTION
    return best, Latency(threads, turns.quiet, share * turns.quiet, predicted * turns.quiet)


def _solver(space: Space, found: Predictor) -> Solver:
    price = found.cost()
    return Solver(space.choices, price, price)


def _variant(space: Space, widths: tuple[int, ...], threads: int) -> tuple[onnx.ModelProto, CompiledModel]:
    """Returns the model of these widths, and compiles it."""
    model = space.variant(widths)
    return model, compiled(model, threads)


def _ends(problem: Problem) -> tuple[tuple[int, ...], tuple[int, ...]]:
    choices = problem.choices
    return tuple(choice.widths[0] for choice in choices), tuple(choice.widths[-1] for choice in choices)


def compiled(model: onnx.ModelProto, threads: int) -> CompiledModel:
    """Compiles a model for one sample at once, if that number varies.

    Raises:
        ValueError: other sizes of an input vary.
    """
    import compiler

    shapes = {}
    for value in inputs_of(model):
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if all(sizes):
            continue
        if not all(sizes[1:]):
            raise ValueError(f"the sizes of input {value.name} vary; {costs.FIX_SIZES}")
        shapes[value.name] = (1, *sizes[1:])
    return compiler.build(model, shapes or None, threads=threads)


class Turns:
    """Measures the original model, alone or in turns with another one.

    A model's seconds are its share of the original's, measured in turns, times ``quiet``. The share is the
    ratio of the medians. Both need a quiet machine.

    Attributes:
        quiet: the least of all medians of the original, in seconds.
    """

    def __init__(self, original: CompiledModel) -> None:
        from compiler.program.random_inputs import random_inputs

        self._original = original
        self._inputs = random_inputs(original.inputs)
        self.quiet = math.inf

    def alone(self) -> float:
        """Returns the median seconds of a run of the original."""
        return self._measured({"original": self._original})["original"].latencies.median

    def share(self, other: CompiledModel) -> float:
        """Returns the seconds of another model over those of the original."""
        found = self._measured({"original": self._original, "other": other})
        return found["other"].latencies.median / found["original"].latencies.median

    def _measured(self, models: Mapping[str, CompiledModel]) -> dict[str, Samples]:
        from compiler.measure.sampling import measure

        runs = {name: partial(model.run, self._inputs) for name, model in models.items()}
        found = measure(runs, MEASURE_SECS, MEASURE_ROUNDS)
        self.quiet = min(self.quiet, found["original"].latencies.median)
        return found
