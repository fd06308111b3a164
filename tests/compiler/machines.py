"""Hand-made machine models: the interpolated one of this CPU with other costs, so nothing depends on a calibration."""

from __future__ import annotations

from kernels import MachineModel
from tests.kernels.machine_models import edited


def favoring(rows: int) -> MachineModel:
    """Returns the model in which register tiles of other numbers of rows take 100 times as long."""

    def slower(fields: list[str]) -> list[str]:
        if fields[0] != "tile" or int(fields[1]) == rows:
            return fields
        return [*fields[:3], *(f"{100 * float(field):g}" for field in fields[3:])]

    return edited(slower)
