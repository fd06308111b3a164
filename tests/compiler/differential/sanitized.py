"""Differential cases under AddressSanitizer and UBSan: the runtime's C++ and the code that TVM generates.

TVM's machine code has no checks of addresses. So TVM writes C here, from the same schedules, except that its vector
loops stay loops, since that code generator has no vectors. GCC compiles it with the sanitizers. The runtime must be
built with ``-DLOOPWRIGHT_SANITIZE=ON``, which ``make sanitize`` does. Inputs lie in blocks of exactly their size, and
intermediate tensors of a sanitized runtime come from malloc, so that every access outside of them is found.

Answers are compared elsewhere: that C code has decimal constants of few digits.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto

from tests.compiler.differential import children
from tests.compiler.differential.case import Case
from tests.compiler.differential.check import outcomes
from tests.compiler.differential.generate import Unit, drawn, units
from tests.compiler.differential.outcome import CRASH, DISCARDED, LATE, PASSED, UNCHECKED, UNSUPPORTED, WRONG, Outcome
from tests.compiler.differential.report import Report

# Operators whose addresses depend on data, or that read beyond an edge.
OPERATORS = tuple(
    "AffineGrid CenterCropPad Compress DeformConv Gather GatherElements GatherND GridSample MaxPool MaxRoiPool "
    "MaxUnpool NegativeLogLikelihoodLoss NonMaxSuppression OneHot Pad Resize ReverseSequence RoiAlign Scatter "
    "ScatterElements ScatterND Slice SoftmaxCrossEntropyLoss TensorScatter TopK Trilu Unique Upsample".split()
)
_LIBRARIES = ("libasan.so", "libstdc++.so")
# TVM shifts negative numbers to the left, which C does not define, but LLVM's instruction does.
_FLAGS = (
    *("-x", "c", "-O1", "-g", "-w"),
    *("-fsanitize=address,undefined", "-fno-sanitize=shift-base", "-fno-sanitize-recover=undefined"),
)
# The generator writes infinities like this.
_INFINITIES = ("-Dinf=__builtin_inf()", "-Dinff=__builtin_inff()")
_ALIGNMENT = 64  # of the inputs that the runtime does not copy
_C = ctypes.CDLL(None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what the sanitizers found; returns 1 if it is anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.compiler.differential.sanitized", description=__doc__)
    parser.add_argument("--cases", type=int, default=1500, help="models of one node (%(default)s)")
    parser.add_argument("--graphs", type=int, default=0, help="models of 2 to 8 nodes (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ops", type=lambda text: tuple(text.split(",")), default=OPERATORS, help="such as Resize,Pad")
    parser.add_argument("--jobs", type=int, default=2, help="processes that run cases at the same time (%(default)s)")
    parser.add_argument("--failures", type=Path, metavar="DIR", help="write a model and its inputs per failure")
    parser.add_argument("--log", default=os.devnull, metavar="FILE", help="append what the sanitizers print")
    options = parser.parse_args(arguments)
    if "libasan" not in os.environ.get("LD_PRELOAD", ""):
        return _with_sanitizers(sys.argv[1:] if arguments is None else list(arguments))
    if not finds_an_access_outside():
        print("The sanitizers do not find an access outside an array: the check cannot fail.", file=sys.stderr)
        return 1
    report = Report()
    work = units(options.cases, options.graphs, options.seed, options.ops, most=50)
    for results in children.in_workers(partial(_results, log=options.log), work, options.jobs, _prepare):
        report.add(results)
    _print(report, options.failures)
    return any(failure.kind in (CRASH, UNCHECKED) for failure in report.failures.values())


def _with_sanitizers(arguments: Sequence[str]) -> int:
    """Runs this program again. Python is not built with the sanitizers, so it must load their runtime first."""
    compiler = os.environ.get("CXX", "c++")
    libraries = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in _LIBRARIES
    ]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "LD_PRELOAD": " ".join(libraries),
            "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        }
        log = Path(folder) / "log"
        log.touch()
        command = [sys.executable, "-m", "tests.compiler.differential.sanitized", *arguments, f"--log={log}"]
        code = subprocess.run(command, env=environment, check=False).returncode
        marks = ("ERROR: ", "runtime error", "    #0 ", "    #1 ")
        lines = [line for line in log.read_text(errors="replace").splitlines() if any(mark in line for mark in marks)]
        print("\n".join(lines[:100]))
    return code


# The build


def _prepare() -> None:
    """Makes ``compiler.build`` generate C with the sanitizers, in this process and those that it forks."""
    from tvm import relax

    relax.build = partial(_built, relax.build)


def _built(build: Any, module: Any, _target: Any, relax_pipeline: Any) -> Any:
    """``tvm.relax.build`` for C instead of machine code. The schedules remain those of the target."""
    import tvm

    options = {"tirx.disable_assert": True, "tirx.disable_vectorize": True}
    with tvm.transform.PassContext(opt_level=3, config=options):
        executable = build(module, tvm.target.Target("c"), relax_pipeline=relax_pipeline)
    executable.jit(fcompile=_compiled)
    return executable


def _compiled(output: str, files: Sequence[str], **_: Any) -> None:
    """Compiles C files to a shared library; TVM's ``fcompile``."""
    import tvm
    import tvm_ffi.libinfo

    folders = {tvm_ffi.libinfo.find_include_path(), str(Path(tvm.__file__).parent / "include")}
    includes = [f"-I{folder}" for folder in folders]
    done = subprocess.run(
        ["gcc", "-shared", "-fPIC", *_FLAGS, *_INFINITIES, *includes, "-o", output, *files, "-lm"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        line = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
        raise ValueError(f"no C code: {line[:150]}")


_compiled.output_format = "so"  # pyright: ignore[reportFunctionMemberAccess]


# The cases


def exact(array: np.ndarray) -> np.ndarray:
    """Returns a copy in a block of malloc of exactly its size, aligned so that the runtime does not copy it."""
    place = ctypes.c_void_p()
    if _C.posix_memalign(ctypes.byref(place), ctypes.c_size_t(_ALIGNMENT), ctypes.c_size_t(max(array.nbytes, 1))):
        raise MemoryError
    buffer: Any = (ctypes.c_char * array.nbytes).from_address(place.value or 0)
    copy = np.frombuffer(buffer, array.dtype, array.size).reshape(array.shape)
    copy[...] = array
    return copy


def finds_an_access_outside() -> bool:
    """Tests in a process that reads behind an array whether it is ended."""
    (found,) = children.results(_reads_outside, [4])
    return isinstance(found, children.Died) and found.how == "SIGABRT"


def _reads_outside(size: int, _: Any) -> int:
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "read.c", Path(folder) / "read.so"
        source.write_text("float read(const float* x, int i) { return x[i]; }\n")
        _compiled(str(library), [str(source)])
        function = ctypes.CDLL(str(library)).read
        x = exact(np.ones(size, np.float32))
        return int(function(ctypes.c_void_p(x.ctypes.data), ctypes.c_int(size)))


def _results(unit: Unit, log: str) -> list[tuple[Case, Outcome]]:
    # The C code generator has no type for float16.
    cases = [case for case in drawn(unit) if not _has_float16(case)]
    found = outcomes(cases, copied=exact, errors=log)
    return list(zip(cases, map(_relevant, found), strict=True))


def _has_float16(case: Case) -> bool:
    constants = (constant.data_type for constant in case.model.graph.initializer)
    return TensorProto.FLOAT16 in constants or np.float16 in [x.dtype for x in case.inputs.values()]


def _relevant(outcome: Outcome) -> Outcome:
    if outcome.kind == WRONG:
        return Outcome(PASSED)
    if outcome.kind == LATE and "build raises" in outcome.reason:
        return Outcome(UNSUPPORTED, outcome.reason)
    return outcome


def _print(report: Report, folder: Path | None) -> None:
    kinds = sum(report.kinds.values(), Counter())
    for failure in report.failures.values():
        where = f" -> {failure.save(folder)}" if folder else ""
        print(f"{failure.operator}: {failure.kind} {failure.count} times, smallest: {failure.reason}{where}")
    ran = kinds[PASSED] + kinds[LATE]
    print(
        f"{ran} cases ran, {kinds[CRASH]} ended by a sanitizer, {kinds[UNCHECKED]} not checked, "
        f"{kinds[UNSUPPORTED]} without C code or not supported, {kinds[DISCARDED]} discarded"
    )
    for (operator, kind), reasons in sorted(report.reasons.items()):
        if kind == UNSUPPORTED:
            print(
                f"{operator} not run: " + ", ".join(f"{count} times {text}" for text, count in reasons.most_common(2))
            )
    rarest = sorted(((kinds[PASSED], name) for name, kinds in report.kinds.items()))[:8]
    print("fewest: " + ", ".join(f"{name} {count}" for count, name in rarest))


if __name__ == "__main__":
    sys.exit(main())
