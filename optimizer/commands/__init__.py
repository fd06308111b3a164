"""The commands of ``python -m optimizer``, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from optimizer.commands import quantize

COMMANDS: Mapping[str, ModuleType] = {"quantize": quantize}
