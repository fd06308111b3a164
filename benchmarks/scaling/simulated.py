"""The calls of a program with their shares, which run one by one on one core (``kernels.simulation``).

Each quantity is the least of many runs, because other processes only add time. The programs take turns, so that a
change of the clock affects all of them alike.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

import kernels
from compiler.measure.levels import Level, holder
from compiler.measure.roofline import Rooflines, in_network
from compiler.program.compiled_model import CompiledModel
from compiler.program.profile import SEGMENT, CallTimes
from compiler.workloads.layer import Layer
from kernels.simulation import Region, simulated_shares

RUNS = 3  # of a program in each turn
# A share below this part of the longest one of its region has nothing to do: an empty one takes about 50 ns.
IDLE = 0.05

Shares: TypeAlias = tuple[float, ...]
# The calls of a program over some runs, and the regions of each of these runs.
Turn: TypeAlias = tuple[list[CallTimes], list[list[Region]]]


@dataclass(frozen=True)
class Call:
    """One call of a program: a kernel, a generated function or a segment of ONNX Runtime.

    Attributes:
        name: of the layer or function; equal names of a program have a number behind them.
        op: the kind of layer, ``"generated"`` or ``"segment"``.
        serial_secs: seconds outside parallel regions.
        regions: the seconds of the shares of each parallel region.
        traffic: bytes that a run must move, by level; empty where they are unknown.
    """

    name: str
    op: str
    serial_secs: float
    regions: tuple[Shares, ...] = ()
    traffic: Mapping[Level, int] | None = None

    @property
    def work_secs(self) -> float:
        """Seconds of all shares and of what is outside regions."""
        return self.serial_secs + sum(map(sum, self.regions))

    @property
    def longest_secs(self) -> float:
        """Seconds if all shares of a region ran at the same time, without any cost of threads."""
        return self.serial_secs + sum(map(max, self.regions))

    @property
    def threads(self) -> int:
        """The largest number of shares of a region that have something to do."""
        return max((len(busy(shares)) for shares in self.regions), default=1)

    @property
    def imbalance(self) -> float:
        """The longest share divided by the mean of those that have something to do, over all regions."""
        mean = sum(sum(busy(shares)) / len(busy(shares)) for shares in self.regions)
        return sum(map(max, self.regions)) / mean if mean else 1.0


def busy(shares: Shares) -> Shares:
    """Returns the shares that have something to do."""
    return tuple(secs for secs in shares if secs >= IDLE * max(shares)) or shares


def measured(
    programs: Mapping[int, CompiledModel], inputs: Mapping[str, np.ndarray], duration: float, alone: bool = False
) -> dict[int, list[Call]]:
    """Returns the calls of programs by number of threads.

    Shares that follow each other on one core find in its caches what the share before has read. ``alone`` measures each
    share in runs that leave out all others, so that L1 and L2 have only its data, as on a separate core.

    Args:
        programs: by number of threads.
        inputs: the inputs of each.
        duration: seconds per program, with at least two turns.
        alone: whether each share runs alone.

    Raises:
        RuntimeError: the runs of a program differ in their regions.
    """
    found: dict[int, list[Turn]] = {threads: [] for threads in programs}
    start, turns = time.perf_counter(), 0
    while turns < 2 or time.perf_counter() - start < duration * len(programs):
        for threads, program in programs.items():
            found[threads].append(_alone(program, inputs) if alone and threads > 1 else _turn(program, inputs, None))
        turns += 1
    return {threads: list(_calls(program, found[threads])) for threads, program in programs.items()}


def _turn(program: CompiledModel, inputs: Mapping[str, np.ndarray], only: int | None) -> Turn:
    with simulated_shares(only) as regions:
        calls = program.call_secs(inputs, RUNS)
    return calls, _by_run(regions, RUNS + 1)[1:]


def _alone(program: CompiledModel, inputs: Mapping[str, np.ndarray]) -> Turn:
    """Returns a turn whose shares come from one turn for each share; what is outside of regions from the first one."""
    turns = [_turn(program, inputs, only) for only in range(program.target.num_cores)]
    runs = [
        [
            Region(same[0].threads, tuple(map(sum, zip(*(region.share_secs for region in same), strict=True))))
            for same in zip(*(of_turn[run] for _, of_turn in turns), strict=True)
        ]
        for run in range(RUNS)
    ]
    calls, first = [], 0
    for call in turns[0][0]:
        own = slice(first, first + call.regions)
        first += call.regions
        left_out = [_secs(runs[run][own]) - _secs(turns[0][1][run][own]) for run in range(RUNS)]
        calls.append(call._replace(secs=tuple(map(sum, zip(call.secs, left_out, strict=True)))))
    return calls, runs


def _secs(regions: Sequence[Region]) -> float:
    return sum(sum(region.share_secs) for region in regions)


def _by_run(regions: Sequence[Region], runs: int) -> list[list[Region]]:
    count, rest = divmod(len(regions), runs)
    found = [list(regions[run * count : (run + 1) * count]) for run in range(runs)]
    shapes = {tuple(region.threads for region in of_run) for of_run in found}
    if rest or len(shapes) > 1:
        raise RuntimeError("the runs of a program differ in their parallel regions, so they cannot be compared")
    return found


def _calls(program: CompiledModel, turns: Sequence[Turn]) -> Iterator[Call]:
    """Yields the calls except those of the virtual machine, most of which a run leaves out after the first."""
    traffic = traffic_of(program.layers, program.target.num_cores)
    names: Counter[str] = Counter()
    first = 0
    for place, call in enumerate(turns[0][0]):
        own = slice(first, first + call.regions)
        first += call.regions
        runs = [regions[own] for _, of_turn in turns for regions in of_turn]
        secs = [each for calls, _ in turns for each in calls[place].secs]
        if call.function.startswith("vm."):
            continue
        shares = tuple(_least([regions[index].share_secs for regions in runs]) for index in range(call.regions))
        serial = min(whole - _secs(regions) for whole, regions in zip(secs, runs, strict=True))
        name, op, moved = _about(program.layers, call, traffic)
        names[name] += 1
        yield Call(name if names[name] == 1 else f"{name} #{names[name]}", op, max(0.0, serial), shares, moved)


def _about(
    layers: Sequence[Layer], call: CallTimes, traffic: Sequence[Mapping[Level, int]]
) -> tuple[str, str, Mapping[Level, int] | None]:
    if call.function == SEGMENT:
        return f"segment {call.layer}", "segment", None
    if call.layer is None:
        return call.function, "generated", None
    layer = layers[call.layer]
    return layer.name or f"{layer.op} {call.layer}", layer.op, traffic[call.layer]


def _least(samples: Sequence[Shares]) -> Shares:
    return tuple(map(min, zip(*samples, strict=True)))


def traffic_of(layers: Sequence[Layer], threads: int) -> list[dict[Level, int]]:
    """Returns the bytes that a run of each layer must move by level, with the caches of this CPU per core."""
    weights = holder(Rooflines("", layers).weight_bytes, threads, kernels.cache_bytes())
    found: list[dict[Level, int]] = []
    for layer in layers:
        chained: Level | None = "L2" if len(layer.workloads) > 1 else None
        parts = [in_network(work, threads, weights, chained) for work in layer.workloads]
        levels: dict[Level, int] = {}
        for part in parts:
            for level, count in part.items():
                levels[level] = levels.get(level, 0) + count
        found.append(levels)
    return found
