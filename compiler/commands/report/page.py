"""A profile as a self-contained HTML page: a bar for each layer, with the time of its roofline as its dark part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from compiler.commands.report.html import document
from compiler.commands.report.profile import KINDS, LAYERS, Profile
from compiler.program.profile import ProfileRow

# Dark and light colors that color-blind readers can distinguish (Okabe and Ito): within the roofline, and beyond it.
_COLORS: Mapping[str, tuple[str, str]] = {
    "kernel": ("#0072b2", "#a6cfe6"),
    "user": ("#009e73", "#99d8c7"),
    "tvm": ("#d55e00", "#f0bf99"),
    "onnxruntime": ("#cc79a7", "#ebc9db"),
    "vm": ("#767676", "#cfcfcf"),
}
_TITLES: Mapping[str, str] = {
    "kernel": "our kernels",
    "user": "operators of users",
    "tvm": "generated code",
    "onnxruntime": "ONNX Runtime",
    "vm": "virtual machine",
}

_STYLE = """
body { max-width: 80rem; }
td { vertical-align: top; }
.layer { white-space: normal; overflow-wrap: anywhere; min-width: 25rem; }
.layer small { display: block; color: #6a6a6a; line-height: 1.35; }
.bars { width: 45%; min-width: 14rem; }
.bar { display: flex; height: 1.05rem; margin-top: .2rem; }
.bar span { height: 100%; }
.total td { font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: 0 1.2rem; }
.legend i { display: inline-block; width: .85rem; height: .85rem; margin: 0 .4rem -.08rem 0; }
"""


def page(title: str, conditions: Sequence[str], profile: Profile) -> str:
    """Returns the page, which needs no other file and no network. ``conditions`` are lines about the measurement."""
    lines = "".join(f"<p>{escape(line)}</p>\n" for line in conditions)
    body = f"""{lines}<h2>By operator</h2>
{_kinds(profile)}
<h2>Layer by layer</h2>
<p>The layers are in the order of the program. A bar shows the time of a layer. Its dark part is the least time of the
layer by its roofline: its arithmetic at the FMA peak, or its data at the bandwidth of the cache or memory that it
comes from, whichever takes longer. Weights come from memory unless a cache holds the weights of all layers; the other
tensors come from L2 if they fit, otherwise from L3 or memory. All limits are measured with the profile. The light part
is the most that could be gained. A layer may take less time than its roofline if its data is in a nearer cache than
that, or if Winograd's algorithm computes it with fewer multiplications. Its bar is entirely dark. A call whose
operations are not counted has no roofline, and its bar is entirely light.</p>
{_legend(profile)}
<div class="wide">{_layers(profile)}</div>"""
    return document(f"Profile of {title}", body, _STYLE)


def _kinds(profile: Profile) -> str:
    lines = [f"<td>{escape(name)}</td>{''.join(map(_number, numbers))}</tr>\n" for name, *numbers in profile.sums()]
    body = "".join(f"<tr>{line}" for line in lines[:-1]) + f'<tr class="total">{lines[-1]}'
    head = "".join(f'<th class="number">{heading}</th>' for heading in KINDS[1:])
    return f"<table><thead><tr><th>{KINDS[0]}</th>{head}</tr></thead>\n<tbody>{body}</tbody></table>"


def _legend(profile: Profile) -> str:
    shown = dict.fromkeys(row.backend for row in profile.rows)
    entries = []
    for backend in shown:
        dark, light = _COLORS[backend]
        title = _TITLES[backend]
        if any(row.backend == backend and row.roofline is not None for row in profile.rows):
            entries.append((dark, f"{title}, within the roofline"))
            title += ", beyond it"
        entries.append((light, title))
    return f'<p class="legend">{"".join(map(_key, entries))}</p>'


def _key(entry: tuple[str, str]) -> str:
    color, title = entry
    return f'<span><i style="background:{color}"></i>{title}</span>'


def _layers(profile: Profile) -> str:
    longest = max((row.seconds for row in profile.rows), default=0.0)
    body = "".join(_layer(row, cells, longest) for row, cells in zip(profile.rows, profile.cells(), strict=True))
    numbers = "".join(f'<th class="number">{heading}</th>' for heading in LAYERS[3:-1])
    return (
        f'<table><thead><tr><th>layer</th>{numbers}<th class="bars"></th></tr></thead>\n<tbody>{body}</tbody></table>'
    )


def _layer(row: ProfileRow, cells: Sequence[str], longest: float) -> str:
    """Returns a row of the table. ``cells`` has the columns of ``LAYERS``."""
    name, op, _, *numbers, schedule = cells
    notes = "".join(f"<small>{escape(text)}</small>" for text in (op, schedule) if text)
    return (
        f'<tr><td class="layer">{escape(name)}{notes}</td>{"".join(map(_number, numbers))}'
        f"<td>{_bar(row, longest)}</td></tr>\n"
    )


def _number(text: str) -> str:
    return f'<td class="number">{text}</td>'


def _bar(row: ProfileRow, longest: float) -> str:
    dark, light = _COLORS[row.backend]
    width = 100 * row.seconds / longest if longest else 0.0
    within = width * min(row.roofline or 0.0, 1.0)
    parts = ((dark, within), (light, width - within))
    spans = "".join(f'<span style="width:{part:.2f}%;background:{color}"></span>' for color, part in parts if part)
    return f'<div class="bar">{spans}</div>'
