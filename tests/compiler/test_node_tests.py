"""onnx's node tests through ``compiler.build``: no wrong answer, no late error, no crash.

A sample runs by default, and all cases with ``--all-cases``. ``tests.compiler.node_tests`` says which cases count.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compiler.differential.outcome import DISCARDED, FAILURES, PASSED, UNSUPPORTED

SAMPLE = 8  # every n-th case


@pytest.mark.tvm
def test_a_case_passes_or_is_not_supported(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    every = 1 if request.config.getoption("--all-cases") else SAMPLE
    # A separate process without threads, since it forks.
    command = [sys.executable, "-m", "tests.compiler.node_tests", f"--every={every}", f"--json={tmp_path / 'json'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (tmp_path / "json").exists(), done.stderr
    results = json.loads((tmp_path / "json").read_text())
    print(done.stdout.splitlines()[-2:])
    # An operator whose cases are no longer supported is a regression as well.
    unsupported = {name for r in results if r["kind"] == UNSUPPORTED for name in r["operators"].split()}
    assert unsupported <= NOT_ALWAYS_SUPPORTED, sorted(unsupported - NOT_ALWAYS_SUPPORTED)
    failed = [r for r in results if r["kind"] in FAILURES]
    assert not failed, done.stdout
    assert done.returncode == 0
