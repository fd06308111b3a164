"""The one pair of TVM packages that works together, checked before TVM is imported."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# The wheel's own floor for tvm-ffi admits versions with another ABI, with which MetaSchedule ends the process by a
# segmentation fault; so the pair is exact, and it is checked from metadata, before a line of TVM has run.
REQUIRED: Mapping[str, str] = {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.14.post1"}


def check() -> None:
    """Looks at the installed packages' metadata alone (a millisecond).

    Raises:
        ImportError: TVM is missing or of another version; one line that says what to install.
    """
    found = {name: _installed(name) for name in REQUIRED}
    if found != REQUIRED:
        wanted = " ".join(f"{name}=={version}" for name, version in REQUIRED.items())
        state = ", ".join(f"{name} {version or 'missing'}" for name, version in found.items())
        raise ImportError(f"the tvm backend needs exactly this pair: pip install {wanted} (found: {state})")


def load() -> None:
    """Checks the pair and imports TVM.

    Raises:
        ImportError: as :func:`check`.
    """
    _import("tvm")


def load_ffi() -> None:
    """Checks the pair and imports TVM's FFI alone: enough to load and run what was compiled.

    Raises:
        ImportError: as :func:`check`.
    """
    _import("tvm_ffi")


def _import(name: str) -> None:
    check()
    with _not_importable("torch"):
        importlib.import_module(name)


@contextmanager
def _not_importable(name: str) -> Iterator[None]:
    """Keeps ``import name`` from succeeding for a while, unless it has already been imported.

    tvm_ffi imports torch whenever it is installed, for conversions that are not used here: three of the four
    seconds that ``import tvm`` takes, in each measuring process.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # the import system's own mark for "not importable"
    try:
        yield
    finally:
        del sys.modules[name]


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
