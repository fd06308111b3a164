"""Features of targets, workloads and schedules, for the cost model and the agent.

Every feature has a name. The order of features is that of the fields or decisions, so equal values give equal features
in every process. Sizes enter as log2, because their ratios matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np

from compiler.workloads.operators import OPERATORS
from compiler.workloads.schedule import Choice, Schedule, ScheduleSpace
from compiler.workloads.target import ISAS, Target
from compiler.workloads.workload import ACTIVATIONS, DTYPE_BYTES, Workload

# Operators with schedules: the others have nothing to learn.
_SEARCHED = tuple(name for name, definition in OPERATORS.items() if definition.space is not None)

Features = Mapping[str, float]


def log2_size(size: int) -> float:
    """Returns log2 of a size. 0, -1, -2, ... (off, automatic: not sizes) give -1, -2, -3, ... to keep the order."""
    return math.log2(size) if size >= 1 else float(size - 1)


@lru_cache
def target_features(target: Target) -> Features:
    """Returns ``target.*``: the microarchitecture, with sizes as log2 and the ISA as one-hot.

    Measured peak and bandwidth are left out. They differ a little each time, and equal searches must stay equal.
    """
    features = {
        "target.vector_bits": log2_size(target.vector_bits),
        "target.num_vector_registers": log2_size(target.num_vector_registers),
        "target.num_cores": log2_size(target.num_cores),
    }
    features |= {f"target.cache_bytes[{i}]": log2_size(size) for i, size in enumerate(target.cache_bytes)}
    return features | {f"target.isa={isa}": float(isa == target.isa) for isa in ISAS}


@lru_cache
def workload_features(workload: Workload) -> Features:
    """Returns ``workload.*``: sizes, flops, bytes and intensity (flops per byte) as log2, others as 0 or 1."""
    features = {f"workload.{name}": log2_size(size) for name, size in workload.sizes.items()}
    features |= {
        "workload.flops": log2_size(workload.flops),
        "workload.bytes": math.log2(workload.bytes),
        "workload.intensity": math.log2(max(workload.flops, 1) / workload.bytes),
    }
    features |= {f"workload.op={op}": float(op == workload.op) for op in _SEARCHED}
    features |= {f"workload.dtype={dtype}": float(dtype == workload.dtype) for dtype in DTYPE_BYTES}
    return features | {
        f"workload.epilogue={step}": float(step in workload.epilogue) for step in ("bias", "residual", *ACTIVATIONS)
    }


@lru_cache(maxsize=1 << 16, typed=True)
def choice_features(name: str, choice: Choice) -> Features:
    """Returns the features of one decision's choice.

    A flag is ``name`` (0 or 1), a number ``name`` (log2), a string the one-hot ``name=choice``. A tuple has
    ``name[i]`` (log2) for each component and ``name[i:]`` for the product of the components from i on, which for a
    tiling is the extent of that level's tile.
    """
    if isinstance(choice, bool):
        return {name: float(choice)}
    if isinstance(choice, int):
        return {name: log2_size(choice)}
    if isinstance(choice, str):
        return {f"{name}={choice}": 1.0}
    sizes = [log2_size(size) for size in choice]
    features = {f"{name}[{i}]": size for i, size in enumerate(sizes)}
    return features | {f"{name}[{i}:]": sum(sizes[i:]) for i in range(len(sizes) - 1)}


def schedule_features(schedule: Schedule) -> Features:
    """Returns the features of every choice, and ``a*b``: the log2 of products, which fill registers and caches.

    The factors are two numbers, or the tiles of two tuples at the same level, counted from the innermost. A tree splits
    on one feature at a time and cannot form products alone.
    """
    features: dict[str, float] = {}
    extents: dict[int, list[tuple[str, float]]] = {}  # by level; numbers have level 0
    for name, choice in schedule.values.items():
        features |= choice_features(name, choice)
        if isinstance(choice, tuple):
            size = 0.0
            for level, i in enumerate(reversed(range(len(choice))), start=1):
                size += log2_size(choice[i])
                extents.setdefault(level, []).append((f"{name}[{i}:]", size))
        elif isinstance(choice, int) and not isinstance(choice, bool):
            extents.setdefault(0, []).append((name, log2_size(choice)))
    for same_level in extents.values():
        for (a, log2_a), (b, log2_b) in combinations(same_level, 2):
            features[f"{a}*{b}"] = log2_a + log2_b
    return features


def feature_names(rows: Sequence[Features]) -> list[str]:
    """Returns all names in ``rows``, in the order of their first occurrence."""
    return list(dict.fromkeys(name for row in rows for name in row))


def feature_matrix(rows: Sequence[Features], names: Sequence[str]) -> np.ndarray:
    """Returns float32 (len(rows), len(names)). A missing one-hot (``name=choice``) is 0, any other feature NaN."""
    absent = [0.0 if "=" in name else math.nan for name in names]
    matrix = [[row.get(name, missing) for name, missing in zip(names, absent, strict=True)] for row in rows]
    return np.array(matrix, dtype=np.float32).reshape(len(rows), len(names))


class SpaceEncoding:
    """Encodes the schedules of one space as vectors, by table look-up.

    Each decision contributes the columns of its :func:`choice_features`, scaled from their range in this space to
    [0, 1]. A feature that a choice lacks is -1.
    """

    def __init__(self, space: ScheduleSpace) -> None:
        self.names: list[str] = []
        self._tables: list[np.ndarray] = []
        for decision in space.decisions:
            rows = [choice_features(decision.name, choice) for choice in decision.choices]
            names = feature_names(rows)
            table = feature_matrix(rows, names)
            low, high = np.nanmin(table, axis=0), np.nanmax(table, axis=0)
            self.names += names
            self._tables.append(np.nan_to_num((table - low) / np.where(high > low, high - low, 1), nan=-1.0))

    def __call__(self, choices: np.ndarray) -> np.ndarray:
        """Returns float32 (rows, len(self.names)) for choices (rows, decisions) as ``space.choices`` returns them."""
        return np.concatenate([table[choices[:, i]] for i, table in enumerate(self._tables)], axis=1)
