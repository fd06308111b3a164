"""Machine models as lines of text, for tests that change some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import kernels

VECTOR_ISAS = [isa for isa in kernels.available_isas() if isa != "reference"]
LANES = {"avx512": 16, "avx2": 8}


def edited(edit: Callable[[list[str]], list[str]], cores: int = 2) -> kernels.MachineModel:
    """Returns the interpolated model, with the fields of each line replaced by ``edit(fields)``."""
    lines = kernels.MachineModel.interpolated(cores).text.splitlines()
    return kernels.MachineModel.parse("\n".join(",".join(edit(line.split(","))) for line in lines) + "\n")


def with_lines(lines: Mapping[str, str], cores: int = 2) -> kernels.MachineModel:
    """Returns the interpolated model with other lines: what follows their first fields, such as ``bandwidth,l3``."""
    missing = set(lines)

    def changed(fields: list[str]) -> list[str]:
        for name in (fields[0], ",".join(fields[:2])):
            if name in lines:
                missing.discard(name)
                return [name, lines[name]]
        return fields

    model = edited(changed, cores)
    assert not missing, missing
    return model
