"""Hand-made machine models: the interpolated one of this CPU with other costs, so nothing depends on a calibration."""

from __future__ import annotations

from collections.abc import Mapping

from kernels import MachineModel

CORES = 2


def edited(lines: Mapping[str, str]) -> MachineModel:
    """Returns the model with other lines, by what their text begins with."""
    text = MachineModel.interpolated(CORES).text.splitlines()
    for start in lines:
        assert any(line.startswith(f"{start},") for line in text), start
    changed = [next((new for start, new in lines.items() if line.startswith(f"{start},")), line) for line in text]
    return MachineModel.parse("\n".join(changed) + "\n")


def favoring(rows: int) -> MachineModel:
    """Returns the model in which register tiles of other numbers of rows take 100 times as long."""

    def slower(line: str) -> str:
        kind, *fields = line.split(",")
        if kind != "tile" or int(fields[0]) == rows:
            return line
        return ",".join(("tile", *fields[:2], *(f"{100 * float(field):g}" for field in fields[2:])))

    return MachineModel.parse("\n".join(map(slower, MachineModel.interpolated(CORES).text.splitlines())) + "\n")
