"""What follows from the machine model of a target, and which model a command line uses."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import kernels
from compiler.workloads.target import Target
from kernels import MachineModel, machine_model

INTERPOLATED = "interpolated"  # in place of a file: the model of a CPU that nobody has measured

_K = 1024  # a sum long enough that the start of a tile does not matter
_L1 = machine_model.LEVELS.index("L1")
# As arguments of ``MachineModel.bandwidth_gbs``.
L3, MEMORY = map(machine_model.LEVELS.index, ("L3", "memory"))
_FMA = 2  # operations


def peak_flops(target: Target, dtype: str = "float32") -> float:
    """Returns the operations per second of one core of a target with the best register tile, all data in L1.

    Without register tiles, as for the reference kernels and for ISAs and data types that this CPU lacks, it is that of
    two FMAs per cycle.
    """
    return _flops_per_cycle(target.model, target.isa, dtype, target.lanes) * target.model.ghz * 1e9


@lru_cache
def _flops_per_cycle(model: MachineModel, isa: str, dtype: str, lanes: int) -> float:
    known = isa in kernels.available_isas() and dtype in kernels.available_dtypes(isa)
    tiles = kernels.register_tiles(isa, dtype) if known else ()

    def cycles(rows: int, columns: int) -> float:
        ends = [model.tile_cycles(isa, dtype, rows, columns, k, _L1) for k in (_K, 2 * _K)]
        return ends[1] - ends[0]

    rates = [_FMA * rows * columns * _K / taken for rows, columns in tiles if (taken := cycles(rows, columns)) > 0]
    return max(rates, default=float(2 * _FMA * lanes))


def notices(target: Target) -> list[str]:
    """Returns lines for the user about the machine model of a target: which one it is, and if it is that of this CPU,
    whether its file is ignored and whether it is measured.
    """
    named = f"Machine model: {target.model.id}"
    if target.model != MachineModel.host():
        return [named]
    return [named, *_about_host()]


def _about_host() -> list[str]:
    ignored = machine_model.unreadable()
    lines = [ignored] if ignored else []
    if not MachineModel.host().measured:
        lines.append(
            "schedules follow from an interpolated model of this CPU; `python -m kernels.calibrate` measures it in 20 s"
        )
    return lines


def with_machine(target: Target, name: str | None) -> Target:
    """Returns a target with the model of a file, or the interpolated one of this CPU for ``"interpolated"``.

    Args:
        name: the file or ``"interpolated"``; None leaves the target as it is.

    Raises:
        ValueError: the file cannot be read, or is not a machine model.
    """
    return target if name is None else replace(target, machine=model_named(name))


def model_named(name: str) -> MachineModel:
    """Returns the model of a file, or the interpolated one of this CPU for ``"interpolated"``.

    Raises:
        ValueError: the file cannot be read, or is not a machine model.
    """
    if name == INTERPOLATED:
        return MachineModel.interpolated(MachineModel.host().cores)
    try:
        return MachineModel.read(Path(name))
    except OSError as error:
        raise ValueError(f"cannot read the machine model {name}: {error.strerror}") from None
