"""Rows of a database of records as values. Files come from elsewhere, so each value is checked."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

from compiler.workloads.records import CHOSEN_BACKEND, Measurement, ModelChoice, Record, canonical, target_key
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

_TARGET_TYPES = {
    "name": str,
    "isa": str,
    "vector_bits": int,
    "num_vector_registers": int,
    "cache_bytes": list,
    "num_cores": int,
}


def parse_record(path: Path, row: dict[str, Any]) -> Record:
    """
    Raises:
        ValueError: the row is not a measurement; the message names the file and the row.
    """
    try:
        return _record({name: value.decode() if isinstance(value, bytes) else value for name, value in row.items()})
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"records file {path}: row {row['id']} is not a measurement: {one_line(error)}") from error


def parse_choice(path: Path, row: dict[str, Any], target: Target) -> ModelChoice:
    """
    Raises:
        ValueError: the row is not a choice for a model on ``target``; the message names the file and the workload.
    """
    try:
        text = {name: value.decode() if isinstance(value, bytes) else value for name, value in row.items()}
        choice = ModelChoice(
            _workload(text["workload"]),
            parse_schedule(CHOSEN_BACKEND, text["schedule"]),
            _expect("threads", text["threads"], int),
        )
        return checked_threads(choice, target)
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        where = f"the choice for {row['workload']!r:.120}"
        raise ValueError(f"records file {path}: {where} does not parse: {one_line(error)}") from error


def checked_threads(choice: ModelChoice, target: Target) -> ModelChoice:
    """
    Raises:
        ValueError: the choice has more threads than the target.
    """
    if choice.threads > target.num_cores:
        raise ValueError(f"threads must be between 1 and the target's {target.num_cores}, got {choice.threads}")
    return choice


def one_line(error: Exception) -> str:
    return f"missing {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]


def _record(row: dict[str, Any]) -> Record:
    """Returns the record of a row. Files may come from elsewhere, so every field is checked."""
    samples = _expect("run_secs", json.loads(row["run_secs"]), list)
    measurement = Measurement(
        tuple(float(_expect("run_secs", secs, int, float)) for secs in samples),
        _expect("error", row["error"], str, type(None)),
    )
    if row["median_secs"] != (measurement.median_secs if measurement.ok else None):
        raise ValueError(f"median_secs is {row['median_secs']}, which is not the median of run_secs")
    if not math.isfinite(_expect("unix_secs", row["unix_secs"], float)):
        raise ValueError(f"unix_secs is {row['unix_secs']}")
    return Record(
        workload=_workload(row["workload"]),
        target=_target(row["target"]),
        schedule=parse_schedule(_expect("backend", row["backend"], str), row["schedule"]),
        measurement=measurement,
        strategy=_expect("strategy", row["strategy"], str, type(None)),
        seed=_expect("seed", row["seed"], int, type(None)),
        unix_secs=row["unix_secs"],
    )


def parse_schedule(backend: str, text: str) -> Schedule:
    values = _expect("schedule", json.loads(text), dict)
    for name, value in values.items():
        _expect(name, value, bool, int, str, list)
        for element in value if isinstance(value, list) else ():
            _expect(name, element, int)
    return Schedule(backend, values)


@lru_cache  # thousands of rows have few different workloads and targets
def _workload(text: str) -> Workload:
    workload = Workload.from_json(json.loads(text))
    if canonical(workload.to_json()) != text:
        raise ValueError(f"workload is not canonical: {text}")
    return workload


@lru_cache
def _target(text: str) -> Target:
    fields = _expect("target", json.loads(text), dict)
    for name, kind in _TARGET_TYPES.items():
        _expect(name, fields[name], kind)
    for size in fields["cache_bytes"]:
        _expect("cache_bytes", size, int)
    target = Target.from_json(fields)
    if target_key(target) != text:
        raise ValueError(f"target is not canonical: {text}")
    return target


def _expect(name: str, value: Any, *kinds: type) -> Any:
    """Returns the value if its type is exactly one of ``kinds``; True does not count as an int."""
    if type(value) not in kinds:
        raise TypeError(f"{name} is {value!r:.80}, not {' or '.join(kind.__name__ for kind in kinds)}")
    return value
