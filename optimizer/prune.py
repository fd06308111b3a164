"""Removes channels of an ONNX model that matter least, without retraining.

Groups of channels that depend on each other are found on the graph (:mod:`optimizer.pruning.groups`). Each channel has
an importance, and each number of channels a cost. The solver chooses how many channels each group keeps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.installation import extras
from optimizer.data import LABELS
from optimizer.plan import KeptChannels, Plan
from optimizer.torchrun import processes

if TYPE_CHECKING:  # onnx is imported on first use, because that takes half a second
    import onnx

    from optimizer.pruning.costs import Cost
    from optimizer.pruning.fitting import Limit
    from optimizer.pruning.groups import Groups
    from optimizer.pruning.importance import Scores
    from optimizer.pruning.solver import Choice
    from optimizer.pruning.widths import Layer, Product, Weight
    from optimizer.training.ranks import Ranks

IMPORTANCES: Mapping[str, str] = {
    "magnitude": "squares of the weights of a group; the default without data",
    "activations": "squares of activations times those of the weights that read them; the default with data",
    "taylor": "how much the loss of the labels would change, by gradients; the default with data and labels",
    "random": "a baseline",
}
COSTS: Mapping[str, str] = {
    "kernels": "seconds of our kernels for each layer, with cold weights",
    "onnxruntime": "seconds of ONNX Runtime for each layer",
    "macs": "multiply-adds",
    "parameters": "elements of weights",
}
STEP, LEAST = 8, 0.25
# Why groups whose sets have several channels are fixed in PyTorch modules.
SINGLE = (
    "torch-pruning does not remove attention heads, or a channel of each group of a convolution; prune the ONNX model"
)


@dataclass(frozen=True)
class Problem:
    """What the solver works on.

    Attributes:
        model: the prepared model.
        groups: its groups.
        weights, layers, products: its constants, layers, and products of tensors that are not constant.
        scores: the importance of each channel.
        choices: the widths of each group.
    """

    model: onnx.ModelProto
    groups: Groups
    weights: tuple[Weight, ...]
    layers: tuple[Layer, ...]
    products: tuple[Product, ...]
    scores: Scores
    choices: tuple[Choice, ...]

    def plan(self, widths: tuple[int, ...], importance: str, cost: str) -> Plan:
        """Returns the plan of these widths, which keeps the channels of largest scores."""
        from optimizer.pruning import topology

        kept = tuple(
            KeptChannels(group.name, len(group), choice.kept(scores, width))
            for group, choice, scores, width in zip(self.groups.free, self.choices, self.scores, widths, strict=True)
        )
        return Plan(topology.digest(self.model), kept, importance, cost)

    @property
    def starts(self) -> tuple[tuple[int, ...]]:
        """All channels."""
        return (tuple(choice.widths[-1] for choice in self.choices),)

    def variant(self, widths: tuple[int, ...]) -> onnx.ModelProto:
        """Returns the model with these widths."""
        return self.plan(widths, "", "").apply_prepared(self.model)


def prune(
    model: Any,
    ratio: float | None = None,
    latency: float | None = None,
    data: Mapping[str, np.ndarray] | Callable[[], Mapping[str, np.ndarray]] | None = None,
    importance: str | None = None,
    cost: str = "kernels",
    threads: int = 1,
    step: int = STEP,
    least: float = LEAST,
    seed: int = 0,
    example_inputs: Sequence[Any] | Mapping[str, Any] | None = None,
    share: float | None = None,
    records: str | Path | None = None,
) -> Plan:
    """Returns which channels of a model stay; ``plan.apply(model)`` removes the others.

    Args:
        model: the path of an ONNX model, the model, or a PyTorch module, in floating point.
        ratio: the share of parameters to remove, between 0 and 1. Either this, ``latency`` or ``share`` is given.
        latency: milliseconds of one run of the entire model, compiled by :func:`compiler.build` and measured here.
        data: arrays by the names of the inputs, whose first axis counts samples, for ``importance="activations"``; and
            ``labels``, for ``"taylor"``; or a function that returns them.
        importance: a key of :data:`IMPORTANCES`; None: taylor if there are labels, activations if there are data, else
            magnitude.
        cost: a key of :data:`COSTS`: what a channel costs.
        threads: of measured runs.
        step: groups keep all channels, or a multiple of this. Kernels compute whole vectors, so other numbers of
            channels take as long as the next multiple.
        least: the share of channels that each group keeps at least.
        seed: of random importance.
        example_inputs: of a PyTorch module, as for :func:`compiler.build`.
        share: of the original's latency, between 0 and 1. Both models are measured in turns, so it does not depend on
            the speed of the machine at the time.
        records: a records file that keeps the measured times of our kernels, for the next time.

    Raises:
        ValueError: an argument is not valid, the model is not valid or quantized already, it has no channels that can
            be removed, the data do not fit it, or no widths reach the ratio or the latency. The message is one line.
        OSError: a file cannot be read.
        ImportError: a package for measuring is missing.
    """
    from compiler.convert.source import exported, is_torch_module
    from optimizer.pruning import groups
    from optimizer.pruning.prepared import prepared

    samples = data() if callable(data) else data
    chosen = _checked(ratio, latency, share, samples, importance, cost, threads, step, least)
    kept = None if records is None else Path(records)
    original = prepared(exported(model, example_inputs))
    found = groups.find(original)
    if is_torch_module(model):
        found = found.of_single_channels(SINGLE)
    if chosen != "taylor":
        if processes() > 1:
            raise ValueError("only importance 'taylor' is computed by several processes; run this one without torchrun")
        problem = problem_of(original, samples, chosen, threads, step, least, seed, found=found)
        return _solved(problem, ratio, latency, share, chosen, cost, threads, kept)
    from optimizer.training.ranks import joined

    with joined("cpu") as ranks:
        problem = problem_of(original, samples, chosen, threads, step, least, seed, ranks, found)
        # Measured costs differ from process to process, so one of them chooses.
        text = ranks.broadcast_from_first(
            lambda: json.dumps(_solved(problem, ratio, latency, share, chosen, cost, threads, kept).to_json())
        )
    return Plan.from_json(json.loads(text))


def _solved(
    problem: Problem,
    ratio: float | None,
    latency: float | None,
    share: float | None,
    importance: str,
    cost: str,
    threads: int,
    records: Path | None,
) -> Plan:
    if ratio is None:
        from optimizer.pruning.fitting import Limit

        limit = Limit(None if latency is None else latency / 1e3, share)
        return plan_within(problem, limit, importance, cost, threads, records)
    return problem.plan(_of_ratio(problem, ratio, cost, threads, records), importance, cost)


def plan_within(
    problem: Problem, limit: Limit, importance: str, cost: str, threads: int, records: Path | None = None
) -> Plan:
    """Returns the plan of least lost importance whose compiled model is within a limit.

    Raises:
        TooSlowError: no widths reach the limit.
    """
    from optimizer.pruning.fitting import fitted, predictor

    widths, latency = fitted(problem, predictor(problem, cost, threads, records), limit, threads)
    return replace(problem.plan(widths, importance, cost), latency=latency)


def _checked(
    ratio: float | None,
    latency: float | None,
    share: float | None,
    data: Mapping[str, np.ndarray] | None,
    importance: str | None,
    cost: str,
    threads: int,
    step: int,
    least: float,
) -> str:
    """Checks arguments, and returns the kind of importance."""
    if [ratio, latency, share].count(None) != 2:
        raise ValueError("give one of ratio, latency and share")
    if share is not None and not 0 < share < 1:
        raise ValueError(f"the share of the latency must be between 0 and 1, got {share:g}")
    if ratio is not None and not 0 < ratio < 1:
        raise ValueError(f"the ratio must be between 0 and 1, got {ratio:g}")
    if latency is not None and not 0 < latency < math.inf:
        raise ValueError(f"the latency must be a number of milliseconds above 0, got {latency:g}")
    if not 0 <= least <= 1:
        raise ValueError(f"the least share of channels must be from 0 to 1, got {least:g}")
    if step < 1 or threads < 1:
        raise ValueError(f"step and threads must be at least 1, got {step} and {threads}")
    if cost not in COSTS:
        raise ValueError(f"unknown cost {cost!r}; choose from: {', '.join(COSTS)}")
    return checked_importance(importance, data)


def checked_importance(importance: str | None, data: Mapping[str, np.ndarray] | None) -> str:
    """Returns the kind of importance, which depends on the data if it is None.

    Raises:
        ValueError: it is unknown, or needs other data.
        ImportError: PyTorch is missing.
    """
    default = "magnitude" if data is None else "taylor" if LABELS in data else "activations"
    chosen = importance or default
    if chosen not in IMPORTANCES:
        raise ValueError(f"unknown importance {chosen!r}; choose from: {', '.join(IMPORTANCES)}")
    if chosen == "activations" and data is None:
        raise ValueError("importance 'activations' needs data")
    if chosen == "taylor":
        if data is None or LABELS not in data:
            raise ValueError("importance 'taylor' needs data with labels")
        extras.require("importance 'taylor'", "training")
    return chosen


def problem_of(
    model: onnx.ModelProto,
    data: Mapping[str, np.ndarray] | None,
    importance: str,
    threads: int,
    step: int,
    least: float = LEAST,
    seed: int = 0,
    ranks: Ranks | None = None,
    found: Groups | None = None,
) -> Problem:
    """Returns the problem of a prepared model. Arguments are those of :func:`prune`.

    Args:
        importance: a key of :data:`IMPORTANCES`.
        ranks: of the processes that compute gradients, for ``taylor``.
        found: the groups of the model, if some of those that can be removed shall stay.

    Raises:
        ValueError: the model has no channels that can be removed, or the data do not fit. The message is one line.
    """
    from optimizer import samples
    from optimizer.pruning import groups, powers, widths
    from optimizer.pruning import importance as scoring
    from optimizer.pruning.solver import Choice

    found = groups.find(model) if found is None else found
    if not found.free:
        why = "no convolution or product has a constant weight"
        if found.fixed:
            why = f"for example, {found.fixed[0].name}: {found.fixed[0].fixed}"
        raise ValueError(f"the model has no channels that can be removed; {why}")
    fitting = None if data is None else samples.fitting(data, model)
    if importance == "taylor" and data is not None and ranks is not None:
        from optimizer.pruning.taylor import taylor
        from optimizer.training.labelled import labelled

        scores = taylor(model, found, labelled(data), ranks)
    elif importance == "activations" and fitting is not None:
        scores = scoring.of_activations(model, found, powers.powers(model, found, fitting, threads))
    elif importance == "random":
        scores = scoring.random(found, seed)
    else:
        scores = scoring.magnitude(model, found)
    if not all(np.isfinite(each).all() for each in scores):
        raise ValueError("the importance of channels is not finite: weights or activations have NaN or infinite values")
    weights = widths.weights(model, found)
    choices = tuple(
        Choice.of(each, max(1, step // group.size), least) for group, each in zip(found.free, scores, strict=True)
    )
    return Problem(model, found, weights, widths.layers(model, weights), widths.products(model, found), scores, choices)


def _of_ratio(problem: Problem, ratio: float, cost: str, threads: int, records: Path | None) -> tuple[int, ...]:
    from optimizer.pruning import costs
    from optimizer.pruning.solver import Solver

    parameters = costs.parameters(problem.weights)
    solver = Solver(problem.choices, _price(problem, cost, threads, records), parameters)
    whole = parameters(solver.widest)
    found = solver.solve((1 - ratio) * whole)
    if found is None:
        most = 1 - parameters(solver.narrowest) / whole
        raise ValueError(
            f"no widths remove {ratio:.1%} of the parameters: the most is {most:.1%}, with every group at its narrowest"
        )
    return found


def _price(problem: Problem, cost: str, threads: int, records: Path | None) -> Cost:
    from optimizer.pruning import costs

    if cost == "parameters":
        return costs.parameters(problem.weights)
    if cost == "macs":
        return costs.macs(problem.layers, problem.products)
    from optimizer.pruning.fitting import measured_cost

    return measured_cost(problem, cost, threads, records)
