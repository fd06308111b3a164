"""The report of searches as one self-contained HTML page: the table, the search curves and the roofline."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from autotune.commands.result import HEADINGS, NUMERIC, Row, SearchResult, rows, speed, unit
from autotune.commands.shapes import layer_name, shape_text
from compiler.commands.report.html import document
from compiler.installation import extras
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Two colors that color-blind readers can distinguish (Okabe and Ito).
_COLORS: Mapping[str, str] = {"kernel": "#0072b2", "tvm": "#d55e00"}
_INK, _FAINT = "#222222", "#9a9a9a"
_CURVES_PER_ROW = 3
_NEAR = 0.25  # in log units; points nearer than this share one label

_STYLE = """
.winner td { font-weight: 600; }
code { font-size: .8rem; white-space: normal; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; }
"""


def report_line(directory: Path, target: Target, results: Sequence[SearchResult]) -> str:
    """Writes the report and returns the line to print: where it is, or what must be installed to get one."""
    try:
        return f"Search curves and roofline: open {write_report(directory, target, results)} in a browser"
    except ModuleNotFoundError as error:
        return f"No search curves: {error}"


def write_report(directory: Path, target: Target, results: Sequence[SearchResult]) -> Path:
    """Writes ``directory/index.html`` and returns its path. The page needs no other file and no network.

    Args:
        directory: an existing directory.
        target: the target with measured figures, see :meth:`Target.measured`.
        results: the searches.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    extras.require("the report", "plots")
    page = directory / "index.html"
    page.write_text(_page(target, results), encoding="utf-8")
    return page


def _page(target: Target, results: Sequence[SearchResult]) -> str:
    body = f"""<p>{escape(_conditions(target, results))}</p>
<h2>Results</h2>
<div class="wide">{_table(results)}</div>
<h2>Search curves</h2>
<p>The best candidate so far after each trial. The dashed line is the roofline of the shape, an upper bound for programs
with as many multiplications as the shape's definition. Winograd's and Strassen's algorithms have fewer.</p>
{_svg(_curves(results))}
{_roofline_section(results)}<h2>Best schedules</h2>
<div class="wide">{_schedules(results)}</div>"""
    return document("Searched schedules", body, _STYLE)


def _roofline_section(results: Sequence[SearchResult]) -> str:
    """Returns the section of the roofline chart. It is empty if no workload computes anything."""
    counted = [result for result in results if result.workload.flops]
    if not counted:
        return ""
    return f"""<h2>Roofline</h2>
<p>Each ring is the program that a search settled on. The lines are the limits of the CPU, measured next to the search:
multiply-adds at full rate, and the shape's data at the full bandwidth of the caches or the memory that it comes from.
The numbers are those of the table above.</p>
{_svg(_roofline(counted))}
"""


def _conditions(target: Target, results: Sequence[SearchResult]) -> str:
    strategies = ", ".join(dict.fromkeys(r.strategy for r in results))
    return (
        f"{target.name}, {target.isa}, threads: {target.num_cores}. Measured FMA peak {target.peak_gflops:.1f} GFLOP/s,"
        f" memory bandwidth {target.bandwidth_gbs:.1f} GB/s. Strategy: {strategies}."
    )


def _shapes(results: Sequence[SearchResult]) -> dict[Workload, list[SearchResult]]:
    """Returns the results grouped by workload, in their order."""
    shapes: dict[Workload, list[SearchResult]] = {}
    for result in results:
        shapes.setdefault(result.workload, []).append(result)
    return shapes


def _table(results: Sequence[SearchResult]) -> str:
    numbers = {workload: i for i, workload in enumerate(_shapes(results), 1)}
    names = [field.name for field in dataclasses.fields(Row)]
    classes = [' class="number"' if name in NUMERIC else "" for name in names]
    head = "".join(f"<th{c}>{escape(getattr(HEADINGS, n))}</th>" for n, c in zip(names, classes, strict=True))
    body = "".join(
        ("<tr class='winner'>" if row.winner else "<tr>")
        + f"<td>{numbers[result.workload]}</td>"
        + "".join(f"<td{c}>{escape(getattr(row, n))}</td>" for n, c in zip(names, classes, strict=True))
        + "</tr>\n"
        for result, row in zip(results, rows(results), strict=True)
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead>\n<tbody>{body}</tbody></table>"


def _schedules(results: Sequence[SearchResult]) -> str:
    body = "".join(
        f"<tr><td>{escape(shape_text(r.workload))}</td><td>{escape(r.backend)}</td>"
        f"<td><code>{escape(str(r.schedule))}</code></td></tr>\n"
        for r in results
    )
    return (
        f"<table><thead><tr><th>shape</th><th>backend</th><th>schedule</th></tr></thead>\n<tbody>{body}</tbody></table>"
    )


def _curves(results: Sequence[SearchResult]) -> Figure:
    from matplotlib.figure import Figure

    shapes = _shapes(results)
    columns = min(_CURVES_PER_ROW, len(shapes))
    lines = math.ceil(len(shapes) / columns)
    figure = Figure(figsize=(3.6 * columns, 2.9 * lines), layout="constrained")
    for place, (workload, searches) in enumerate(shapes.items(), 1):
        _curve(figure.add_subplot(lines, columns, place), workload, searches)
    figure.supxlabel("trial", fontsize=10, color=_INK)
    units = " or ".join(dict.fromkeys(map(unit, shapes)))
    figure.supylabel(f"best so far, {units}", fontsize=10, color=_INK)
    return figure


def _curve(axes: Axes, workload: Workload, searches: Sequence[SearchResult]) -> None:
    for search in searches:
        speeds = [speed(workload, secs) for secs in search.history]  # a trial before the first success: 0
        trials = range(1, len(speeds) + 1)
        axes.step(trials, speeds, where="post", color=_COLORS.get(search.backend, _INK), label=search.backend)
    roofline = max(speed(workload, search.roofline.secs) for search in searches)
    axes.axhline(roofline, color=_FAINT, linestyle="--", linewidth=1)
    axes.set_ylim(0, 1.12 * max(roofline, *(search.speed for search in searches)))
    axes.set_title(_title(workload), fontsize=10, color=_INK)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    _plain(axes)


def _roofline(results: Sequence[SearchResult]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.6), layout="constrained")
    axes = figure.subplots()
    shapes = _shapes(results)
    left, right = min(map(_intensity, shapes)) / 3, max(map(_intensity, shapes)) * 3
    for roofline in (searches[0].roofline for searches in shapes.values()):
        peak, bandwidth = roofline.peak_gflops, roofline.bandwidth_gbs
        knee = min(max(peak / bandwidth, left), right)
        roof = [min(peak, bandwidth * x) for x in (left, knee, right)]
        axes.plot([left, knee, right], roof, color=_FAINT, linewidth=0.8, zorder=1)
    axes.plot([], [], color=_FAINT, linewidth=0.8, label="rooflines")
    for backend in dict.fromkeys(result.backend for result in results):
        points = [(_intensity(r.workload), r.gflops) for r in results if r.backend == backend]
        ring = {"marker": "o", "markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.8, "linestyle": ""}
        axes.plot(*zip(*points, strict=True), color=_COLORS.get(backend, _INK), label=backend, **ring)
    for (x, y), numbers in _labels(shapes).items():
        axes.annotate(numbers, (x, y), xytext=(8, 6), textcoords="offset points", fontsize=10, color=_INK)
    axes.set(xscale="log", yscale="log", xlabel="arithmetic intensity, FLOP/byte", ylabel="GFLOP/s", xlim=(left, right))
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    _plain(axes)
    return figure


def _intensity(workload: Workload) -> float:
    return workload.flops / workload.bytes


def _labels(shapes: Mapping[Workload, Sequence[SearchResult]]) -> dict[tuple[float, float], str]:
    """Returns the labels by position: each shape's number at its best point. Near points share one label."""
    labels: dict[tuple[float, float], str] = {}
    for number, (workload, searches) in enumerate(shapes.items(), 1):
        point = (_intensity(workload), max(search.gflops for search in searches))
        near = (at for at in labels if all(abs(math.log(a / b)) < _NEAR for a, b in zip(at, point, strict=True)))
        if (at := next(near, None)) is not None:
            labels[at] += f", {number}"
        else:
            labels[point] = str(number)
    return labels


def _title(workload: Workload) -> str:
    return "\n".join(filter(None, (shape_text(workload), layer_name(workload))))


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, colors=_INK)


def _svg(figure: Figure) -> str:
    """Returns the figure as an SVG element. Text stays text, and equal figures give equal elements."""
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "loopwright", "font.family": "sans-serif"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawn = stream.getvalue()
    return drawn[drawn.index("<svg") :]
