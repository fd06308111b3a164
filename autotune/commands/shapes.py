"""The notation of shapes on the command line, and the names of layers of real networks by their shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from compiler.workloads.operators import OPERATORS
from compiler.workloads.workload import Workload


def layer_name(workload: Workload) -> str:
    """Returns the name of a layer of this shape, or an empty string."""
    return workload.operator.networks.get(workload.dims, "")


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
        if values != [OPERATORS[op].notation.defaults[option]]:
            text += f",{option}={':'.join(map(str, values))}"
    return text


def parse_shape(op: str, text: str) -> tuple[int, ...]:
    """Returns the dimensions of a shape in the notation of ``--shape``, in the order of ``OPERATORS[op].dims``.

    Raises:
        ValueError: the text is not a shape of this operator.
    """
    first, *rest = text.split(",")
    names = _sizes(op)
    numbers = [_whole(size) for size in first.split("x")]
    if None in numbers or not all("=" in option for option in rest):
        raise ValueError(
            f"{text!r} is not a shape of {op}; write {notation(op)}, such as {OPERATORS[op].notation.example}"
        )
    if len(numbers) != len(names):
        raise ValueError(
            f"{text!r}: {op} takes {len(names)} sizes ({'x'.join(names)}), such as {OPERATORS[op].notation.example}"
        )
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
        values = [_whole(value) for value in given.get(option, str(OPERATORS[op].notation.defaults[option])).split(":")]
        if None in values or len(dims) % len(values):
            raise ValueError(f"{text!r}: {option} takes {_counts(len(dims))} separated by colons")
        sizes |= zip(dims, values * (len(dims) // len(values)), strict=True)
    return tuple(sizes[name] for name in OPERATORS[op].dims)  # type: ignore[misc]  # None was rejected


def _options(op: str) -> Mapping[str, tuple[str, ...]]:
    return OPERATORS[op].notation.options


def _sizes(op: str) -> list[str]:
    optional = {name for dims in _options(op).values() for name in dims}
    return [name for name in OPERATORS[op].dims if name not in optional]


def _shortened(values: Sequence[int]) -> list[int]:
    """Returns the fewest values that give these when they are repeated."""
    counts = (count for count in range(1, len(values) + 1) if len(values) % count == 0)
    return next(list(values[:c]) for c in counts if list(values) == list(values[:c]) * (len(values) // c))


def _counts(count: int) -> str:
    divisors = [str(d) for d in range(1, count + 1) if count % d == 0]
    return f"{' or '.join(divisors)} whole number{'s' if count > 1 else ''}"


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else None
