"""The C++ program of docs/serving, which runs the engine without a network."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from serving.program import server_program


def test_a_program_embeds_the_engine(add_version: Callable[..., Path], tmp_path: Path) -> None:
    add_version(1)
    add_version(2)
    repository = tmp_path / "repository"
    (repository / "affine" / "config.toml").write_text('versions = "all"\n')
    program = server_program().with_name("embed")
    done = subprocess.run([program, repository, "affine"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    # 1 * version + 1: both versions, then each as the stable one, then back.
    assert done.stdout.splitlines() == [
        "version 1: 2",
        "version 2: 3",
        "version 1: 2",
        "version 2: 3",
        "version 1: 2",
        "unloaded: yes",
    ]
