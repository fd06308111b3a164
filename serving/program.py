"""The server program, which ``make serving`` builds."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

PROGRAM = "loopwright-server"
# The shared libraries of other runtimes, in the folders of their packages.
_LIBRARIES: Mapping[str, str] = {
    "onnxruntime": "capi/libonnxruntime.so*",
    "openvino": "libs/libopenvino_c.so*",
}
_BUILT = Path(__file__).resolve().parent.parent / "build" / "serving" / PROGRAM


def server_program() -> Path:
    """Returns the file of the program: that of ``LOOPWRIGHT_SERVER``, or the one that was built in this checkout.

    Raises:
        RuntimeError: it was not built.
    """
    chosen = os.environ.get("LOOPWRIGHT_SERVER")
    path = Path(chosen) if chosen else _BUILT
    if not path.is_file():
        where = "LOOPWRIGHT_SERVER names no file" if chosen else f"{_BUILT} does not exist"
        raise RuntimeError(f"the server is not built ({where}): run `make serving` in a checkout")
    return path


def server_command(repository: Path, cache: Path | None) -> list[str]:
    """Returns the command that serves a repository, without the options of ports and times.

    Raises:
        ValueError: the repository is not a folder.
        RuntimeError: the server is not built.
    """
    if not repository.is_dir():
        example = "make one with NAME/1/model.onnx or NAME/1/model.lw"
        raise ValueError(f"the repository {repository} is not a folder; {example}")
    command = [str(server_program()), str(repository), "--python", sys.executable]
    command += ["--version-text", version("loopwright")]
    if cache is not None:
        command += ["--cache", str(cache)]
    for package, pattern in _LIBRARIES.items():
        found = find_spec(package)
        folders = found.submodule_search_locations if found else None
        if folders and (libraries := sorted(Path(folders[0]).glob(pattern))):
            command += [f"--{package}", str(libraries[0])]
    return command
