"""The commands of ``python -m optimizer``, by name."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.commands.command_line import Command
from optimizer.commands import distill, prune, quantize, search

COMMANDS: Mapping[str, Command] = {"distill": distill, "prune": prune, "quantize": quantize, "search": search}
