"""The supported pair of TVM packages, checked before TVM is imported.

It is part of this package because running a compiled model already needs tvm-ffi and TVM's runtime library.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from compiler.installation import extras

# The TVM wheel accepts versions of tvm-ffi with another ABI, with which MetaSchedule crashes the process. So the pair
# is exact. It is checked from package metadata, before any code of TVM runs.
REQUIRED: Mapping[str, str] = {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.14.post1"}


def check() -> None:
    """Checks the metadata of the installed packages, which takes a millisecond.

    Raises:
        ImportError: TVM is missing or has another version; one line names what to install.
    """
    if not has_compiler():
        extras.require("TVM's compiler", "compile", "tvm")
    _check(REQUIRED)


def has_compiler() -> bool:
    """Returns whether the package apache-tvm is installed, in any version."""
    return _installed("apache-tvm") is not None


def _check(required: Mapping[str, str]) -> None:
    found = {name: _installed(name) for name in required}
    if found != required:
        wanted = " ".join(f"{name}=={version}" for name, version in REQUIRED.items())
        state = ", ".join(f"{name} {version or 'missing'}" for name, version in found.items())
        raise ImportError(f"TVM must be exactly this pair of packages: pip install {wanted} (found: {state})")


def load() -> None:
    """Checks the pair and imports TVM.

    Raises:
        ImportError: as :func:`check`.
    """
    check()
    _import("tvm")


def load_ffi() -> None:
    """Imports TVM's FFI, which is enough to load and run compiled models. TVM itself may be missing.

    Raises:
        ImportError: a package is missing or has another version; one line names what to install.
    """
    _check(REQUIRED if has_compiler() else {"apache-tvm-ffi": REQUIRED["apache-tvm-ffi"]})
    _import("tvm_ffi")


def _import(name: str) -> None:
    with _not_importable("torch"):
        importlib.import_module(name)


@contextmanager
def _not_importable(name: str) -> Iterator[None]:
    """Makes ``import name`` fail inside the context, unless the module is already imported.

    tvm_ffi imports torch if it is installed, for conversions that this project does not use. That takes three of the
    four seconds of ``import tvm``, in every measuring process, and tvm_ffi has no option against it. An entry None in
    ``sys.modules`` is the documented way to block an import (Python reference, "The module cache"). The entry is
    process-wide: another thread that imports torch at the same time gets an ImportError. It exists during the first
    import of tvm_ffi only.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # typeshed does not declare None
    try:
        yield
    finally:
        del sys.modules[name]


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
