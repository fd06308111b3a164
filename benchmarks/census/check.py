"""One model of the census: its reference, its graph passes and its builds."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import onnx

import compiler
import graph_passes
from benchmarks.census.ranking import ranked_difference
from benchmarks.models import census
from compiler.build import passes_of_build
from compiler.check import reference
from compiler.check.answers import Expected, largest_difference
from graph_passes.lazy import ir

AGREES, REJECTED, WRONG, FAILED = "agrees", "rejected", "wrong", "failed"
BAD = (WRONG, FAILED)
Result = dict[str, Any]


def expected(name: str, model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> Expected:
    """
    Raises:
        RuntimeError: ONNX Runtime does not run the model.
    """
    ranked = census.model(name).ranked
    measure = largest_difference if ranked is None else partial(ranked_difference, column=ranked)
    plain = reference.run(model, inputs)
    steps = reference.steps(model, inputs, plain) if reference.is_quantized(model) else None
    return Expected.of(plain, reference.run(model, inputs, optimized=True), steps, measure)


def compare(want: Expected, found: Mapping[str, np.ndarray]) -> tuple[float, str]:
    """Returns the largest error as a multiple of what is allowed, and what is wrong; "" if nothing is."""
    differences = want.compare(found)
    ratios = [d.error / d.allowed if d.allowed else (0.0 if d.error == 0 else float("inf")) for d in differences]
    return max(ratios, default=0.0), next((str(d) for d in differences if not d.ok), "")


def passes(name: str) -> Result:
    """Runs the passes of a build. After each, the model must run in ONNX Runtime and agree.

    Raises:
        RuntimeError: ONNX Runtime does not run the model as published.
    """
    model, inputs = census.load(name), census.inputs(name)
    want = expected(name, model, inputs)
    result: Result = {
        "outcome": AGREES,
        "spread": want.spread,
        "allowed": max(want.allowed.values(), default=0.0),
        "off": 0.0,
        "why": "",
        "worst": "",
    }

    def after_pass(_: int, a_pass: graph_passes.Pass, rewritten: ir.Model) -> None:
        if result["outcome"] != AGREES:
            return  # later passes work on a model that is wrong already
        try:
            off, wrong = compare(want, reference.run(ir.serde.serialize_model(rewritten), inputs))
        except RuntimeError as error:
            off, wrong = float("inf"), str(error)
        if off > result["off"]:
            result.update(off=off, worst=a_pass.name)
        if wrong:
            result.update(outcome=WRONG, why=f"after {a_pass.name}: {wrong}")

    try:
        graph_passes.optimize(model, census.model(name).input_shapes, passes_of_build(), after_pass)
    except ValueError as error:
        result.update(outcome=REJECTED, why=str(error))
    return result


def build(name: str, threads: int, isa: str | None = None) -> Result:
    """Compiles a model, runs it, compares the outputs, saves it, and runs it again in a fresh process.

    Args:
        name: a model of the census.
        threads: the number of threads.
        isa: the instruction set that the program is limited to, None for that of this CPU.

    Raises:
        RuntimeError: ONNX Runtime does not run the model as published.
    """
    inputs = census.inputs(name)
    start = time.perf_counter()
    try:
        compiled = compiler.build(
            census.model(name).path, census.model(name).input_shapes, threads, target=isa or "host"
        )
    except Exception as error:  # noqa: BLE001 - what is not a clear rejection is a finding
        text = str(error).strip()
        rejected = isinstance(error, ValueError) and text and "\n" not in text
        kind = "" if rejected else f"{type(error).__name__}: "
        return {"outcome": REJECTED if rejected else FAILED, "why": kind + (text.splitlines() or ["no message"])[0]}
    seconds = time.perf_counter() - start
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    model = census.load(name)  # not before: its memory would count as the build's
    want = expected(name, model, inputs)
    try:
        found = compiled.run(inputs)
    except Exception as error:  # noqa: BLE001 - nothing may fail this late
        line = (str(error).strip().splitlines() or ["no message"])[0]
        return {"outcome": FAILED, "why": f"when it runs: {type(error).__name__}: {line}", "seconds": seconds}
    off, wrong = compare(want, found)
    wrong = wrong or _saved(compiled, inputs, found)
    result: Result = {"outcome": WRONG if wrong else AGREES, "why": wrong, "off": off, "seconds": seconds}
    if wrong:
        return result
    return result | {
        "peak_mib": peak_mib,
        "file_mib": model.ByteSize() / 2**20,
        "kernels": len(compiled.layers),
        "segments": len(compiled.segments),
    }


def _saved(compiled: compiler.CompiledModel, inputs: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> str:
    """Saves a model, and returns what is wrong if a fresh process loads and runs it; "" if it gives the same bits."""
    with tempfile.TemporaryDirectory(prefix="loopwright-census-") as folder:
        compiled.save(f"{folder}/model.lw")
        np.savez(f"{folder}/inputs.npz", *inputs.values())
        done = subprocess.run([sys.executable, "-c", _AGAIN, folder, *inputs], capture_output=True, text=True)
        if done.returncode:
            return f"the saved model does not run: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
        with np.load(f"{folder}/outputs.npz") as again:
            differ = [
                name for place, name in enumerate(found) if again[f"arr_{place}"].tobytes() != found[name].tobytes()
            ]
    return f"the saved model gives another {differ[0]}" if differ else ""


_AGAIN = """
import sys, numpy as np, compiler
folder, *names = sys.argv[1:]
with np.load(f"{folder}/inputs.npz") as arrays:
    inputs = {name: arrays[f"arr_{place}"] for place, name in enumerate(names)}
np.savez(f"{folder}/outputs.npz", *compiler.load(f"{folder}/model.lw").run(inputs).values())
"""
