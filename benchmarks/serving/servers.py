"""The servers that are measured or compared: processes on given cores."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from compiler.measure import affinity

_START_SECS = 120
OURS, TRITON = "loopwright", "Triton"
INSTALL = "pip install --no-deps --target FOLDER nvidia-pytriton==0.7.0 'numpy<2'"


@dataclass(frozen=True)
class Running:
    """A server that is ready. ``ports`` are by protocol."""

    process: subprocess.Popen[str]
    ports: Mapping[str, int]
    version: str

    def cpu_secs(self) -> float:
        """Returns the CPU time of the server's processes, of users and of the system, as /proc has it."""
        own = psutil.Process(self.process.pid)
        times = [each.cpu_times() for each in (own, *own.children(recursive=True))]
        return sum(each.user + each.system for each in times)


@contextlib.contextmanager
def loopwright(repository: Path, log: Path, cores: Sequence[int]) -> Iterator[Running]:
    """Serves a repository.

    Args:
        log: the file of what the server prints on standard error.

    Raises:
        RuntimeError: the server is not built, or does not start.
    """
    from serving.program import server_command

    ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    command = [*server_command(repository, None), *ports]
    with _process(command, cores, None, log) as process:
        assert process.stdout
        line = process.stdout.readline()
        if not line.startswith("ready: "):
            raise RuntimeError(f"our server did not start: {_last_line(log)}")
        found = dict(re.findall(r"(\w+) [0-9.]+:([0-9]+)", line))
        yield _ready(process, {name: int(found[name]) for name in ("http", "grpc")})


@contextlib.contextmanager
def triton(
    wheel: Path, folder: Path, models: Mapping[str, Mapping[str, str]], cores: Sequence[int]
) -> Iterator[Running]:
    """Serves models in Triton's Python backend.

    Args:
        wheel: the folder of the unpacked wheel of nvidia-pytriton, and of NumPy 1, for which its backend is built.
        folder: an empty folder.
        models: the texts of each model's files, by their paths in its folder, such as config.pbtxt and 1/model.py.

    Raises:
        ValueError: the wheel is not there, or has no Python backend for this Python.
        RuntimeError: the server does not start.
    """
    root = wheel / "pytriton" / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = root / "python_backend_stubs" / version / "triton_python_backend_stub"
    for file in (root / "bin" / "tritonserver", stub, wheel / "numpy" / "__init__.py"):
        if not file.is_file():
            raise ValueError(f"argument --triton: {file} is missing; install it with {INSTALL}")
    # A wheel that is unpacked by hand lacks the permission to run.
    program = _runnable(root / "bin" / "tritonserver", folder / "tritonserver")
    backend = folder / "backends" / "python"
    shutil.copytree(root / "backends" / "python", backend)
    _runnable(stub, backend / stub.name)
    (backend / "numpy").symlink_to(wheel / "numpy")  # the stub does not read PYTHONPATH
    for name, files in models.items():
        for path, text in files.items():
            file = folder / "repository" / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    ports = dict(zip(("http", "grpc", "metrics"), _free_ports(3), strict=True))
    command = [str(program), "--model-repository", str(folder / "repository")]
    command += ["--backend-directory", str(folder / "backends"), "--http-address", "127.0.0.1"]
    command += ["--grpc-address", "127.0.0.1"]
    command += [word for name, number in ports.items() for word in (f"--{name}-port", str(number))]
    environment = os.environ | {
        "LD_LIBRARY_PATH": str(wheel / "nvidia_pytriton.libs"),
        "PYTHONHOME": sys.base_prefix,
    }
    log = folder / "triton.log"
    with _process(command, cores, environment, log) as process:
        end = time.monotonic() + _START_SECS
        while not _is_ready(ports["http"]):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"Triton did not start: {_last_line(log)}")
            time.sleep(0.1)
        yield _ready(process, {name: ports[name] for name in ("http", "grpc")})


@contextlib.contextmanager
def _process(
    command: Sequence[str], cores: Sequence[int], environment: Mapping[str, str] | None, log: Path
) -> Iterator[subprocess.Popen[str]]:
    """Starts a process on given cores, and ends it with its children."""
    with log.open("w") as errors, affinity.pinned(cores):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its children too, which may outlive it
        process.communicate()


def _ready(process: subprocess.Popen[str], ports: Mapping[str, int]) -> Running:
    with urllib.request.urlopen(f"http://127.0.0.1:{ports['http']}/v2", timeout=60) as answer:
        return Running(process, ports, json.load(answer)["version"])


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


def _runnable(source: Path, target: Path) -> Path:
    """Copies a program. Its libraries are found by LD_LIBRARY_PATH."""
    shutil.copy(source, target)
    target.chmod(0o755)
    return target


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"
