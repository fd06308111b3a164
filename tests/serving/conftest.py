"""A server per test, and compiled versions of :func:`tests.serving.models.affine`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import compiler
from serving.program import server_program
from tests.serving.client import Server
from tests.serving.models import affine

try:
    server_program()
except RuntimeError as _missing:
    if os.environ.get("LOOPWRIGHT_REQUIRE_SERVING"):
        raise
    collect_ignore_glob = ["test_*.py"]
    pytest.skip(str(_missing), allow_module_level=True)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Path]:
    """Returns a function from a scale to the folder of the compiled :func:`affine`."""
    folder = tmp_path_factory.mktemp("compiled")

    def of(scale: float) -> Path:
        path = folder / f"{scale}.lw"
        if not path.exists():
            compiler.build(affine(scale), threads=1).save(path)
        return path

    return of


@pytest.fixture
def add_version(compiled: Callable[[float], Path], tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that makes a version of a model, which multiplies by the version's number."""

    def add(number: int, model: str = "affine", scale: float | None = None) -> Path:
        folder = tmp_path / "repository" / model / str(number)
        folder.parent.mkdir(parents=True, exist_ok=True)
        staged = tmp_path / f"staged-{model}-{number}"
        shutil.copytree(compiled(float(number if scale is None else scale)), staged / "model.lw")
        return staged.rename(folder)

    return add


@pytest.fixture(scope="module")
def server(compiled: Callable[[float], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of version 2 of ``affine``, for tests that change nothing."""
    repository = tmp_path_factory.mktemp("repository")
    shutil.copytree(compiled(2.0), repository / "affine" / "2" / "model.lw")
    running = Server(repository)
    yield running
    running.kill()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Returns a function that starts a server of ``tmp_path / "repository"``."""
    servers: list[Server] = []

    def begin(*options: str) -> Server:
        repository = tmp_path / "repository"
        repository.mkdir(exist_ok=True)
        servers.append(Server(repository, *options))
        return servers[-1]

    yield begin
    for server in servers:
        server.kill()
