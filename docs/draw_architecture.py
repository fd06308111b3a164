"""Draws ``docs/architecture.svg``: the packages in import order, and the two ways through them.

``python docs/draw_architecture.py`` writes the file; ``tests/test_architecture.py`` checks that it is up to date, that
every step names a function that exists, and that a real run takes the steps in this order.
"""

from __future__ import annotations

import itertools
import sys
import textwrap
from dataclasses import dataclass
from html import escape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs.packages import PACKAGES

FILE = Path(__file__).with_name("architecture.svg")

# Boxes of the first panel, from top to bottom: a row imports from the rows below it.
ROWS: tuple[tuple[str, ...], ...] = (
    ("autotune",),
    ("autotune.commands", "optimizer", "serving", "compiler.__main__"),
    ("autotune.searches", "compiler.commands"),
    ("autotune.runners", "autotune.strategies", "compiler.runtimes", "compiler"),
    ("autotune.backends", "autotune.cost_models", "compiler.build"),
    ("compiler.ranged", "compiler.check", "compiler.convert", "compiler.tuning"),
    ("compiler.lowering",),
    ("compiler.tvm_backend",),
    ("compiler.partition",),
    ("compiler.program", "compiler.spaces"),
    ("compiler.measure", "compiler.sizes", "graph_passes"),
    ("compiler.installation", "compiler.workloads"),
    ("kernels", "serving.worker"),
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
    """The path of a value through the packages and back."""

    title: str
    there: tuple[Step, ...]
    back: tuple[Step, ...]


WAYS: tuple[Way, ...] = (
    Way(
        "A workload, from the command line to the kernel and back to the record",
        there=(
            Step("autotune.commands.arguments:operator_options", "the text of --shape becomes a Workload"),
            Step("autotune.backends:space", "its ScheduleSpace, by backend"),
            Step("autotune.searches.tuning:search_workload", "a strategy proposes Schedules"),
            Step("autotune.runners.trial:Bench.measure", "a worker verifies, then times"),
            Step("compiler.spaces.base:KernelSpace.build", "the Schedule made runnable"),
            Step("kernels.dense:Dense.__call__", "packed weights, C++ kernel"),
        ),
        back=(
            Step("kernels.packed_layer:PackedLayer.time", "seconds per run"),
            Step("compiler.spaces.base:_KernelProgram.time", "samples, with cold weights where a network has them"),
            Step("autotune.runners.trial:Bench.measure", "Measurement: samples, or the reason of a failure"),
            Step("compiler.workloads.database:Records.add", "Record: Workload, Target, Schedule, Measurement"),
        ),
    ),
    Way(
        "A model, from build to the running program",
        there=(
            Step("compiler.build:build", "path, ModelProto or torch module"),
            Step("graph_passes:optimize", "ONNX to ONNX with less work"),
            Step("compiler.lowering.lower:lower", "recognize, choose, rewrite: kernel calls and Layers"),
            Step("compiler.tvm_backend.compile:compile_model", "Relax module, generated code, executable"),
            Step("compiler.program.compiled_model:CompiledModel.__init__", "CompiledModel; C++ packs the weights"),
        ),
        back=(Step("compiler.program.compiled_model:CompiledModel.run", "outputs by name"),),
    ),
)

# Sizes in pixels.
WIDTH, MARGIN, BOX_HEIGHT, ROW_GAP = 1180, 24, 46, 22
STEP_WIDTH, STEP_HEIGHT, STEP_GAP = 172, 62, 16
FONT = "font-family='DejaVu Sans, Helvetica, Arial, sans-serif'"
COLORS = {
    "kernels": "#d9ead3",
    "graph_passes": "#fff2cc",
    "compiler": "#dae8fc",
    "optimizer": "#fbe0c8",
    "serving": "#e1d5e7",
    "autotune": "#f8d7e6",
}


def picture() -> str:
    """Returns the picture as SVG."""
    parts, top = _packages(MARGIN)
    for way in WAYS:
        drawn, top = _way(way, top + 2 * ROW_GAP)
        parts += drawn
    head = f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{top + MARGIN}' {FONT} font-size='12'>"
    arrow = (
        "<defs><marker id='arrow' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        "<path d='M0,0 L8,4 L0,8 z' fill='#555'/></marker></defs>"
    )
    background = "<rect width='100%' height='100%' fill='white'/>"
    return "\n".join([head, arrow, background, *parts, "</svg>"]) + "\n"


def _packages(top: int) -> tuple[list[str], int]:
    """The packages in rows; returns the drawing and where it ends."""
    purposes = {package.name: package.purpose.replace("`", "") for package in PACKAGES}
    parts = [_text(MARGIN, top, "Packages. A package imports only packages that are listed below it.", bold=True)]
    top += ROW_GAP
    for row in ROWS:
        width = (WIDTH - 2 * MARGIN - (len(row) - 1) * STEP_GAP) // len(row)
        for column, name in enumerate(row):
            left = MARGIN + column * (width + STEP_GAP)
            parts += _box(left, top, width, BOX_HEIGHT, name, _shortened(purposes[name], width), name)
        top += BOX_HEIGHT + ROW_GAP // 2
    return parts, top


def _way(way: Way, top: int) -> tuple[list[str], int]:
    """The steps there from left to right, and below them the steps back from right to left."""
    parts = [_text(MARGIN, top, way.title, bold=True)]
    top += ROW_GAP // 2
    middle = STEP_HEIGHT // 2
    places = [(MARGIN + place * (STEP_WIDTH + STEP_GAP), top) for place in range(len(way.there))]
    below = top + STEP_HEIGHT + ROW_GAP
    last = places[-1][0]
    places += [(last - place * (STEP_WIDTH + STEP_GAP), below) for place in range(len(way.back))]
    for number, (step, (left, y)) in enumerate(zip((*way.there, *way.back), places, strict=True), start=1):
        parts += _box(left, y, STEP_WIDTH, STEP_HEIGHT, f"{number}  {step.package}", step.label, step.package)
    for (x0, y0), (x1, y1) in itertools.pairwise(places):
        if y0 != y1:
            start, end = (x0 + STEP_WIDTH // 2, y0 + STEP_HEIGHT), (x1 + STEP_WIDTH // 2, y1)
        elif x1 > x0:
            start, end = (x0 + STEP_WIDTH, y0 + middle), (x1, y1 + middle)
        else:
            start, end = (x0, y0 + middle), (x1 + STEP_WIDTH, y1 + middle)
        line = f"<line x1='{start[0]}' y1='{start[1]}' x2='{end[0]}' y2='{end[1]}'"
        parts.append(f"{line} stroke='#555' marker-end='url(#arrow)'/>")
    return parts, (below if way.back else top) + STEP_HEIGHT


def _box(left: int, top: int, width: int, height: int, title: str, text: str, package: str) -> list[str]:
    color = COLORS[package.partition(".")[0]]
    lines = _wrapped(text, width)
    return [
        f"<rect x='{left}' y='{top}' width='{width}' height='{height}' rx='5' fill='{color}' stroke='#888'/>",
        _text(left + 8, top + 17, title, bold=True),
        *(_text(left + 8, top + 33 + 14 * place, line, size=11) for place, line in enumerate(lines)),
    ]


def _text(left: int, top: int, text: str, bold: bool = False, size: int = 12) -> str:
    weight = " font-weight='bold'" if bold else ""
    return f"<text x='{left}' y='{top}' font-size='{size}'{weight}>{escape(text)}</text>"


def _wrapped(text: str, width: int) -> list[str]:
    """At most two lines of about ``width`` pixels."""
    return textwrap.wrap(text, max(8, int((width - 16) / 5.9)), max_lines=2, placeholder=" …")


def _shortened(text: str, width: int) -> str:
    return textwrap.shorten(text, max(8, int((width - 16) / 5.9)), placeholder=" …")


def main() -> None:
    FILE.write_text(picture(), encoding="utf-8")
    print(f"Written: {FILE.name}")


if __name__ == "__main__":
    main()
