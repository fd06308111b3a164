"""The predicted time of a program on many cores, from shares that were measured on one core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.scaling.simulated import Call
from kernels import MachineModel
from kernels.machine_model import LEVELS

# The targets of a layer: work inflation, and imbalance if it uses all threads.
MOST_INFLATION, MOST_IMBALANCE = 1.05, 1.10


@dataclass(frozen=True)
class Costs:
    """What threads cost.

    Attributes:
        about: where the costs come from.
        fork_join_secs: seconds of a parallel region without work, by its number of shares.
        memory_gbs: 1e9 bytes per second that a number of threads together read from memory.
    """

    about: str
    fork_join_secs: Callable[[int], float]
    memory_gbs: Callable[[int], float]


def costs_of(machine: MachineModel) -> Costs:
    """Returns the costs of a machine model."""
    how = "measured" if machine.measured else "interpolated, not measured"
    memory = LEVELS.index("memory")
    about = f"machine model {machine.id} ({how})"
    return Costs(about, machine.fork_join_secs, lambda threads: machine.bandwidth_gbs(memory, threads))


def with_fork_join(costs: Costs, first_secs: float, each_secs: float) -> Costs:
    """Returns costs with another price of a region: the first other thread, and each further one."""

    def fork_join(threads: int) -> float:
        return 0.0 if threads <= 1 else first_secs + each_secs * (threads - 2)

    about = f"{first_secs * 1e6:g} µs for two threads and {each_secs * 1e6:g} µs for each further one"
    return Costs(f"fork and join assumed: {about}; memory of {costs.about}", fork_join, costs.memory_gbs)


def predicted_secs(call: Call, costs: Costs) -> float:
    """Returns the seconds of a call whose shares each have a core.

    The longest share of each region, but no less than all bytes from memory take; the fork and join of each region
    with all its shares; and what is outside of regions.
    """
    threads = max(map(len, call.regions), default=1)
    memory = (call.traffic or {}).get("memory", 0) / (costs.memory_gbs(threads) * 1e9)
    joins = sum(costs.fork_join_secs(len(shares)) for shares in call.regions)
    return max(call.longest_secs, memory) + joins


@dataclass(frozen=True)
class Prediction:
    """A whole program on a number of threads.

    Attributes:
        one_secs: the calls of the program for one thread.
        work_secs: all shares together.
        longest_secs: the longest shares and what is outside of regions, without costs of threads.
        serial_secs: what is outside of regions.
        join_secs: forks and joins.
        secs: the prediction.
        regions: the number of parallel regions, each with one barrier at its end.
    """

    threads: int
    one_secs: float
    work_secs: float
    longest_secs: float
    serial_secs: float
    join_secs: float
    secs: float
    regions: int

    @property
    def speedup(self) -> float:
        return self.one_secs / self.secs

    @property
    def inflation(self) -> float:
        return self.work_secs / self.one_secs


def predict(one: Iterable[Call], calls: Sequence[Call], threads: int, costs: Costs) -> Prediction:
    """Predicts a program from its calls, and from those of the program for one thread."""
    return Prediction(
        threads,
        sum(call.work_secs for call in one),
        sum(call.work_secs for call in calls),
        sum(call.longest_secs for call in calls),
        sum(call.serial_secs for call in calls),
        sum(costs.fork_join_secs(len(shares)) for call in calls for shares in call.regions),
        sum(predicted_secs(call, costs) for call in calls),
        sum(len(call.regions) for call in calls),
    )


def one_thread_secs(one: Iterable[Call]) -> dict[str, float]:
    """Returns the seconds of each call on one thread, by name."""
    return {call.name: call.work_secs for call in one}


def within(call: Call, one_secs: float | None, threads: int) -> bool:
    """Returns whether a layer reaches the targets: work inflation, and imbalance unless it uses fewer threads.

    Work inflation is that over the one-thread program, if that has the same layer.
    """
    inflated = one_secs is not None and call.work_secs > MOST_INFLATION * one_secs
    return not inflated and (call.threads < threads or call.imbalance <= MOST_IMBALANCE)


def largest_error(predicted: Mapping[int, float], known: Mapping[int, float]) -> float:
    """Returns the largest difference of speed-ups, relative to the known one, over the numbers of threads of both.

    Args:
        predicted, known: speed-ups over one thread by number of threads.

    Raises:
        ValueError: no number of threads is in both.
    """
    both = [threads for threads in known if threads > 1 and threads in predicted]
    if not both:
        raise ValueError("the curve has no number of threads that was simulated")
    return max(abs(predicted[threads] / known[threads] - 1) for threads in both)
