"""Functions of ``libloopwright_runtime``, which runs compiled models; see ``compiler/cpp``.

The library needs TVM's runtime library, 3 MB in size. The wheel of this project contains a copy of it. If TVM itself is
installed, its own one is used, because a process must not have two.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.installation import extras
from compiler.program import tvm_pair

if TYPE_CHECKING:
    import tvm_ffi

_FOLDER = Path(__file__).resolve().parents[1]
LIBRARY = _FOLDER / "libloopwright_runtime.so"
_TVM_RUNTIME = _FOLDER / "libtvm_runtime.so"


def function(name: str) -> tvm_ffi.Function:
    """Returns a function that ``compiler/cpp`` defines. The first call loads the library.

    Raises:
        ImportError: a library is missing, or is incompatible with the others.
    """
    return _loaded()[name]


@contextmanager
def same_subnormals() -> Iterator[None]:
    """Restores at its end what the calling thread does with subnormal numbers. Libraries change that as they start."""
    keep = function("keep_subnormals")
    kept = keep(True)
    keep(kept)
    try:
        yield
    finally:
        keep(kept)


def empty_pool() -> None:
    """Returns the memory that TVM's pool keeps for later runs, and does not use now, to the system."""
    _loaded()
    import tvm_ffi

    tvm_ffi.get_global_func("vm.builtin.memory_manager.clear")()


@cache
def _loaded() -> dict[str, Any]:
    tvm_pair.load_ffi()
    import tvm_ffi

    _load_tvm_runtime()
    try:
        ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        raise ImportError(f"{LIBRARY.name} cannot be loaded; build it with `make native`: {error}") from None
    tvm_ffi.get_global_func("loopwright.share_thread_pool")()
    return _Functions()


def _load_tvm_runtime() -> None:
    if tvm_pair.has_compiler():
        from tvm_ffi.libinfo import load_lib_ctypes

        load_lib_ctypes("apache-tvm", "tvm_runtime", "RTLD_GLOBAL")
        return
    if not _TVM_RUNTIME.is_file():  # as in a checkout
        extras.require("running a compiled model without a copy of TVM's runtime library", "compile", "tvm")
    ctypes.CDLL(str(_TVM_RUNTIME), ctypes.RTLD_GLOBAL)


class _Functions(dict[str, Any]):
    """Functions by name; each is looked up once."""

    def __missing__(self, name: str) -> Any:
        import tvm_ffi

        self[name] = found = tvm_ffi.get_global_func(f"loopwright.{name}")
        return found
