"""Chooses the schedules that a network as a whole runs fastest by.

A schedule that wins alone can lose in a network, where it meets what other layers have left in the caches and leaves
them its own. So candidates are measured inside the running network: by the clock around each call, taken in turns with
what the layers run by now. What counts is the time of the layers themselves and of the calls that follow them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from autotune.searches.graph_candidates import Candidate
from compiler.measure import sampling as bench
from compiler.measure.paired import MedianInterval, median_interval
from compiler.program.compiled_model import CompiledModel
from compiler.workloads.layer import Layer
from compiler.workloads.records import Choice
from compiler.workloads.schedule import Schedule
from compiler.workloads.workload import Workload

_ROUNDS = 12
_SCREENING_ROUNDS = 4  # a candidate that has lost each of the first ones is out
_TURN_SECS = 0.02  # how long one candidate's turn in a round lasts, at least
_TURN_RUNS = (3, 200)  # how many timed runs it has, at least and at most
_LEAST_SHARE = 0.002  # of the network's time; layers that take less are left as they are

_VERIFYING_ROUNDS = 150  # so many that gains of 1 % show through the noise of a shared machine
_VERIFYING_RUNS = 600  # of the whole network, before and after, in all rounds together, within these bounds:
_VERIFYING_SECS = (1.0, 60.0)


@dataclass(frozen=True)
class Call:
    """One call of a program: of the layer at ``place``, or of generated code where that is None."""

    place: int | None
    secs: float


class Network:
    """A compiled model on given inputs.

    Args:
        model: as it runs now.
        inputs: by name.

    Raises:
        ValueError, TypeError: as :meth:`CompiledModel.run`.
    """

    def __init__(self, model: CompiledModel, inputs: Mapping[str, np.ndarray]) -> None:
        self.inputs = inputs
        model.run(inputs)  # what is slow once shall not be measured
        self._turn = _TURN_RUNS[0]
        total = sum(call.secs for call in self.calls(model))
        self._turn = int(np.clip(_TURN_SECS / total, *_TURN_RUNS))

    def calls(self, model: CompiledModel) -> list[Call]:
        """The median time of each call of the model's program that is not the virtual machine's own."""
        return [
            Call(place, median(secs))
            for function, place, secs in model.call_secs(self.inputs, self._turn)
            if place is not None or not function.startswith("vm.builtin.")
        ]


@dataclass(frozen=True)
class Trial:
    """What became of the layers of one workload.

    Attributes:
        places: the layers'.
        share: of the network's time, that they take.
        tried: candidates that were measured against what there was.
        before, after: what they ran by, and what they run by now; the same where nothing was faster.
        gain: of their time and that of the calls after them, the part that ``after`` saves, as measured in turns; None
            where nothing changed.
    """

    workload: Workload
    places: tuple[int, ...]
    share: float
    tried: int
    before: Choice
    after: Choice
    gain: MedianInterval | None


@dataclass(frozen=True)
class Comparison:
    """Whole runs of the network as it was and as it is with everything that was accepted, taken in turns.

    Attributes:
        before_secs, after_secs: medians of all runs.
        gain: the part of a run that is saved, by pairs of turns that were taken next to each other.
    """

    before_secs: float
    after_secs: float
    gain: MedianInterval


@dataclass(frozen=True)
class Outcome:
    """What a search came to.

    Attributes:
        trials: of each workload, the one that takes longest first.
        model: the network with everything that was accepted.
        comparison: None where nothing was.
    """

    trials: tuple[Trial, ...]
    model: CompiledModel
    comparison: Comparison | None

    @property
    def changed(self) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.gain is not None)

    @property
    def holds(self) -> bool:
        """Whether the network is faster by more than chance."""
        return self.comparison is not None and self.comparison.gain.low > 0


@dataclass(frozen=True)
class _Site:
    """The layers of one workload in a network: their places, the calls that a change of them is seen in, and the share
    of the network's time that they take.
    """

    workload: Workload
    places: tuple[int, ...]
    calls: frozenset[int]
    share: float


def search_graph(
    model: CompiledModel,
    inputs: Mapping[str, np.ndarray],
    candidates: Callable[[Workload, int], Sequence[Candidate]],
    seed: int = 0,
    on_trial: Callable[[Trial], None] | None = None,
    raise_if_interrupted: Callable[[], None] = lambda: None,
) -> Outcome:
    """Tries each workload's candidates in the network, those that take longest first, and keeps what is faster.

    Workloads whose layers lie apart are tried in the same runs: each is judged by calls that no other one changes.

    Args:
        model: as it runs now.
        inputs: by name.
        candidates: from a workload and the threads that its layers run on now to what they may run by.
        seed: of the order in which candidates take their turns.
        on_trial: is told what became of each workload.
        raise_if_interrupted: is called between two turns.
    """
    network, rng = Network(model, inputs), np.random.default_rng(seed)
    calls = network.calls(model)
    total = sum(call.secs for call in calls)
    secs = float(np.clip(_VERIFYING_RUNS * total, *_VERIFYING_SECS))

    def compared(before: CompiledModel, after: CompiledModel) -> Comparison:
        return _compared(before, after, inputs, secs, seed, raise_if_interrupted)

    # Winners alone, each a little lucky, may together be slower than what kernels take by themselves: then that is what
    # the search goes on from.
    tuned = {place: layer for place, layer in enumerate(model.layers) if layer.schedule}
    plain = model.with_layers({place: layer.scheduled(None) for place, layer in tuned.items()})
    start = compared(model, plain) if plain.schedules() != model.schedules() else None
    base = now = plain if start and start.gain.low > 0 else model
    trials: list[Trial] = []  # as changes of the base
    for group in _apart(_sites(model, calls)):
        choices = {
            site: _choices(now, site, candidates(site.workload, now.layers[site.places[0]].threads))
            if site.share >= _LEAST_SHARE
            else []
            for site in group
        }
        tried = _tried(network, now, choices, rng, raise_if_interrupted)
        now = now.with_layers(_layers(now, {site: trial.after for site, trial in tried.items() if trial.gain}))
        trials += tried.values()
        if on_trial:
            for trial in tried.values():
                on_trial(_since(_runs_by(model, trial.places[0]), trial, start))
    # Some of many trials are lucky. Where they began from the defaults, together they must be faster than those, too.
    if base is not model and any(trial.gain for trial in trials) and compared(base, now).gain.low <= 0:
        now, trials = base, [replace(trial, after=trial.before, gain=None) for trial in trials]
    trials = [_since(_runs_by(model, trial.places[0]), trial, start) for trial in trials]
    comparison = compared(model, now) if any(trial.gain for trial in trials) else None
    return Outcome(tuple(sorted(trials, key=lambda trial: -trial.share)), now, comparison)


def _since(first: Choice, trial: Trial, start: Comparison | None) -> Trial:
    """The trial as a change of what the layers ran by at first, before the network as a whole went back to defaults."""
    if first == trial.after:
        return replace(trial, before=first, gain=None)
    return replace(trial, before=first, gain=trial.gain or (start.gain if start else None))


def _sites(model: CompiledModel, calls: Sequence[Call]) -> list[_Site]:
    """Of every workload, the one that takes longest first."""
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


def _apart(sites: Sequence[_Site]) -> list[list[_Site]]:
    """Groups of sites that share no call; each site is in the first group that has room for it."""
    groups: list[list[_Site]] = []
    for site in sites:
        room = (group for group in groups if all(site.calls.isdisjoint(other.calls) for other in group))
        group = next(room, None)
        if group is None:
            groups.append([site])
        else:
            group.append(site)
    return groups


def _choices(model: CompiledModel, site: _Site, offered: Sequence[Candidate]) -> list[Choice]:
    """What the candidates come to, where that is something else than the layers run by now."""
    first = site.places[0]
    made = (_runs_by(model.with_layers({first: candidate.of(model.layers[first])}), first) for candidate in offered)
    return list(dict.fromkeys(choice for choice in made if choice != _runs_by(model, first)))


def _runs_by(model: CompiledModel, place: int) -> Choice:
    layer, schedule = model.layers[place], model.schedules()[place]
    if layer.workload is None:
        raise ValueError(f"layer {layer.name} has no workload")
    return Choice(layer.workload, schedule or Schedule("kernel", {}), layer.threads)


def _layers(model: CompiledModel, choices: Mapping[_Site, Choice]) -> dict[int, Layer]:
    """The layers that change, by their place."""
    return {
        place: replace(model.layers[place], schedule=choice.schedule, threads=choice.threads)
        for site, choice in choices.items()
        for place in site.places
    }


def _tried(
    network: Network,
    model: CompiledModel,
    choices: Mapping[_Site, Sequence[Choice]],
    rng: np.random.Generator,
    raise_if_interrupted: Callable[[], None],
) -> dict[_Site, Trial]:
    """What becomes of sites that lie apart."""
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
        now = _runs_by(model, site.places[0])
        after = max(faster, key=lambda choice: faster[choice].median, default=now)
        tried[site] = Trial(site.workload, site.places, site.share, len(offered), now, after, faster.get(after))
    return tried


def _turns(
    network: Network,
    model: CompiledModel,
    choices: Mapping[_Site, Sequence[Choice]],
    rng: np.random.Generator,
    raise_if_interrupted: Callable[[], None],
) -> dict[_Site, list[list[float]]]:
    """Seconds of each site's calls: as it runs now, then by each of its choices, a number a round.

    The k-th choices of all sites take their turn together. Once no site has use for its k-th any more, they are out.
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
    """Whether it was faster once at least."""
    return any(own < other for own, other in zip(secs, before, strict=True))


def _compared(
    before: CompiledModel,
    after: CompiledModel,
    inputs: Mapping[str, np.ndarray],
    secs: float,
    seed: int,
    raise_if_interrupted: Callable[[], None],
) -> Comparison:
    runs = {"before": lambda: before.run(inputs), "after": lambda: after.run(inputs)}
    samples = bench.measure(runs, secs, _VERIFYING_ROUNDS, seed, lambda _done: raise_if_interrupted())
    own, other = samples["after"], samples["before"]
    pairs = zip(own.rounds, other.rounds, strict=True)
    gain = median_interval([1 - median(own_secs) / median(other_secs) for own_secs, other_secs in pairs])
    return Comparison(other.latencies.median, own.latencies.median, gain)
