"""The geometry that convolutions and pooling share: windows over padded images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from compiler.workloads.operators.operator import Sizes

# Written after the sizes, as ``,stride=2,padding=1:0``.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "stride": ("stride_h", "stride_w"),
    "padding": ("pad_top", "pad_left", "pad_bottom", "pad_right"),
    "dilation": ("dilation_h", "dilation_w"),
}
DEFAULTS: Mapping[str, int] = {"stride": 1, "padding": 0, "dilation": 1}


def pads(s: Sizes) -> tuple[int, int, int, int]:
    """(top, left, bottom, right)"""
    return s["pad_top"], s["pad_left"], s["pad_bottom"], s["pad_right"]


def output_size(s: Sizes) -> tuple[int, int]:
    """Rows and columns of the output; not positive if the kernel does not fit the padded image.

    With ``ceil_mode``, the last window may reach beyond the padding, but must begin within the image or the padding
    before it.
    """
    sizes = []
    for size, kernel, axis, begin, end in (("h", "kh", "h", "top", "bottom"), ("w", "kw", "w", "left", "right")):
        stride = s[f"stride_{axis}"]
        room = s[size] + s[f"pad_{begin}"] + s[f"pad_{end}"] - s[f"dilation_{axis}"] * (s[kernel] - 1) - 1
        if room >= 0 and s.get("ceil_mode", 0):
            room = min(room + stride - 1, s[size] + s[f"pad_{begin}"] - 1)
        sizes.append(room // stride + 1)
    return sizes[0], sizes[1]


def taps(s: Sizes, rows: int, columns: int) -> Iterator[tuple[int, int, slice, slice]]:
    """For each tap (i, j) of the kernel, the rows and columns of an image under it in rows × columns windows."""
    for i, j in itertools.product(range(s["kh"]), range(s["kw"])):
        top, left = i * s["dilation_h"], j * s["dilation_w"]
        down = slice(top, top + (rows - 1) * s["stride_h"] + 1, s["stride_h"])
        right = slice(left, left + (columns - 1) * s["stride_w"] + 1, s["stride_w"])
        yield i, j, down, right


def geometry(s: Sizes) -> dict[str, Any]:
    """Returns the arguments of a convolution's kernel that follow from the sizes."""
    return {
        "stride": (s["stride_h"], s["stride_w"]),
        "padding": pads(s),
        "dilation": (s["dilation_h"], s["dilation_w"]),
        "groups": s["groups"],
    }


def describe(s: Sizes, channels: str, kind: str = "") -> str:
    """Returns a convolution in short: its image, ``channels``, ``kind``, its kernel and its stride."""
    batch = f"{s['n']}x" if s["n"] > 1 else ""
    stride = f"/{s['stride_h']}" if s["stride_h"] > 1 else ""
    return f"{batch}{s['h']}x{s['w']}x{channels} {kind}{s['kh']}x{s['kw']}{stride}"


def check_groups(op: str, s: Sizes) -> None:
    """
    Raises:
        ValueError: the groups do not divide the channels.
    """
    if s["c"] % s["groups"] or s["o"] % s["groups"]:
        raise ValueError(f"{op}: groups={s['groups']} must divide both c={s['c']} and o={s['o']}")


def check_fit(op: str, s: Sizes) -> None:
    """
    Raises:
        ValueError: the kernel does not fit the padded image.
    """
    if min(output_size(s)) < 1:
        span = s["dilation_h"] * (s["kh"] - 1) + 1, s["dilation_w"] * (s["kw"] - 1) + 1
        padded = s["h"] + s["pad_top"] + s["pad_bottom"], s["w"] + s["pad_left"] + s["pad_right"]
        raise ValueError(
            f"{op}: a kernel that spans {span[0]}x{span[1]} does not fit the padded image of {padded[0]}x{padded[1]}"
        )
