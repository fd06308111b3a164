"""The commands of ``python -m compiler``: one module each, and one line in ``COMMANDS``.

``command_line``, ``options`` and ``output`` have what commands of other packages use too: the parser, options with the
same meaning everywhere, tables and progress.
"""

from __future__ import annotations

from collections.abc import Mapping

from compiler.commands import bench, build, profile, run
from compiler.commands.command_line import Command

COMMANDS: Mapping[str, Command] = {"build": build, "run": run, "bench": bench, "profile": profile}
