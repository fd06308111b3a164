"""Has the code that TVM generates run its parallel loops on the kernels' threads, so that a process has one pool."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from tvm_ffi import libinfo

import kernels


def share() -> None:
    """For all code that is loaded from now on, compiled here or read from a file.

    Generated code starts its parallel loops through pointers, which the FFI fills in when it loads the code: with what
    was registered last under their names.

    Raises:
        RuntimeError: the FFI rejects a function.
    """
    ffi = ctypes.CDLL(libinfo.find_libtvm_ffi())
    register = ffi.TVMFFIEnvModRegisterContextSymbol
    register.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    functions = kernels.generated_code_functions()
    for name, function in (
        ("__TVMBackendParallelLaunch", functions.parallel_launch),
        ("__TVMBackendParallelBarrier", functions.parallel_barrier),
    ):
        if register(name.encode(), function) != 0:
            raise RuntimeError(f"TVM rejects {name}")
    kernels.set_failure_reasons(
        take=_address(ffi.TVMFFIErrorMoveFromRaised),
        put=_address(ffi.TVMFFIErrorSetRaised),
        release=_address(ffi.TVMFFIObjectDecRef),
    )


def _address(function: Callable[..., Any]) -> int:
    """Of a function that ctypes has found in a library."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]  # its type has no public name
