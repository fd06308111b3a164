"""Chooses the width of each group of channels and the precision of each layer together.

What both cost is measured: the times of our kernels in 32-bit floating point and in 8-bit integers, corrected on the
compiled model. What both harm is measured in one unit, too: the divergence of the answers on calibration samples, of
each layer in integers alone, and of each group at one width alone, for which the importance of its channels gives the
other widths. So one solver chooses between a narrower layer and a quantized one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx

from optimizer.divergence import Divergence
from optimizer.plan import Plan
from optimizer.prune import Problem
from optimizer.pruning.fitting import Limit, fitted
from optimizer.pruning.kernel_times import FLOAT_BITS, INTEGER_BITS, KernelTimes
from optimizer.pruning.solver import Choice
from optimizer.pruning.widths import Width
from optimizer.quantize import Quantized, quantize
from optimizer.samples import fitting

_LEAST = 1e-9  # a divergence; so that nothing is free


@dataclass(frozen=True)
class JointChoice:
    """What was chosen.

    Attributes:
        plan: the channels that stay, with the latency of the model in its precisions.
        in_float: names of the layers that stay in floating point; None if all do.
    """

    plan: Plan
    in_float: tuple[str, ...] | None


@dataclass(frozen=True)
class Joint:
    """Models of several widths and precisions.

    Attributes:
        problem: the widths.
        calibration: arrays by the names of the inputs.
        harm_of_widths: the choices of the groups, with divergences in place of importance.
        harm_of_integers: by the name of a layer that can be quantized, the divergence.
        threads: of measured runs.
        records: a records file that keeps the times of kernels; None keeps nothing.
    """

    problem: Problem
    calibration: Mapping[str, np.ndarray]
    harm_of_widths: tuple[Choice, ...]
    harm_of_integers: Mapping[str, float]
    threads: int
    records: Path | None = None

    @classmethod
    def of(
        cls, problem: Problem, calibration: Mapping[str, np.ndarray], threads: int, records: Path | None = None
    ) -> Joint:
        """Measures what widths and integers harm.

        Raises:
            ValueError: the model cannot be quantized, or the samples do not fit it. The message is one line.
        """
        samples = fitting(calibration, problem.model)
        divergence = Divergence(problem.model, samples, len(samples), threads)
        (widest,) = problem.starts
        harms = []
        for group, choice in enumerate(problem.choices):
            middle = choice.widths[(len(choice.widths) - 1) // 2]  # narrower than all channels, if there is a choice
            if middle == choice.widths[-1]:
                harms.append(choice)
                continue
            found = divergence(problem.variant((*widest[:group], middle, *widest[group + 1 :])))
            harms.append(_scaled(choice, middle, found))
        made = quantize(problem.model, calibration, threads=threads, errors=True)
        harm_of_integers = {error.layer: max(error.divergence, _LEAST) for error in made.errors}
        return cls(problem, calibration, tuple(harms), harm_of_integers, threads, records)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The widths of the groups, and then the bits of the layers."""
        bits = (INTEGER_BITS, FLOAT_BITS)
        return (*self.harm_of_widths, *(Choice(bits, (harm, 0.0)) for harm in self.harm_of_integers.values()))

    @property
    def starts(self) -> tuple[tuple[int, ...], ...]:
        """All channels in floating point, and in integers."""
        (widest,) = self.problem.starts
        return tuple((*widest, *[bits] * len(self.harm_of_integers)) for bits in (FLOAT_BITS, INTEGER_BITS))

    def variant(self, widths: tuple[int, ...]) -> onnx.ModelProto:
        """Returns the model of these widths and bits, for measurements: its biases are not corrected."""
        smaller = self.problem.variant(widths[: len(self.problem.choices)])
        found = quantized(smaller, self.calibration, self._in_float(widths), self.threads, bias_correction=False)
        return smaller if found is None else found.model

    def chosen(self, limit: Limit, importance: str) -> JointChoice:
        """Returns the choice of least harm whose compiled model is within a limit.

        Raises:
            TooSlowError: no choice reaches the limit.
        """
        widths, latency = fitted(self, self._times, limit, self.threads)
        plan = replace(self.problem.plan(widths[: len(self.problem.choices)], importance, "kernels"), latency=latency)
        return JointChoice(plan, self._in_float(widths))

    @cached_property
    def _times(self) -> KernelTimes:
        """Of all limits: kernels are measured once, and each limit begins with the scales of the starts."""
        narrowest = tuple(choice.widths[0] for choice in self.choices)
        first = len(self.problem.choices)
        precisions = {layer: Width(0, ((first + place, 1),)) for place, layer in enumerate(self.harm_of_integers)}
        return KernelTimes(
            self.problem.layers, narrowest, self.starts[0], precisions, self.problem.products, self.records
        )

    def _in_float(self, widths: Sequence[int]) -> tuple[str, ...] | None:
        bits = widths[len(self.problem.choices) :]
        found = tuple(name for name, each in zip(self.harm_of_integers, bits, strict=True) if each == FLOAT_BITS)
        return found if len(found) < len(bits) else None


def quantized(
    model: onnx.ModelProto,
    calibration: Mapping[str, np.ndarray],
    in_float: Sequence[str] | None,
    threads: int | None,
    bias_correction: bool = True,
) -> Quantized | None:
    """Quantizes a model except some layers; returns None if all stay in floating point."""
    if in_float is None:
        return None
    return quantize(model, calibration, bias_correction=bias_correction, exclude=in_float, threads=threads)


def _scaled(choice: Choice, width: int, divergence: float) -> Choice:
    """Returns a choice whose loss at one width is a divergence, and in proportion at the others."""
    lost = choice.lost[choice.widths.index(width)]
    if lost <= 0:  # all channels stay, or those that go have no importance
        return Choice(choice.widths, tuple(_LEAST * (each < choice.widths[-1]) for each in choice.widths))
    factor = max(divergence, _LEAST) / lost
    return Choice(choice.widths, tuple(factor * each for each in choice.lost))
