"""Options of the benchmark, and the report at its end.

Ours are called ``--bench-...``, since the plugin pytest-benchmark, where it is installed, owns ``--benchmark-...``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from compiler.target import usable_cores

RESULTS = pytest.StashKey[list[dict[str, Any]]]()
THREADS = (1, 2, 4, 8)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("dense benchmark")
    group.addoption("--benchmark", action="store_true", help="measure (else answers are checked, untimed)")
    group.addoption("--bench-threads", type=_thread_counts, help="such as 1,2; default: those of 1, 2, 4, 8 that fit")
    group.addoption("--bench-results", type=Path, default=Path("results"), help="folder for dense.json and dense.png")
    group.addoption("--bench-records", type=Path, help="tuned schedules; default: records.sqlite in --bench-results")
    group.addoption("--bench-trials", type=int, default=64, help="trials for a shape without record; 0: none")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = []
    config.addinivalue_line("markers", "measures: runs only with --benchmark, and then alone")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "threads" in metafunc.fixturenames:
        counts = metafunc.config.option.bench_threads or [n for n in THREADS if n <= usable_cores()]
        metafunc.parametrize("threads", counts, ids=lambda n: f"{n}t", scope="session")


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
    """What was measured so far; the report is made of it."""
    return pytestconfig.stash[RESULTS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    results = config.stash[RESULTS]
    if not results:
        return
    from benchmarks import report  # matplotlib comes with it, and takes a while

    folder = config.option.bench_results
    report.write(results, folder)
    terminalreporter.section("dense benchmark")
    for line in report.lines(results):
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"\nraw samples: {folder / report.JSON_FILE}   picture: {folder / report.PNG_FILE}")


def _thread_counts(text: str) -> list[int]:
    counts = [int(part) if part.isdecimal() else 0 for part in text.split(",")]
    if not all(1 <= count <= usable_cores() for count in counts):
        raise argparse.ArgumentTypeError(f"wants counts between 1 and {usable_cores()} such as 1,2; got {text!r}")
    return counts
