"""What each operator is, as functions of its sizes: everything about it that needs no numbers and no schedule.

Another operator is a function or two and a line in ``OPERATORS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

Sizes: TypeAlias = Mapping[str, int]  # by the name of their dimension
Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Operator:
    """One kind of operator.

    Attributes:
        dims: names of its dimensions, in the order in which a shape is written on the command line.
        inputs: the shape of each tensor that it reads, the epilogue's apart.
        output: the shape of what it writes; the last dimension is the one that a bias is added along.
        reduction: how many products each of its output elements sums up.
        flops: floating-point operations of its sums.
        unread: elements of its inputs that no output needs.
        check: raises ValueError where sizes, each within its own bounds, do not go together.
        has_epilogue: whether anything may follow the sum.
    """

    dims: tuple[str, ...]
    inputs: Callable[[Sizes], dict[str, Shape]]
    output: Callable[[Sizes], Shape]
    reduction: Callable[[Sizes], int]
    flops: Callable[[Sizes], int]
    unread: Callable[[Sizes], int] = lambda _: 0
    check: Callable[[Sizes], None] = lambda _: None
    has_epilogue: bool = True


def at_least(dim: str) -> int:
    """The smallest size of a dimension: there may be no padding, but of everything else there is some."""
    return 0 if dim.startswith("pad_") else 1


DENSE = Operator(
    dims=("m", "n", "k"),
    inputs=lambda s: {"x": (s["m"], s["k"]), "weight": (s["n"], s["k"])},
    output=lambda s: (s["m"], s["n"]),
    reduction=lambda s: s["k"],
    flops=lambda s: 2 * s["m"] * s["n"] * s["k"],
)


def _conv2d_inputs(s: Sizes) -> dict[str, Shape]:
    return {"x": (s["n"], s["h"], s["w"], s["c"]), "weight": (s["o"], s["c"] // s["groups"], s["kh"], s["kw"])}


def _conv2d_output(s: Sizes) -> Shape:
    return s["n"], *_output_size(s), s["o"]


def _output_size(s: Sizes) -> tuple[int, int]:
    """Rows and columns of a convolution's output; not positive where the kernel does not fit the padded image."""
    rows = s["h"] + s["pad_top"] + s["pad_bottom"] - s["dilation_h"] * (s["kh"] - 1) - 1
    columns = s["w"] + s["pad_left"] + s["pad_right"] - s["dilation_w"] * (s["kw"] - 1) - 1
    return rows // s["stride_h"] + 1, columns // s["stride_w"] + 1


def _conv2d_reduction(s: Sizes) -> int:
    return s["c"] // s["groups"] * s["kh"] * s["kw"]


def _conv2d_unread(s: Sizes) -> int:
    """A stride longer than the kernel steps over rows and columns."""
    output_h, output_w = _output_size(s)
    read = min(s["h"], output_h * s["kh"]) * min(s["w"], output_w * s["kw"])
    return s["n"] * s["c"] * (s["h"] * s["w"] - read)


def _check_conv2d(s: Sizes) -> None:
    if s["c"] % s["groups"] or s["o"] % s["groups"]:
        raise ValueError(f"conv2d: groups={s['groups']} must divide both c={s['c']} and o={s['o']}")
    if min(_output_size(s)) < 1:
        span = s["dilation_h"] * (s["kh"] - 1) + 1, s["dilation_w"] * (s["kw"] - 1) + 1
        padded = s["h"] + s["pad_top"] + s["pad_bottom"], s["w"] + s["pad_left"] + s["pad_right"]
        raise ValueError(
            f"conv2d: a kernel that spans {span[0]}x{span[1]} does not fit the padded image of {padded[0]}x{padded[1]}"
        )


CONV2D = Operator(
    dims=(
        *("n", "h", "w", "c", "o", "kh", "kw", "stride_h", "stride_w"),
        *("pad_top", "pad_left", "pad_bottom", "pad_right", "dilation_h", "dilation_w", "groups"),
    ),
    inputs=_conv2d_inputs,
    output=_conv2d_output,
    reduction=_conv2d_reduction,
    flops=lambda s: 2 * prod(_conv2d_output(s)) * _conv2d_reduction(s),
    unread=_conv2d_unread,
    check=_check_conv2d,
)


def _attention_inputs(s: Sizes) -> dict[str, Shape]:
    q = (s["batch"], s["queries"], s["heads"], s["head_dim"])
    kv = (s["batch"], s["keys"], s["heads"], s["head_dim"])
    return {"q": q, "k": kv, "v": kv}


ATTENTION = Operator(
    dims=("batch", "heads", "queries", "keys", "head_dim"),
    inputs=_attention_inputs,
    output=lambda s: _attention_inputs(s)["q"],
    reduction=lambda s: s["keys"],
    flops=lambda s: 4 * prod(s.values()),  # two products for each query, key and component
    has_epilogue=False,
)

OPERATORS: Mapping[str, Operator] = {"dense": DENSE, "conv2d": CONV2D, "attention": ATTENTION}
