"""Targets: one microarchitecture as a value, for the legality of schedules and as input of cost models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import kernels
from kernels import MachineModel, Topology, usable_cores


@dataclass(frozen=True)
class Isa:
    """The vector registers of an instruction set."""

    vector_bits: int
    num_vector_registers: int


# The reference has no vectors. A 32-bit "vector" of one lane keeps formulas valid that divide by lanes.
ISAS: Mapping[str, Isa] = {
    "avx512": Isa(vector_bits=512, num_vector_registers=32),
    "avx2": Isa(vector_bits=256, num_vector_registers=16),
    "reference": Isa(vector_bits=32, num_vector_registers=16),
}


# Independent accumulators that hide the latency of an FMA (4 cycles) at two FMAs per cycle, the most of CPUs with these
# instruction sets. A CPU with one FMA per cycle needs half as many, and more do no harm.
FMA_CHAINS = 8


@dataclass(frozen=True)
class Target:
    """A CPU with one ISA and a number of cores.

    ``num_cores`` is the number of threads of programs for this target, so records of one core do not apply to two
    cores. ``peak_gflops`` (of all ``num_cores`` together) and ``bandwidth_gbs`` are measured; they are None until
    :meth:`measured` sets them. ``machine`` has the costs from which default schedules and numbers of threads follow;
    None means those of this CPU. Comparisons ignore these three, since two measurements are never exactly equal.
    """

    name: str
    isa: str
    vector_bits: int
    num_vector_registers: int
    cache_bytes: tuple[int, ...]
    num_cores: int
    peak_gflops: float | None = dataclasses.field(default=None, compare=False)
    bandwidth_gbs: float | None = dataclasses.field(default=None, compare=False)
    machine: MachineModel | None = dataclasses.field(default=None, compare=False)

    @property
    def lanes(self) -> int:
        """The number of float32 values in a vector register."""
        return self.vector_bits // 32

    @property
    def model(self) -> MachineModel:
        """``machine``, or the model of this CPU."""
        return MachineModel.host() if self.machine is None else self.machine

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The data types of our kernels on this ISA and this CPU."""
        return kernels.available_dtypes(self.isa)

    @property
    def multiplies_bfloat16(self) -> bool:
        """Whether this CPU has instructions for products of bfloat16 on this ISA."""
        return kernels.multiplies_bfloat16(self.isa)

    @classmethod
    def from_host(cls, isa: str | None = None, num_cores: int | None = None) -> Target:
        """Returns the target of the CPU that this process runs on.

        ``isa`` defaults to the best ISA of the CPU, ``num_cores`` to ``Topology.default_threads``.

        Raises:
            ValueError: the ISA is unknown, this CPU lacks it, or ``num_cores`` exceeds the available cores.
        """
        available = kernels.available_isas()
        isa = isa or available[0]
        if isa not in ISAS:
            raise ValueError(f"unknown isa {isa!r}; known: {', '.join(ISAS)}")
        if isa not in available:
            raise ValueError(f"this CPU has no {isa}; it has: {', '.join(available)}")
        num_cores = default_threads() if num_cores is None else checked_threads(num_cores)
        features = ISAS[isa]
        return cls(
            name=kernels.cpu_name(),
            isa=isa,
            vector_bits=features.vector_bits,
            num_vector_registers=features.num_vector_registers,
            cache_bytes=kernels.cache_bytes(),
            num_cores=num_cores,
            machine=MachineModel.host(),
        )

    @classmethod
    def named(cls, name: str, num_cores: int | None = None) -> Target:
        """Returns the target of this CPU for ``"host"`` (its best ISA) or the name of an ISA.

        Raises:
            ValueError: as :meth:`from_host`; the message lists what is possible.
        """
        if name != "host" and name not in ISAS:
            raise ValueError(f"unknown arch {name!r}; choose from: host, {', '.join(ISAS)}")
        return cls.from_host(isa=None if name == "host" else name, num_cores=num_cores)

    def measured(self) -> Target:
        """Returns a copy with ``peak_gflops`` and ``bandwidth_gbs`` as measured now, on ``num_cores`` threads."""
        return dataclasses.replace(
            self,
            peak_gflops=kernels.peak_gflops(self.isa, self.num_cores),
            bandwidth_gbs=kernels.memory_bandwidth(self.num_cores),
        )

    def on_machine(self, text: str | None) -> Target:
        """Returns a copy whose machine model has this text; None: the model of this CPU.

        Raises:
            ValueError: the text is not a machine model.
        """
        return dataclasses.replace(self, machine=MachineModel.host() if text is None else MachineModel.parse(text))

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON. ``machine`` is its id, or None."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        machine = None if self.machine is None else self.machine.id
        return fields | {"cache_bytes": list(self.cache_bytes), "machine": machine}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Target:
        """Parses :meth:`to_json`. ``machine`` is None unless it is the id of this CPU's model or of a built-in one."""
        machine = _known_machine(fields.get("machine"))
        return cls(**{**fields, "cache_bytes": tuple(fields["cache_bytes"]), "machine": machine})


def default_threads() -> int:
    """Returns ``kernels.Topology.read().default_threads``."""
    return Topology.read().default_threads


def checked_threads(threads: int) -> int:
    """Returns a number of threads that this process may run.

    Raises:
        ValueError: it is below 1, or above the usable CPUs or the CPU quota rounded up.
    """
    most = usable_cores()
    if not isinstance(threads, Integral) or not 1 <= threads <= most:
        raise ValueError(f"threads must be between 1 and {most} (the cores this process may use), got {threads}")
    return int(threads)


def _known_machine(name: Any) -> MachineModel | None:
    if name is None:
        return None
    if not isinstance(name, str):
        raise TypeError(f"machine is {name!r:.80}, not the id of a machine model")
    return next((model for model in (MachineModel.host(), *MachineModel.built_in()) if model.id == name), None)
