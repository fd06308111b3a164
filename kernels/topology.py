"""The CPUs that this process may use, and how many threads are worth running on them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kernels import _native


@dataclass(frozen=True)
class Cpu:
    """A logical CPU.

    Attributes:
        id: its number in the system.
        core: the smallest number of the CPUs of its physical core.
        node: its NUMA node.
        efficiency: whether it is of an efficiency core, where the CPU has faster ones too.
    """

    id: int
    core: int
    node: int
    efficiency: bool


class Topology:
    """The CPUs that a process may use. A value, as :meth:`read` found it.

    Attributes:
        cpus: by number.
        quota: the CPU time of the control group, in CPUs; None without a limit.
    """

    def __init__(self, native: Any) -> None:
        self._native = native
        self.cpus: tuple[Cpu, ...] = tuple(Cpu(*fields) for fields in native.cpus)
        self.quota: float | None = native.quota

    @classmethod
    def read(cls, root: str | os.PathLike[str] = "", cpus: Iterable[int] | None = None) -> Topology:
        """Reads ``/sys`` and ``/proc`` below a folder.

        Args:
            root: the folder; the system's own by default.
            cpus: the logical CPUs that may be used. None: those of the affinity mask of the calling thread.

        Raises:
            ValueError: ``cpus`` is empty, repeats a CPU or has a negative number.
        """
        return cls(_native.Topology.read(os.fspath(root), None if cpus is None else list(cpus)))

    @property
    def most_threads(self) -> int:
        """The largest number of threads that is accepted: one per CPU, at most the quota rounded up."""
        return self._native.most_threads()

    @property
    def default_threads(self) -> int:
        """The number of threads if none is given; see ``docs/machine.md``. At least 1."""
        return self._native.default_threads()

    @property
    def order(self) -> tuple[int, ...]:
        """The numbers of all CPUs, in the order in which threads use them."""
        return tuple(self._native.order())

    def cpus_for(self, threads: int) -> tuple[int, ...]:
        """Returns the CPUs of a number of threads, fewer if there are not as many."""
        return tuple(self._native.cpus_for(threads))

    def description(self, threads: int) -> str:
        """Returns where so many threads run, such as ``"2 threads: 2 physical cores of 1 node"``."""
        return self._native.description(threads)


def usable_cores() -> int:
    """Returns ``Topology.read().most_threads``, which takes longer."""
    return _native.usable_cores()
