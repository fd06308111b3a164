"""The options of the benchmarks, and the report at the end.

The options begin with ``--bench-``, because ``--benchmark-...`` belongs to the plugin pytest-benchmark.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import selection
from benchmarks.command import DURATION, thread_counts
from benchmarks.layers.groups import BATCHES, GROUPS, Group
from benchmarks.layers.shapes import Shape
from benchmarks.models import MODELS
from benchmarks.progress import Progress
from benchmarks.whole_models.measure import SAMPLED_MODELS, WHOLE_MODELS
from compiler.commands.command_line import at_least, check_folder, seconds
from compiler.workloads.target import usable_cores

RESULTS = pytest.StashKey[list[dict[str, Any]]]()
MODEL_RESULTS = pytest.StashKey[list[dict[str, Any]]]()
THREADS = (1, 2, 4, 8)
# Without --benchmark, the answers of this many layers of each group are checked: those with the least arithmetic.
CHECKED = 6


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("benchmark against other libraries and runtimes")
    group.addoption("--benchmark", action="store_true", help="measure; without it, only answers are checked")
    group.addoption(
        "--bench-group",
        type=_some_of(GROUPS, str),
        default=list(GROUPS),
        metavar="GROUP,...",
        help=f"some of {', '.join(GROUPS)}; default: all",
    )
    group.addoption(
        "--bench-all",
        action="store_true",
        help=f"all layers of the groups, not a sample, and the models {','.join(WHOLE_MODELS)}",
    )
    group.addoption(
        "--bench-batch",
        type=_some_of(BATCHES, int),
        default=[1],
        metavar="N,...",
        help="1: the sample, or all layers; 8: the heaviest layers of each network; 1,8: both; default: 1",
    )
    group.addoption(
        "--bench-threads", type=thread_counts, help="such as 1,2; default: 1, 2, 4, 8, as far as there are cores"
    )
    group.addoption(
        "--bench-models",
        type=_some_of(MODELS, str),
        metavar="MODEL,...",
        help=f"some of {', '.join(MODELS)}; default: {','.join(SAMPLED_MODELS)}",
    )
    group.addoption(
        "--bench-seconds", type=seconds, default=DURATION, help="seconds per implementation of a model; default: 5"
    )
    group.addoption("--bench-results", type=Path, default=Path("results"), help="folder for JSON files and pictures")
    group.addoption(
        "--bench-trials",
        type=at_least(0),
        default=0,
        metavar="N",
        help="search until each layer has N records, and measure tuned schedules too; default: 0, no search",
    )
    group.addoption(
        "--bench-records",
        type=Path,
        metavar="FILE",
        help="measure the tuned schedules of this file too; default with --bench-trials: records.sqlite in "
        "--bench-results; default without: only default schedules",
    )


def pytest_configure(config: pytest.Config) -> None:
    for name in ("bench_results", "bench_records"):  # tests run in other folders
        if (path := getattr(config.option, name)) is not None:
            setattr(config.option, name, path.absolute())
    config.stash[RESULTS], config.stash[MODEL_RESULTS] = [], []
    try:
        selection.records(config.option)
        if config.option.benchmark:  # before the measurement, which would otherwise be lost
            check_folder(config.option.bench_results, "models.json")
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    if config.option.benchmark:
        progress = Progress(config, config.stash[RESULTS], config.stash[MODEL_RESULTS])
        config.pluginmanager.register(progress, "loopwright-benchmark-progress")
    config.addinivalue_line("markers", "measures: runs only with --benchmark, without the other tests")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.option
    if "threads" in metafunc.fixturenames:
        counts = option.bench_threads or [n for n in THREADS if n <= usable_cores()]
        metafunc.parametrize("threads", counts, ids=lambda n: f"{n}t", scope="session")
    if "layer" in metafunc.fixturenames:
        rows = [pytest.param(layer, id=f"{layer[0].name}-{layer[1].name}") for layer in selection.layers(option)]
        metafunc.parametrize("layer", rows)
    if "whole_model" in metafunc.fixturenames:
        metafunc.parametrize("whole_model", selection.whole_models(option))
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
    """The results of layers so far, for the report."""
    return pytestconfig.stash[RESULTS]


@pytest.fixture(scope="session")
def model_results(pytestconfig: pytest.Config) -> list[dict[str, Any]]:
    """The results of whole models so far, for the report."""
    return pytestconfig.stash[MODEL_RESULTS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for key, title, module in (
        (RESULTS, "benchmark of layers", "benchmarks.layers.report"),
        (MODEL_RESULTS, "benchmark of whole models", "benchmarks.whole_models.report"),
    ):
        if results := config.stash[key]:
            report = importlib.import_module(module)  # late, because importing matplotlib takes a while
            files = report.write(results, config.option.bench_results)
            terminalreporter.section(title)
            for line in report.lines(results):
                terminalreporter.write_line(line)
            terminalreporter.write_line(f"\nraw samples and pictures: {', '.join(map(str, files))}")


def _some_of(offered: Collection[Any], kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Returns a parser of comma-separated choices."""

    def parse(text: str) -> list[Any]:
        chosen = [part.strip() for part in text.split(",")]
        known = {str(choice) for choice in offered}
        if not set(chosen) <= known:
            raise argparse.ArgumentTypeError(f"must be some of {', '.join(map(str, offered))}; got {text!r}")
        return list(map(kind, chosen))

    return parse
