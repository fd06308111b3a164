"""What the options of ``pytest benchmarks --benchmark`` select: layers, models, and the file of tuned schedules."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from benchmarks.layers.groups import GROUPS, Group
from benchmarks.layers.sample import sample
from benchmarks.layers.shapes import Shape
from benchmarks.whole_models.measure import SAMPLED_MODELS, WHOLE_MODELS


def layers(option: Namespace) -> Iterator[tuple[Group, Shape]]:
    """Yields the layers: at batch 1 the sample of each group or all of them, at a larger batch the heaviest ones."""
    for name in option.bench_group:
        for batch in option.bench_batch:
            chosen = sample(name) if batch == 1 and not option.bench_all else GROUPS[name].shapes(batch)
            yield from ((GROUPS[name], shape) for shape in chosen)


def whole_models(option: Namespace) -> list[str]:
    """Returns the names of the models."""
    if option.bench_models is not None:
        return option.bench_models
    return list(WHOLE_MODELS if option.bench_all else SAMPLED_MODELS)


def records(option: Namespace) -> Path | None:
    """Returns the file of tuned schedules; None: only default schedules are measured.

    A search writes ``records.sqlite`` in the folder of the results. Without a search, records are measured only if
    their file is given, because a tuned schedule makes a run longer and its results depend on earlier ones.

    Raises:
        ValueError: there is nothing to measure, because the given file does not exist and there is no search.
    """
    if option.bench_trials:
        return option.bench_records or option.bench_results / "records.sqlite"
    if option.bench_records is not None and not option.bench_records.is_file():
        raise ValueError(f"--bench-records: there is no file {option.bench_records}; --bench-trials N makes it")
    return option.bench_records
