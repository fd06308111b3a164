"""What ``pytest benchmarks --benchmark`` measures, and about how long that takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import kernels
from benchmarks import models
from benchmarks.heading import plural
from benchmarks.layers.groups import Group
from benchmarks.layers.measure import SAMPLES, SLICE_SECS
from benchmarks.layers.shapes import Shape
from benchmarks.peers import PEERS
from benchmarks.whole_models import implementations
from benchmarks.whole_models.measure import WHOLE_MODELS
from compiler import runtimes

# Seconds on two cores of a shared server. They only make the estimate.
PROCESS_SECS = 1.5  # start of a process, inputs and answers, rooflines before and after
SAMPLE_SECS = 1.25 * SLICE_SECS + 0.003  # one sample: with the runs before it, and the wait for idle threads
BUILD_SECS, LOAD_SECS = 4.0, 2.5  # to build a model, and to load, check and warm up each implementation of it
TRIAL_SECS = 0.25  # one trial of a search


@dataclass(frozen=True)
class LayerRun:
    """One layer on one number of threads.

    Attributes:
        trials: the number of trials of a search before it.
    """

    group: Group
    shape: Shape
    threads: int
    trials: int = 0


@dataclass(frozen=True)
class ModelRun:
    """One whole model on one number of threads."""

    model: str
    threads: int


Run: TypeAlias = LayerRun | ModelRun


@dataclass(frozen=True)
class Plan:
    """All runs, in their order.

    Attributes:
        duration: seconds of timed runs per implementation of a model.
        records: the file of schedules that are measured in addition to the default ones; None: only default ones.
        complete: whether all layers were chosen, not the sample of each group.
    """

    runs: tuple[Run, ...]
    duration: float
    records: Path | None = None
    complete: bool = False

    @property
    def layers(self) -> list[LayerRun]:
        return [run for run in self.runs if isinstance(run, LayerRun)]

    @property
    def models(self) -> list[ModelRun]:
        return [run for run in self.runs if isinstance(run, ModelRun)]

    def secs(self, run: Run) -> float:
        """Returns an estimate of the seconds of a run; 0 if it will be skipped."""
        own = 1 if self.records is None else 2
        if isinstance(run, ModelRun):
            if models.missing(run.model):
                return 0.0
            return BUILD_SECS + (own + len(installed_runtimes())) * (LOAD_SECS + self.duration)
        if not supported(run.group):
            return 0.0
        samples = SAMPLES * (own + len(installed_peers(run.group)))
        return PROCESS_SECS + samples * SAMPLE_SECS + run.trials * TRIAL_SECS

    def lines(self) -> Iterator[str]:
        """Yields what is measured, how long it takes, and which options measure more."""
        if not self.runs:
            return
        yield f"measures {self._what()}, with {self._schedules()}: {about(sum(map(self.secs, self.runs)))}"
        yield from self._baselines()
        yield from self._skipped()
        if not self.complete:
            yield f"a fixed sample; --bench-all measures {self._everything()}"
        if self.records is None:
            yield "no search; --bench-trials N searches schedules first, N trials for each layer and number of threads"
            yield "no stored schedules; --bench-records FILE measures those of a file too"

    def _what(self) -> str:
        parts = []
        if layers := self.layers:
            count = plural(len({run.shape.name for run in layers}), "layer")
            parts += [f"{count} of {plural(len(self._groups()), 'group')}"]
        if self.models:
            parts += [plural(len({run.model for run in self.models}), "whole model")]
        counts = sorted({run.threads for run in self.runs})
        return f"{' and '.join(parts)} on {' and '.join(map(str, counts))} thread{'s' * (counts != [1])}"

    def _everything(self) -> str:
        count = sum(len(group.shapes(1)) for group in self._groups())
        parts = [f"all {count} layers of these groups"] if count else []
        parts += [f"{len(WHOLE_MODELS)} models"] if self.models else []
        return " and ".join(parts)

    def _groups(self) -> list[Group]:
        return list({run.group.name: run.group for run in self.layers}.values())

    def _schedules(self) -> str:
        if self.records is None:
            return "default schedules"
        trials = sum(run.trials for run in self.layers)
        after = f" after {plural(trials, 'trial')}" if trials else ""
        return f"default schedules and those of {self.records}{after}"

    def _baselines(self) -> Iterator[str]:
        peers = list(dict.fromkeys(peer for run in self.layers for peer in run.group.peers))
        reasons = {peer: PEERS[peer].missing() for peer in peers}
        if self.models:
            reasons |= {name: _not_installed(name) for name in implementations.PEERS}
        yield f"baselines: {', '.join(name for name, reason in reasons.items() if not reason) or 'none'}"
        yield from (f"without {name}: {reason}" for name, reason in reasons.items() if reason)

    def _skipped(self) -> Iterator[str]:
        for group in self._groups():
            if not supported(group):
                yield f"skipped, {group.name}: this CPU has no {group.dtype}"
        for name in dict.fromkeys(run.model for run in self.models):
            if reason := models.missing(name):
                yield f"skipped, {name}: {reason}"


def supported(group: Group) -> bool:
    """Returns whether this CPU has instructions for the data type of a group."""
    return group.dtype != "bfloat16" or kernels.multiplies_bfloat16()


def installed_peers(group: Group) -> list[str]:
    """Returns the baselines of a group that can run here."""
    return [peer for peer in group.peers if PEERS[peer].missing() is None]


def installed_runtimes() -> list[str]:
    """Returns the runtimes of whole models that can run here."""
    return [name for name in implementations.PEERS if _not_installed(name) is None]


def _not_installed(runtime: str) -> str | None:
    packages = [package for package in runtimes.RUNTIMES[runtime].PACKAGES if not runtimes.version(package)]
    return f"pip install {' '.join(packages)}" if packages else None


def about(secs: float) -> str:
    """Returns an approximate duration in words."""
    if secs < 90:
        return f"about {plural(max(1, round(secs)), 'second')}"
    return f"about {round(secs / 60)} minutes" if secs < 100 * 60 else f"about {secs / 3600:.1f} hours"
