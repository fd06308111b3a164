"""The notation of shapes on the command line, and the names of layers of real networks by their shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from compiler.workloads.workload import OPERATOR_DIMS, Workload

# Dimensions that follow the sizes as ``,name=value`` unless they have their usual value. One number is the value of all
# of them, two (height:width) are the values of each pair.
_OPTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "conv2d": {
        "stride": ("stride_h", "stride_w"),
        "padding": ("pad_top", "pad_left", "pad_bottom", "pad_right"),
        "dilation": ("dilation_h", "dilation_w"),
        "groups": ("groups",),
    }
}
_USUAL: Mapping[str, int] = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}

EXAMPLES: Mapping[str, str] = {
    "dense": "128x768x768",
    "conv2d": "1x56x56x64x64x3x3,padding=1",
    "attention": "1x12x128x128x64",
}

# The shapes that are searched without --shape, and their names.
LAYERS: Mapping[str, Mapping[tuple[int, ...], str]] = {
    "dense": {
        (1, 1000, 2048): "ResNet-50 classifier",
        (128, 768, 768): "BERT attention",
        (128, 3072, 768): "BERT feed-forward, in",
        (128, 768, 3072): "BERT feed-forward, out",
        (512, 512, 512): "square",
    },
    "conv2d": {
        Workload.conv2d(1, 224, 224, 3, 64, 7, stride=2, padding=3).dims: "ResNet-50 first",
        Workload.conv2d(1, 56, 56, 64, 64, 3, padding=1).dims: "ResNet-50 stage 1",
        Workload.conv2d(1, 28, 28, 128, 128, 3, padding=1).dims: "ResNet-50 stage 2",
        Workload.conv2d(1, 14, 14, 256, 256, 3, padding=1).dims: "ResNet-50 stage 3",
        Workload.conv2d(1, 7, 7, 512, 512, 3, padding=1).dims: "ResNet-50 stage 4",
        Workload.conv2d(1, 56, 56, 64, 256, 1).dims: "ResNet-50 stage 1, out",
        Workload.conv2d(1, 14, 14, 1024, 256, 1).dims: "ResNet-50 stage 3, in",
        Workload.conv2d(1, 56, 56, 144, 144, 3, padding=1, groups=144).dims: "MobileNetV2 depthwise",
    },
    "attention": {
        (1, 12, 128, 128, 64): "BERT-base",
        (1, 12, 128, 128, 32): "MiniLM",
    },
}


def layer_name(workload: Workload) -> str:
    """Returns the name of a layer of this shape, or an empty string."""
    return LAYERS[workload.op].get(workload.dims, "")


def notation(op: str) -> str:
    """Returns the notation of the shapes of ``op``."""
    options = "".join(f"[,{name}={':'.join(['N'] * len(dims))}]" for name, dims in _options(op).items())
    return "x".join(name.upper() for name in _sizes(op)) + options


def shape_text(workload: Workload) -> str:
    """Returns a shape in the notation of ``--shape``."""
    sizes, op = workload.sizes, workload.op
    text = "x".join(str(sizes[name]) for name in _sizes(op))
    for option, dims in _options(op).items():
        values = _shortened([sizes[name] for name in dims])
        if values != [_USUAL[option]]:
            text += f",{option}={':'.join(map(str, values))}"
    return text


def parse_shape(op: str, text: str) -> tuple[int, ...]:
    """Returns the dimensions of a shape in the notation of ``--shape``, in the order of ``OPERATOR_DIMS[op]``.

    Raises:
        ValueError: the text is not a shape of this operator.
    """
    first, *rest = text.split(",")
    names = _sizes(op)
    numbers = [_whole(size) for size in first.split("x")]
    if None in numbers or not all("=" in option for option in rest):
        raise ValueError(f"{text!r} is not a shape of {op}; write {notation(op)}, such as {EXAMPLES[op]}")
    if len(numbers) != len(names):
        raise ValueError(f"{text!r}: {op} takes {len(names)} sizes ({'x'.join(names)}), such as {EXAMPLES[op]}")
    sizes = dict(zip(names, numbers, strict=True))
    options = _options(op)
    given: dict[str, str] = {}
    for option, value in (pair.split("=", 1) for pair in rest):
        if option not in options:
            possible = f"it has: {', '.join(options)}" if options else "it has no options"
            raise ValueError(f"{text!r}: {op} has no option {option!r}; {possible}")
        if option in given:
            raise ValueError(f"{text!r}: {option} is given twice")
        given[option] = value
    for option, dims in options.items():
        values = [_whole(value) for value in given.get(option, str(_USUAL[option])).split(":")]
        if None in values or len(dims) % len(values):
            raise ValueError(f"{text!r}: {option} takes {_counts(len(dims))} separated by colons")
        sizes |= zip(dims, values * (len(dims) // len(values)), strict=True)
    return tuple(sizes[name] for name in OPERATOR_DIMS[op])  # type: ignore[misc]  # None was rejected


def _options(op: str) -> Mapping[str, tuple[str, ...]]:
    return _OPTIONS.get(op, {})


def _sizes(op: str) -> list[str]:
    optional = {name for dims in _options(op).values() for name in dims}
    return [name for name in OPERATOR_DIMS[op] if name not in optional]


def _shortened(values: Sequence[int]) -> list[int]:
    """Returns the fewest values that give these when they are repeated."""
    counts = (count for count in range(1, len(values) + 1) if len(values) % count == 0)
    return next(list(values[:c]) for c in counts if list(values) == list(values[:c]) * (len(values) // c))


def _counts(count: int) -> str:
    divisors = [str(d) for d in range(1, count + 1) if count % d == 0]
    return f"{' or '.join(divisors)} whole number{'s' if count > 1 else ''}"


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else None
