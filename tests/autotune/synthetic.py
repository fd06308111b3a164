"""A space whose run times are a formula: nothing is built, and its optimum is known by listing it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import Any

from compiler.workloads.records import Measurement, Record
from compiler.workloads.schedule import Decision, Program, Schedule, ScheduleSpace
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

TARGET = Target("synthetic", "avx512", 512, 32, (48 << 10, 2 << 20, 32 << 20), 1)
WORKLOAD = Workload.dense(512, 512, 512)


class SyntheticSpace(ScheduleSpace):
    """Six decisions of six choices each, like a blocked matrix product.

    Register tiles must fit the registers and two blocks the cache (legality); the run time has its optimum where both
    are well filled, the loop order fits the blocks and the prefetch distance fits the order (interactions).
    """

    backend = "synthetic"
    workload = WORKLOAD
    target = TARGET
    decisions = (
        Decision("rows", (1, 2, 4, 8, 14, 28)),
        Decision("columns", (1, 2, 3, 4, 6, 8)),
        Decision("block_m", (16, 32, 64, 128, 256, 512)),
        Decision("block_k", (16, 32, 64, 128, 256, 512)),
        Decision("order", ("mnk", "mkn", "nmk", "nkm", "kmn", "knm")),
        Decision("prefetch", (0, 1, 2, 4, 8, 16)),
    )

    def is_legal(self, schedule: Schedule) -> bool:
        v: Mapping[str, Any] = schedule.values
        registers = v["rows"] * v["columns"] + v["columns"] + 1
        return registers <= 32 and v["block_m"] * v["block_k"] <= 1 << 15 and v["block_m"] >= v["rows"]

    def default(self) -> Schedule:
        return self.schedule((1, 1, 1, 1, 0, 0))

    def build(self, schedule: Schedule) -> Program:
        raise NotImplementedError("a synthetic schedule has a run time, but no program")

    def secs(self, schedule: Schedule) -> float:
        v: Mapping[str, Any] = schedule.values
        rows, columns = v["rows"], v["columns"]
        loads = (rows + columns) / (rows * columns)  # loads a multiply-add
        latency = max(1.0, 8 / (rows * columns)) ** 0.5  # too few accumulators cannot hide the latency
        panel = abs(math.log2(v["block_k"] * columns) - 9) * 0.08
        block = abs(math.log2(v["block_m"] * v["block_k"]) - 14) * 0.07
        order = {"mnk": 0.10, "mkn": 0.20, "nmk": 0.0, "nkm": 0.15, "kmn": 0.35, "knm": 0.30}[v["order"]]
        if v["order"] == "kmn" and v["block_k"] == 512:
            order = 0.05
        best_prefetch = {"m": 1, "n": 3, "k": 4}[v["order"][0]]
        prefetch = abs(self.decisions[5].choices.index(v["prefetch"]) - best_prefetch) * 0.04
        return 1e-3 * latency * (1 + 2 * loads + panel + block + order + prefetch)

    def record(self, schedule: Schedule) -> Record:
        return Record(self.workload, self.target, schedule, Measurement((self.secs(schedule),)))

    @cached_property
    def optimum_secs(self) -> float:
        return min(self.secs(s) for s in every(self))


class TinySpace(SyntheticSpace):
    """Few schedules, most of them illegal."""

    decisions = (Decision("a", (1, 2, 3)), Decision("b", (False, True)), Decision("c", ("x", "y")))

    def is_legal(self, schedule: Schedule) -> bool:
        return schedule.values["a"] != 2 or schedule.values["b"] is True

    def default(self) -> Schedule:
        return self.schedule((0, 0, 0))

    def secs(self, schedule: Schedule) -> float:
        v: Mapping[str, Any] = schedule.values
        return 1e-3 * v["a"] * (2 if v["b"] else 1)


def every(space: ScheduleSpace) -> Sequence[Schedule]:
    schedules = map(space.schedule, product(*(range(len(d.choices)) for d in space.decisions)))
    return [s for s in schedules if space.is_legal(s)]


class EmptySpace(SyntheticSpace):
    """Nothing to decide: one empty schedule."""

    decisions = ()

    def is_legal(self, schedule: Schedule) -> bool:
        return not schedule.values

    def default(self) -> Schedule:
        return self.schedule(())

    def secs(self, schedule: Schedule) -> float:  # noqa: ARG002
        return 1e-3
