"""One microarchitecture as one value: what a schedule is legal for and what a cost model learns from."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import kernels


@dataclass(frozen=True)
class Isa:
    """The register file an instruction set offers to float32 code."""

    vector_bits: int
    num_vector_registers: int


# The reference has no vectors; a 32-bit "vector" of one lane keeps every formula that divides by lanes true.
ISAS: Mapping[str, Isa] = {
    "avx512": Isa(vector_bits=512, num_vector_registers=32),
    "avx2": Isa(vector_bits=256, num_vector_registers=16),
    "reference": Isa(vector_bits=32, num_vector_registers=16),
}


@dataclass(frozen=True)
class Target:
    """A CPU, seen through one ISA, with the cores that a program may use on it.

    ``num_cores`` is the number of threads that programs for this target run on, so a record made on one core never
    answers a question about two. ``peak_gflops`` (all ``num_cores`` together) and ``bandwidth_gbs`` are measured
    figures, ``None`` until :meth:`measured` fills them in; they take no part in comparison, since two measurements of
    one machine never agree to the last digit.
    """

    name: str
    isa: str
    vector_bits: int
    num_vector_registers: int
    cache_bytes: tuple[int, ...]
    num_cores: int
    peak_gflops: float | None = dataclasses.field(default=None, compare=False)
    bandwidth_gbs: float | None = dataclasses.field(default=None, compare=False)

    @property
    def lanes(self) -> int:
        """float32 values in one vector register."""
        return self.vector_bits // 32

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The data types of our kernels on this ISA and this CPU."""
        return kernels.available_dtypes(self.isa)

    @classmethod
    def from_host(cls, isa: str | None = None, num_cores: int | None = None) -> Target:
        """The CPU this process runs on.

        ``isa`` defaults to the best that the CPU has, ``num_cores`` to every core that this process may use.

        Raises:
            ValueError: the ISA is unknown or this CPU lacks it, or ``num_cores`` is not in 1..available cores.
        """
        available = kernels.available_isas()
        isa = isa or available[0]
        if isa not in ISAS:
            raise ValueError(f"unknown isa {isa!r}; known: {', '.join(ISAS)}")
        if isa not in available:
            raise ValueError(f"this CPU has no {isa}; it has: {', '.join(available)}")
        usable = usable_cores()
        num_cores = usable if num_cores is None else num_cores
        if not 1 <= num_cores <= usable:
            raise ValueError(
                f"threads must be between 1 and {usable} (the cores this process may use), got {num_cores}"
            )
        features = ISAS[isa]
        return cls(
            name=kernels.cpu_name(),
            isa=isa,
            vector_bits=features.vector_bits,
            num_vector_registers=features.num_vector_registers,
            cache_bytes=kernels.cache_bytes(),
            num_cores=num_cores,
        )

    @classmethod
    def named(cls, name: str, num_cores: int | None = None) -> Target:
        """``"host"`` (the best ISA of this CPU) or the name of an ISA, seen on this CPU.

        Raises:
            ValueError: as :meth:`from_host`; the message lists what is possible.
        """
        if name != "host" and name not in ISAS:
            raise ValueError(f"unknown arch {name!r}; choose from: host, {', '.join(ISAS)}")
        return cls.from_host(isa=None if name == "host" else name, num_cores=num_cores)

    def measured(self) -> Target:
        """This target with ``peak_gflops`` and ``bandwidth_gbs`` measured now, on ``num_cores`` threads."""
        return dataclasses.replace(
            self,
            peak_gflops=kernels.peak_gflops(self.isa, self.num_cores),
            bandwidth_gbs=kernels.memory_bandwidth(self.num_cores),
        )

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"cache_bytes": list(self.cache_bytes)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Target:
        return cls(**{**fields, "cache_bytes": tuple(fields["cache_bytes"])})


def usable_cores() -> int:
    """Cores this process may run on (its affinity mask, not the machine's count)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
