"""No test reads or writes the checkout, the user's home, or another test's files; ``conftest.py`` enforces it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# As in a fixture of session scope that builds a model: it must not read the records of the checkout.
READS = """
import os, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).parent

@pytest.fixture(scope="session")
def found_by_a_fixture():
    return os.path.exists("records.sqlite")

def test_folders(found_by_a_fixture, tmp_path):
    assert (ROOT / "records.sqlite").exists()
    assert not found_by_a_fixture
    assert not os.path.exists("records.sqlite")
    assert Path.cwd() == tmp_path
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        assert "user" not in Path(os.environ[name]).parts

def test_subprocesses():
    subprocess.run([sys.executable, "-c", "import ours"], check=True)
"""
WRITES = """
from pathlib import Path
def test_writes():
    Path(__file__).with_name("records.sqlite").write_text("new")
"""
SHARES = """
from pathlib import Path
import pytest
@pytest.fixture(scope="session")
def shared():
    Path("shared.txt").write_text("for another test")
def test_shares(shared):
    pass
"""


@pytest.fixture
def run(tmp_path: Path):
    """Runs pytest on one file in a checkout that has records and the conftest of this one."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    shutil.copy(ROOT / "conftest.py", checkout)
    (checkout / "records.sqlite").write_text("of the user")
    (checkout / "ours.py").touch()

    def run(tests: str) -> subprocess.CompletedProcess[str]:
        (checkout / "test_it.py").write_text(tests)
        environment = {**os.environ, "HOME": "/home/user", "XDG_CACHE_HOME": "/home/user/.cache", "PYTHONPATH": ""}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'tests'}"]
        return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)

    return run


def test_a_test_sees_no_file_of_the_checkout_or_the_user(run) -> None:
    done = run(READS)
    assert done.returncode == 0, done.stdout


def test_a_run_that_writes_to_the_checkout_fails(run) -> None:
    done = run(WRITES)
    assert done.returncode == 1
    assert "1 passed" in done.stdout
    assert "the checkout changed during the run" in done.stdout
    assert "\nrecords.sqlite\n" in done.stdout


def test_a_run_whose_fixtures_share_a_file_in_the_working_directory_fails(run) -> None:
    done = run(SHARES)
    assert done.returncode == 1
    assert "a fixture wrote to its working directory" in done.stdout
