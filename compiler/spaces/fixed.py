"""The space of a kernel without a schedule: one schedule, without decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compiler.spaces.base import KernelSpace
from compiler.workloads.schedule import Decision


class FixedKernelSpace(KernelSpace):
    """The space of one empty schedule. A search measures the kernel without changing it."""

    def _decisions(self) -> tuple[Decision, ...]:
        return ()

    def _is_worth_building(self, values: Mapping[str, Any]) -> bool:
        return not values

    def _default_values(self) -> Mapping[str, Any]:
        return {}
