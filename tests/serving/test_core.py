"""The parts of the engine that need no model, which ``cpp/core_test.cc`` tests."""

from __future__ import annotations

import subprocess

from serving.program import server_program


def test_the_parts_of_the_engine() -> None:
    done = subprocess.run([server_program().with_name("core_test")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
