"""How many threads run a loaded model, and on which cores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

from compiler.workloads.target import checked_threads
from kernels import Topology


def checked_cores(cores: Any) -> tuple[int, ...]:
    """Returns logical CPUs that a model may be bound to.

    Raises:
        ValueError: the list is empty, repeats a core, or has one that this process may not use.
    """
    if not isinstance(cores, Iterable):
        raise ValueError(f"cores must be a list of cores, got {cores!r}")
    usable = {cpu.id for cpu in Topology.read().cpus}
    found = tuple(int(core) if isinstance(core, Integral) else core for core in cores)
    distinct = len(set(map(str, found))) == len(found)
    if not found or not distinct or not all(isinstance(core, int) and core in usable for core in found):
        listed = ", ".join(map(str, sorted(usable)))
        raise ValueError(f"cores must be distinct ones of those that this process may use, {listed}; got {list(found)}")
    return found


def threads_here(built: int, threads: int | None = None, cores: Sequence[int] | None = None) -> int:
    """Returns the number of threads that run a saved model in this process.

    Args:
        built: the number that the model was built for.
        threads: the number that is wanted. None: one for each of ``cores``, as far as the CPU quota has time for them.
            Without ``cores``: as built, or the default of this machine if this process may not use as many.
        cores: as of :func:`checked_cores`.

    Raises:
        ValueError: this process may not use as many threads, or there are fewer cores.
    """
    if threads is not None:
        wanted = checked_threads(threads)
        if cores is not None and wanted > len(cores):
            raise ValueError(
                f"{wanted} threads need as many cores, got {len(cores)}; load(path, threads=N) takes another number"
            )
        return wanted
    topology = Topology.read()
    if cores is not None:
        return len(cores) if topology.quota is None else max(1, min(len(cores), int(topology.quota)))
    return built if built <= topology.most_threads else topology.default_threads


def placement_of(threads: int, cores: Sequence[int] | None = None) -> str:
    """Returns where threads run, such as ``"2 threads: 2 physical cores of 1 node"``."""
    if cores is None:
        return Topology.read().description(threads)
    used = ", ".join(map(str, cores))
    return f"{threads} thread{'s' * (threads != 1)}: core{'s' * (len(cores) != 1)} {used}, as given"
