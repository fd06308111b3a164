"""What the layers of a model compute in."""

from __future__ import annotations

from compiler.workloads.target import Target

PRECISIONS = ("float32", "bfloat16", "auto")
BFLOAT16 = "bfloat16"


def resolved(precision: str, target: Target) -> str:
    """Returns ``float32`` or ``bfloat16``; ``auto`` is the latter if the CPU has instructions for it.

    Raises:
        ValueError: the precision is unknown, or the target has no kernels for it.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; it must be {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}")
    if precision == "auto":
        return BFLOAT16 if target.multiplies_bfloat16 else "float32"
    if precision not in target.dtypes:
        raise ValueError(f"precision {precision} has no kernels for {target.isa}; choose float32")
    return precision
