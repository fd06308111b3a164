"""Isolates the tests of ``tests`` and ``benchmarks``.

Each test runs in its ``tmp_path``. Fixtures of a wider scope run in a folder that must stay empty. The home and the
caches of the user are replaced by a temporary folder. The run fails if the checkout has changed at its end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis.configuration import set_hypothesis_home_dir

ROOT = Path(__file__).resolve().parent
# Folders of tools, which the comparison of the checkout leaves out.
TOOLS = {".git", ".pyright", ".ruff_cache", ".venv", "__pycache__", "build"}
State = dict[str, tuple[int, int]]
BEFORE = pytest.StashKey[State]()
CHANGED = pytest.StashKey[list[str]]()

set_hypothesis_home_dir(ROOT / "build" / "hypothesis")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-cases", action="store_true", help="run all node tests and differential cases, not a sample")


def state(folder: Path) -> State:
    """Returns the size in bytes and the time of modification in ns of each file, by its path within ``folder``."""
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in TOOLS and not name.endswith(".egg-info")]
        for name in names:
            path = os.path.join(place, name)
            status = os.lstat(path)
            found[os.path.relpath(path, folder)] = (status.st_size, status.st_mtime_ns)
    return found


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[BEFORE] = state(ROOT)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("benchmark", False):  # writes its results into the checkout by default
        return
    before, after = session.config.stash[BEFORE], state(ROOT)
    if changed := sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)):
        session.config.stash[CHANGED] = changed
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if changed := config.stash.get(CHANGED, []):
        terminalreporter.section("the checkout changed during the run", red=True)
        terminalreporter.write_line("Changed by a test, which must write to tmp_path alone, or by hand:")
        terminalreporter.write_line("\n".join(changed))


@pytest.fixture(scope="session", autouse=True)
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Moves the process out of the checkout, and its home and caches to a temporary folder."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("session")
    search_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", search_path)  # subprocesses import this checkout from any folder
        patch.setenv("HOME", str(home))
        for name in ("CACHE", "CONFIG", "DATA", "STATE"):
            patch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
        patch.chdir(folder)
        yield folder
    assert not list(folder.iterdir()), "a fixture wrote to its working directory"


@pytest.fixture(autouse=True)
def own_folder(session_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moves a test to its ``tmp_path``."""
    del session_folder  # runs first
    monkeypatch.chdir(tmp_path)
