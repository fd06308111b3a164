"""Selects the schedules with which an entire network is fastest.

A schedule that is the fastest alone can be slower in a network, where other layers share the caches. So candidates are
measured inside the running network, by the clock around each call, interleaved with the present schedules. What counts
is the time of the layers and of the calls that follow them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from autotune.searches.graph_candidates import Candidate
from autotune.searches.network import Call, Model, Network
from compiler.measure.comparison import MedianInterval, median_interval
from compiler.measure.sampling import Samples
from compiler.workloads.layer import Layer
from compiler.workloads.records import ModelChoice
from compiler.workloads.schedule import Schedule
from compiler.workloads.workload import Workload

_ROUNDS = 12
_SCREENING_ROUNDS = 4  # a candidate that was slower in each of the first rounds is dropped
_LEAST_SHARE = 0.002  # of the network's time; layers that take less stay as they are


@dataclass(frozen=True)
class WorkloadOutcome:
    """The outcome for the layers of one workload.

    Attributes:
        places: the places of the layers in the model.
        share: the part of the network's time that they take.
        tried: the number of candidates that were measured against the present choice.
        before, after: the choices before and after the search, which are equal if nothing was faster.
        gain: the part that ``after`` saves of the time of the layers and of the calls after them, as measured
            interleaved; None if nothing changed.
    """

    workload: Workload
    places: tuple[int, ...]
    share: float
    tried: int
    before: ModelChoice
    after: ModelChoice
    gain: MedianInterval | None


@dataclass(frozen=True)
class Comparison:
    """Interleaved runs of the entire network before and after all accepted changes.

    Attributes:
        before_secs, after_secs: medians of all runs.
        gain: the part of a run that is saved, by pairs of adjacent turns.
    """

    before_secs: float
    after_secs: float
    gain: MedianInterval


@dataclass(frozen=True)
class GraphOutcome:
    """The outcome of a search.

    Attributes:
        workloads: one per workload, the one that takes longest first.
        model: the network with all accepted changes.
        comparison: None if nothing was accepted.
    """

    workloads: tuple[WorkloadOutcome, ...]
    model: Any
    comparison: Comparison | None

    @property
    def changed(self) -> tuple[WorkloadOutcome, ...]:
        return tuple(outcome for outcome in self.workloads if outcome.gain is not None)

    @property
    def holds(self) -> bool:
        """Whether the network is faster beyond chance."""
        return self.comparison is not None and self.comparison.gain.low > 0


@dataclass(frozen=True)
class _Site:
    """The layers of one workload in a network: their places, the calls whose time they affect, and the part of the
    network's time that they take.
    """

    workload: Workload
    places: tuple[int, ...]
    calls: frozenset[int]
    share: float


def search_graph(
    model: Model,
    network: Network,
    candidates: Callable[[Workload, int], Sequence[Candidate]],
    seed: int = 0,
    on_workload: Callable[[WorkloadOutcome], None] | None = None,
    raise_if_interrupted: Callable[[], None] = lambda: None,
) -> GraphOutcome:
    """Tries each workload's candidates in the network, those of the longest layers first, and keeps what is faster.

    A candidate replaces the present choice only if the interval of its gain lies above 0. All accepted changes together
    hold only if the interval of the entire network's gain does, too.

    Workloads that share no call are tried in the same runs: each is judged by calls that no other one affects.

    Args:
        model: the model with its present schedules.
        network: measures the model and its variants.
        candidates: returns the candidates of a workload, given the present number of threads of its layers.
        seed: the seed of the order of turns.
        on_workload: called with the outcome for each workload.
        raise_if_interrupted: called between two turns.
    """
    rng = np.random.default_rng(seed)
    calls = network.calls(model)

    def compared(before: Model, after: Model) -> Comparison:
        return _comparison(*network.compare(before, after, raise_if_interrupted))

    # Schedules that are each the fastest alone, with some luck, may together be slower than the defaults. If they are,
    # the search starts from the defaults.
    tuned = {place: layer for place, layer in enumerate(model.layers) if layer.schedule}
    plain = model.with_layers({place: layer.scheduled(None) for place, layer in tuned.items()})
    start = compared(model, plain) if plain.schedules() != model.schedules() else None
    base = now = plain if start and start.gain.low > 0 else model
    outcomes: list[WorkloadOutcome] = []  # as changes of the base
    for group in _disjoint(_sites(model, calls)):
        choices = {
            site: _choices(now, site, candidates(site.workload, now.layers[site.places[0]].threads))
            if site.share >= _LEAST_SHARE
            else []
            for site in group
        }
        tried = _tried(network, now, choices, rng, raise_if_interrupted)
        now = now.with_layers(_layers(now, {site: outcome.after for site, outcome in tried.items() if outcome.gain}))
        outcomes += tried.values()
        if on_workload:
            for outcome in tried.values():
                on_workload(_since(_present(model, outcome.places[0]), outcome, start))
    # Some of many trials are lucky. If the search started from the defaults, the result must be faster than those, too.
    if base is not model and any(outcome.gain for outcome in outcomes) and compared(base, now).gain.low <= 0:
        now, outcomes = base, [replace(outcome, after=outcome.before, gain=None) for outcome in outcomes]
    outcomes = [_since(_present(model, outcome.places[0]), outcome, start) for outcome in outcomes]
    comparison = compared(model, now) if any(outcome.gain for outcome in outcomes) else None
    return GraphOutcome(tuple(sorted(outcomes, key=lambda outcome: -outcome.share)), now, comparison)


def _since(first: ModelChoice, outcome: WorkloadOutcome, start: Comparison | None) -> WorkloadOutcome:
    """Returns the outcome as a change of the first choice, before the network was reset to its defaults."""
    if first == outcome.after:
        return replace(outcome, before=first, gain=None)
    return replace(outcome, before=first, gain=outcome.gain or (start.gain if start else None))


def _sites(model: Model, calls: Sequence[Call]) -> list[_Site]:
    """Returns one site per workload, the one that takes longest first."""
    places: dict[Workload, list[int]] = {}
    for place, layer in enumerate(model.layers):
        if layer.workload is not None:
            places.setdefault(layer.workload, []).append(place)
    total = sum(call.secs for call in calls)
    sites = []
    for workload, own in places.items():
        made = [index for index, call in enumerate(calls) if call.place in own]
        after = [index + 1 for index in made if index + 1 < len(calls)]
        share = sum(calls[index].secs for index in made) / total
        sites.append(_Site(workload, tuple(own), frozenset([*made, *after]), share))
    return sorted(sites, key=lambda site: -site.share)


def _disjoint(sites: Sequence[_Site]) -> list[list[_Site]]:
    """Returns groups of sites that share no call. Each site is in the first group that has room for it."""
    groups: list[list[_Site]] = []
    for site in sites:
        room = (group for group in groups if all(site.calls.isdisjoint(other.calls) for other in group))
        group = next(room, None)
        if group is None:
            groups.append([site])
        else:
            group.append(site)
    return groups


def _choices(model: Model, site: _Site, offered: Sequence[Candidate]) -> list[ModelChoice]:
    """Returns the choices that the candidates amount to, without the present one."""
    first = site.places[0]
    made = (_present(model.with_layers({first: candidate.of(model.layers[first])}), first) for candidate in offered)
    return list(dict.fromkeys(choice for choice in made if choice != _present(model, first)))


def _present(model: Model, place: int) -> ModelChoice:
    layer, schedule = model.layers[place], model.schedules()[place]
    if layer.workload is None:
        raise ValueError(f"layer {layer.name} has no workload")
    return ModelChoice(layer.workload, schedule or Schedule("kernel", {}), layer.threads)


def _layers(model: Model, choices: Mapping[_Site, ModelChoice]) -> dict[int, Layer]:
    """Returns the layers that change, by their place."""
    return {
        place: replace(model.layers[place], schedule=choice.schedule, threads=choice.threads)
        for site, choice in choices.items()
        for place in site.places
    }


def _tried(
    network: Network,
    model: Model,
    choices: Mapping[_Site, Sequence[ModelChoice]],
    rng: np.random.Generator,
    raise_if_interrupted: Callable[[], None],
) -> dict[_Site, WorkloadOutcome]:
    """Returns the outcomes for disjoint sites."""
    secs = _turns(network, model, choices, rng, raise_if_interrupted)
    tried = {}
    for site, offered in choices.items():
        before, *others = secs[site]
        gains = {
            choice: median_interval([1 - own / other for own, other in zip(taken, before, strict=True)])
            for choice, taken in zip(offered, others, strict=True)
            if len(taken) == _ROUNDS
        }
        faster = {choice: gain for choice, gain in gains.items() if gain.low > 0}
        now = _present(model, site.places[0])
        after = max(faster, key=lambda choice: faster[choice].median, default=now)
        tried[site] = WorkloadOutcome(
            site.workload, site.places, site.share, len(offered), now, after, faster.get(after)
        )
    return tried


def _turns(
    network: Network,
    model: Model,
    choices: Mapping[_Site, Sequence[ModelChoice]],
    rng: np.random.Generator,
    raise_if_interrupted: Callable[[], None],
) -> dict[_Site, list[list[float]]]:
    """Returns the seconds of each site's calls, per round: with the present choice, then with each candidate.

    The k-th candidates of all sites are measured together, until none of the sites needs its k-th any more.
    """
    together = [
        {site: offered[k] for site, offered in choices.items() if k < len(offered)}
        for k in range(max(map(len, choices.values()), default=0))
    ]
    models = [model, *(model.with_layers(_layers(model, chosen)) for chosen in together)]
    secs: dict[_Site, list[list[float]]] = {site: [[] for _ in range(1 + len(choices[site]))] for site in choices}
    left = list(range(len(models)))
    for done in range(1, _ROUNDS + 1):
        if len(left) == 1:
            break
        for k in rng.permutation(left):
            raise_if_interrupted()
            calls = network.calls(models[k])
            for site in together[k - 1] if k else choices:
                secs[site][k].append(sum(calls[index].secs for index in site.calls))
        if done == _SCREENING_ROUNDS:
            left = [
                0,
                *(k for k in left if k and any(_may_win(secs[site][0], secs[site][k]) for site in together[k - 1])),
            ]
    return secs


def _may_win(before: Sequence[float], secs: Sequence[float]) -> bool:
    """Returns whether a candidate was faster in at least one round."""
    return any(own < other for own, other in zip(secs, before, strict=True))


def _comparison(before: Samples, after: Samples) -> Comparison:
    pairs = zip(after.rounds, before.rounds, strict=True)
    gain = median_interval([1 - median(own) / median(other) for own, other in pairs])
    return Comparison(before.latencies.median, after.latencies.median, gain)
