"""A separate process: its result or the reason of its failure comes back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compiler.measure import isolated

PROGRAM = """
import json, os, signal, sys, time
what, _, file = sys.argv[1:]
if what == "result":
    open(file, "w").write(json.dumps({"cores": sorted(os.sched_getaffinity(0))}))
elif what == "error":
    sys.exit("python -m the_program: error: it rains")
elif what == "silence":
    sys.exit(3)
elif what == "signal":
    os.kill(os.getpid(), signal.SIGKILL)
else:
    time.sleep(60)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "the_program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "the_program"


def test_the_result_comes_back(program: str) -> None:
    assert isolated.run(program, ["result"], 60) == {"cores": sorted(os.sched_getaffinity(0))}


@pytest.mark.parametrize(
    ("what", "limit_secs", "message"),
    [
        ("error", 60, "^it rains$"),
        ("silence", 60, "^-m the_program silence failed with exit code 3$"),
        ("signal", 60, "^-m the_program signal was ended by signal 9$"),
        ("sleep", 0.5, "^-m the_program sleep did not finish within 0.5 s$"),
    ],
)
def test_the_reason_comes_back(program: str, what: str, limit_secs: float, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        isolated.run(program, [what], limit_secs)
