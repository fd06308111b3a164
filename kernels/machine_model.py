"""Machine models: the costs of one CPU, from which default schedules, numbers of threads and rooflines follow."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Literal, TypeAlias

from kernels import _native

# The memory that data comes from, nearest first; an index is a level.
Level: TypeAlias = Literal["L1", "L2", "L3", "memory"]
LEVELS: tuple[Level, ...] = ("L1", "L2", "L3", "memory")


class MachineModel:
    """The costs of the kernels, of loads and of threads on one CPU. A value: models with equal texts are equal.

    :meth:`host` is the model of this CPU: the one that ``python -m kernels.calibrate`` has measured for this user, else
    the one that comes with the library, else one that is computed from the sizes of the caches, the ports and the ISA.
    ``docs/machine.md`` describes what a model contains.
    """

    def __init__(self, native: Any) -> None:
        self.native = native

    @classmethod
    @functools.cache
    def host(cls) -> MachineModel:
        """Returns the model of this CPU. It is read once per process."""
        return cls(_native.MachineModel.host())

    @classmethod
    def interpolated(cls, cores: int = 1) -> MachineModel:
        """Returns a model that is computed from what this CPU reports, for a CPU that nobody has measured.

        Raises:
            ValueError: ``cores`` is not between 1 and 4096.
        """
        return cls(_native.MachineModel.interpolated(cores))

    @classmethod
    def built_in(cls) -> list[MachineModel]:
        """Returns the measured models that come with the library."""
        return [cls(native) for native in _native.MachineModel.built_in()]

    @classmethod
    def parse(cls, text: str) -> MachineModel:
        """Parses :attr:`text`. Costs that the text lacks are interpolated.

        Raises:
            ValueError: the text is not a machine model.
        """
        return cls(_native.MachineModel.parse(text))

    @classmethod
    def read(cls, path: Path) -> MachineModel:
        """Reads a file of :attr:`text`.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not a machine model.
        """
        try:
            return cls.parse(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not a machine model: {error}") from None

    @property
    def id(self) -> str:
        """A name without spaces: the CPU, the cores, how it was made, and a digest of all costs."""
        return self.native.id()

    @functools.cached_property
    def text(self) -> str:
        """All costs, one per line, with commas between the fields; :meth:`parse` returns an equal model."""
        return self.native.text()

    @property
    def cpu(self) -> str:
        """Vendor, family and model of the CPU."""
        return self.native.cpu

    @property
    def measured(self) -> bool:
        """Whether the costs were measured, and not computed from what the CPU reports."""
        return self.native.measured

    @property
    def cores(self) -> int:
        """The largest number of threads that was measured."""
        return self.native.cores

    @property
    def ghz(self) -> float:
        """The core clock in 1e9 cycles per second, which converts cycles to seconds."""
        return self.native.ghz

    def bandwidth_gbs(self, level: int, threads: int = 1) -> float:
        """Returns the bandwidth of all threads together in 1e9 bytes per second.

        Args:
            level: an index of LEVELS.
        """
        return self.native.bandwidth_per_thread(level, threads) * threads * self.ghz

    def fork_join_secs(self, threads: int) -> float:
        """Returns the seconds of a parallel region without work, on threads that are awake."""
        return self.native.fork_join_cycles(threads) / (self.ghz * 1e9)

    def floats_worth_a_thread(self) -> int:
        """Returns the floats that take one thread as long as a parallel region of two, by bandwidth alone."""
        return self.native.floats_worth_a_thread()

    def barrier_secs(self, threads: int) -> float:
        """Returns the seconds of a barrier, in which ``threads`` threads wait for each other."""
        return self.native.barrier_cycles(threads) / (self.ghz * 1e9)

    def tile_cycles(self, isa: str, dtype: str, rows: int, columns: int, k: float, level: int = 1) -> float:
        """Returns the cycles of a register tile for a sum over k, with its weights in a level; 0 without such a tile.

        Raises:
            ValueError: the model lacks the ISA and dtype, or no ISA has a tile of this size.
        """
        halves = -(-2 * columns // _native.lanes(isa, dtype))
        words = k / _native.tile_k(isa, dtype)
        return self.native.tile_cycles(isa, dtype, rows, halves, words, level)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MachineModel) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"MachineModel({self.id})"


def native_of(machine: MachineModel | None) -> Any:
    """Returns what the bindings take: None for the model of this CPU."""
    return None if machine is None else machine.native


def user_file() -> Path | None:
    """Returns the file for this CPU and number of cores in the user's cache folder, or None without a home folder."""
    name = _native.host_model_file()
    return Path(name) if name else None


def unreadable() -> str | None:
    """Returns why the model of the user's cache folder is ignored; None if it is used or missing."""
    return _native.host_model_error() or None
