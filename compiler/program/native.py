"""Functions of ``libloopwright_runtime``, which runs compiled models; see ``compiler/cpp``.

The library needs TVM's runtime, a library of a few megabytes. It needs neither TVM's compiler nor its Python package.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.program import tvm_pair

if TYPE_CHECKING:
    import tvm_ffi

LIBRARY = Path(__file__).resolve().parents[1] / "libloopwright_runtime.so"


def function(name: str) -> tvm_ffi.Function:
    """Returns a function that ``compiler/cpp/functions.cc`` defines. The first call loads the library.

    Raises:
        ImportError: a library is missing, or is incompatible with the others.
    """
    return _loaded()[name]


@cache
def _loaded() -> dict[str, Any]:
    tvm_pair.load_ffi()
    import tvm_ffi
    from tvm_ffi.libinfo import load_lib_ctypes

    load_lib_ctypes("apache-tvm", "tvm_runtime", "RTLD_GLOBAL")
    try:
        ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        raise ImportError(f"{LIBRARY.name} cannot be loaded; build it with `make native`: {error}") from None
    tvm_ffi.get_global_func("loopwright.share_thread_pool")()
    return _Functions()


class _Functions(dict[str, Any]):
    """Functions by name; each is looked up once."""

    def __missing__(self, name: str) -> Any:
        import tvm_ffi

        self[name] = found = tvm_ffi.get_global_func(f"loopwright.{name}")
        return found
