"""Options of the benchmark, and the report at its end.

Ours are called ``--bench-...``, since the plugin pytest-benchmark, where it is installed, owns ``--benchmark-...``.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.command import DURATION
from benchmarks.layers.groups import BATCHES, GROUPS, Group
from benchmarks.layers.shapes import Shape
from benchmarks.models import MODELS
from benchmarks.whole_models.whole_model import WHOLE_MODELS
from compiler.commands.options import seconds
from compiler.workloads.target import usable_cores

RESULTS = pytest.StashKey[list[dict[str, Any]]]()
MODEL_RESULTS = pytest.StashKey[list[dict[str, Any]]]()
THREADS = (1, 2, 4, 8)
# Without --benchmark, the answers of so many layers of each group are checked: those of the least arithmetic.
CHECKED = 6


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("benchmark against the peers")
    group.addoption("--benchmark", action="store_true", help="measure (else answers are checked, untimed)")
    group.addoption(
        "--bench-group",
        type=_some_of(GROUPS, str),
        default=list(GROUPS),
        metavar="GROUP,...",
        help=f"of {', '.join(GROUPS)}; default: all",
    )
    group.addoption(
        "--bench-batch",
        type=_some_of(BATCHES, int),
        default=[1],
        metavar="N,...",
        help="1: all layers; 8: the heaviest of each network; 1,8: both; default: 1",
    )
    group.addoption("--bench-threads", type=_thread_counts, help="such as 1,2; default: those of 1, 2, 4, 8 that fit")
    group.addoption(
        "--bench-models",
        type=_some_of(MODELS, str),
        default=list(WHOLE_MODELS),
        metavar="MODEL,...",
        help=f"of {', '.join(MODELS)}; default: {','.join(WHOLE_MODELS)}",
    )
    group.addoption("--bench-seconds", type=seconds, default=DURATION, help="for each that runs a model; default: 5")
    group.addoption("--bench-results", type=Path, default=Path("results"), help="folder for JSON files and pictures")
    group.addoption("--bench-records", type=Path, help="tuned schedules; default: records.sqlite in --bench-results")
    group.addoption("--bench-trials", type=int, default=64, help="trials for a shape without record; 0: none")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS], config.stash[MODEL_RESULTS] = [], []
    config.addinivalue_line("markers", "measures: runs only with --benchmark, and then alone")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.option
    if "threads" in metafunc.fixturenames:
        counts = option.bench_threads or [n for n in THREADS if n <= usable_cores()]
        metafunc.parametrize("threads", counts, ids=lambda n: f"{n}t", scope="session")
    if "layer" in metafunc.fixturenames:
        rows = [
            pytest.param((GROUPS[name], shape), id=f"{name}-{shape.name}")
            for name in option.bench_group
            for batch in option.bench_batch
            for shape in GROUPS[name].shapes(batch)
        ]
        metafunc.parametrize("layer", rows)
    if "whole_model" in metafunc.fixturenames:
        metafunc.parametrize("whole_model", option.bench_models)
    if "light_layer" in metafunc.fixturenames:
        rows = [pytest.param((group, shape), id=f"{group.name}-{shape.name}") for group, shape in _light_layers()]
        metafunc.parametrize("light_layer", rows)
    if "peer_and_workload" in metafunc.fixturenames:
        rows = [
            pytest.param((peer, shape.workload), id=f"{group.name}-{shape.name}-{peer}")
            for group, shape in _light_layers()
            for peer in group.peers
        ]
        metafunc.parametrize("peer_and_workload", rows)


def _light_layers() -> Iterator[tuple[Group, Shape]]:
    for group in GROUPS.values():
        for shape in sorted(group.shapes(1), key=lambda shape: shape.workload.flops)[:CHECKED]:
            yield group, shape


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    measuring = config.option.benchmark
    here = Path(__file__).parent
    unwanted = [
        item for item in items if here in item.path.parents and bool(item.get_closest_marker("measures")) != measuring
    ]
    if unwanted:
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in unwanted]


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> list[dict[str, Any]]:
    """What was measured of layers so far; the report is made of it."""
    return pytestconfig.stash[RESULTS]


@pytest.fixture(scope="session")
def model_results(pytestconfig: pytest.Config) -> list[dict[str, Any]]:
    """And of whole models."""
    return pytestconfig.stash[MODEL_RESULTS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for key, title, module in (
        (RESULTS, "benchmark of layers", "benchmarks.layers.report"),
        (MODEL_RESULTS, "benchmark of whole models", "benchmarks.whole_models.report"),
    ):
        if results := config.stash[key]:
            report = importlib.import_module(module)  # only now: matplotlib comes with it, and takes a while
            files = report.write(results, config.option.bench_results)
            terminalreporter.section(title)
            for line in report.lines(results):
                terminalreporter.write_line(line)
            terminalreporter.write_line(f"\nraw samples and pictures: {', '.join(map(str, files))}")


def _some_of(offered: Collection[Any], kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """A parser of comma-separated choices."""

    def parse(text: str) -> list[Any]:
        chosen = [part.strip() for part in text.split(",")]
        known = {str(choice) for choice in offered}
        if not set(chosen) <= known:
            raise argparse.ArgumentTypeError(f"wants some of {', '.join(map(str, offered))}; got {text!r}")
        return list(map(kind, chosen))

    return parse


def _thread_counts(text: str) -> list[int]:
    counts = [int(part) if part.isdecimal() else 0 for part in text.split(",")]
    if not all(1 <= count <= usable_cores() for count in counts):
        raise argparse.ArgumentTypeError(f"wants counts between 1 and {usable_cores()} such as 1,2; got {text!r}")
    return counts
