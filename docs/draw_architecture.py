"""Draws ``docs/architecture.svg``: the packages in import order, and the two ways through them.

``python docs/draw_architecture.py`` writes the file; ``tests/test_architecture.py`` checks that it is up to date, that
every step names a function that exists, and that a real run takes the steps in this order.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs.packages import PACKAGES

FILE = Path(__file__).with_name("architecture.svg")

# Boxes of the first panel, from top to bottom: a row imports from the rows below it.
ROWS: tuple[tuple[str, ...], ...] = (
    ("autotune",),
    ("autotune.commands", "compiler.__main__"),
    ("autotune.searches", "compiler.commands"),
    ("autotune.runners", "autotune.strategies", "compiler.runtimes", "compiler"),
    ("autotune.backends", "autotune.cost_models", "compiler.build"),
    ("compiler.lowering", "compiler.convert"),
    ("compiler.tvm_backend",),
    ("compiler.program", "compiler.spaces"),
    ("compiler.measure", "graph_passes"),
    ("compiler.workloads",),
    ("kernels",),
)


@dataclass(frozen=True)
class Step:
    """One function on a way.

    Attributes:
        function: ``module:qualified name``.
        label: what it does to the workload or the model, in a few words.
    """

    function: str
    label: str

    @property
    def package(self) -> str:
        """The listed package whose name is the longest prefix of the module."""
        module = self.function.partition(":")[0]
        names = [p.name for p in PACKAGES if module == p.name or module.startswith(p.name + ".")]
        return max(names, key=len)


@dataclass(frozen=True)
class Way:
    """A value's way through the packages, there and back."""

    title: str
    there: tuple[Step, ...]
    back: tuple[Step, ...]
