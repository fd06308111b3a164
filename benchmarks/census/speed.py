"""The times of one model of the census, in our compiler and in other runtimes.

All of them run the same model with static shapes and their default settings, OpenVINO in float32. They take turns in
one process (``compiler.measure.sampling``). What a runtime costs when it starts is measured in a fresh process each.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import compiler
import kernels
from benchmarks.census import litert
from benchmarks.models import census
from benchmarks.whole_models.comparison import rounds_of
from compiler import runtimes
from compiler.measure import isolated
from compiler.measure.idle import OthersWatch, wait_until_idle
from compiler.measure.sampling import measure
from compiler.program.compiled_model import CompiledModel
from compiler.program.profile import SEGMENT
from compiler.runtimes import OURS, Runtime
from compiler.runtimes import ours as own_runtime

PEERS = ("onnxruntime", "openvino")
ALL_PEERS = (*PEERS, litert.NAME)  # the last one for models that come as TFLite files
ROUNDS = 10
LIMIT_SECS = 300.0  # of a start
Result = dict[str, Any]


def times(name: str, threads: int, duration: float, isa: str | None, tune: bool = False) -> Result:
    """Builds a model, loads it into the other runtimes and times all of them.

    Args:
        name: a model of the census.
        threads: the number of threads.
        duration: seconds of timed runs per runtime, with at least one run per round.
        isa: the instruction set that ours is limited to, None for that of this CPU.
        tune: whether ours is ``build(tune=True)``, measured on the inputs of the census.

    Raises:
        ValueError: our compiler does not support the model.
    """
    model, inputs = census.load(name), census.inputs(name)
    shapes = census.model(name).input_shapes
    frozen = census.frozen(name)
    start = time.perf_counter()
    check = inputs if tune else None
    compiled = compiler.build(census.model(name).path, shapes, threads, isa or "host", tune=tune, check=check)
    build_secs = time.perf_counter() - start
    peers: dict[str, Runtime | str] = {}
    as_published: dict[str, Path] = {}
    for peer in PEERS:
        found = _loaded(peer, frozen, inputs, threads)
        if isinstance(found, str):
            # Static shapes of all values may contradict what a runtime infers for a branch that is never taken.
            found, as_published[peer] = _loaded(peer, model, inputs, threads), census.model(name).path
        peers[peer] = found
    if census.model(name).original is not None:
        peers[litert.NAME] = _litert(name, inputs, compiled.run(inputs), threads)
    loaded = [peer for peer in peers.values() if isinstance(peer, Runtime)]
    runs = {each.name: partial(each.run, inputs) for each in (own_runtime.of(compiled), *loaded)}
    wait_until_idle()
    others = OthersWatch()
    samples = measure(runs, duration, ROUNDS)
    busy_cores = others.busy_cores()
    return {
        "cpu": kernels.cpu_name(),
        "isa": compiled.target.isa,
        "cores_busy_with_others": busy_cores,
        "versions": {peer.name: peer.version for peer in loaded},
        "left_out": {name: reason for name, reason in peers.items() if isinstance(reason, str)},
        "build_secs": build_secs,
        "secs": {runtime: rounds_of(found) for runtime, found in samples.items()},
        "kernels": len(compiled.layers),
        "segments": len(compiled.segments),
        "segments_share": _segments_share(compiled, inputs) if compiled.segments else 0.0,
        **_starts(name, frozen, compiled, threads, list(runs), as_published),
    }


def _loaded(name: str, model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], threads: int) -> Runtime | str:
    """Returns a runtime that runs the model, or the reason why it does not, in one line."""
    try:
        found = runtimes.load(name, model, threads)
        found.run(inputs)
    except Exception as error:  # noqa: BLE001 - the errors of the runtimes share no base class
        return " ".join(str(error).split())
    return found


def _litert(
    name: str, inputs: Mapping[str, np.ndarray], answers: Mapping[str, np.ndarray], threads: int
) -> Runtime | str:
    """Returns LiteRT with the published file, or the reason why it is left out."""
    original = census.model(name).original
    assert original is not None
    try:
        found = litert.load(original, inputs, threads)
        if not litert.agrees(found.run(inputs), answers):
            return "its answers differ from ours"
    except Exception as error:  # noqa: BLE001 - the errors of the runtimes share no base class
        return " ".join(str(error).split())
    return found


def _segments_share(compiled: CompiledModel, inputs: Mapping[str, np.ndarray]) -> float:
    """Returns the share of a run that segments of ONNX Runtime take."""
    calls = [(call.function == SEGMENT, statistics.median(call.secs)) for call in compiled.call_secs(inputs, runs=5)]
    return sum(secs for is_segment, secs in calls if is_segment) / sum(secs for _, secs in calls)


def _starts(
    name: str,
    model: onnx.ModelProto,
    compiled: CompiledModel,
    threads: int,
    names: Sequence[str],
    as_published: Mapping[str, Path],
) -> dict[str, Any]:
    """Returns the sizes of the files, and what each runtime costs when it starts in a fresh process.

    Runtimes load ``model``, except those that load the file in ``as_published``.
    """
    with tempfile.TemporaryDirectory(prefix="loopwright-census-") as folder:
        saved, frozen = Path(folder) / "model.lw", Path(folder) / "model.onnx"
        compiled.save(saved)
        frozen.write_bytes(model.SerializeToString())
        starts = {}
        for runtime in names:
            file = {OURS: saved, litert.NAME: census.model(name).original, **as_published}.get(runtime, frozen)
            arguments = [name, "--stage", "start", "--threads", str(threads), "--runtime", runtime, "--file", str(file)]
            starts[runtime] = isolated.run("benchmarks.census", arguments, LIMIT_SECS)
        size = sum(file.stat().st_size for file in saved.rglob("*") if file.is_file())
        return {"starts": starts, "file_bytes": {"onnx": frozen.stat().st_size, OURS: size}}


def start(name: str, runtime: str, file: Path, threads: int) -> dict[str, float]:
    """Loads a model into a runtime and runs it once. Call it in a fresh process.

    Returns:
        Seconds: ``load_secs`` with the import of the runtime, ``first_secs`` of the first run. Bytes beyond those of
        the process before: ``rest_bytes`` after the load, ``peak_bytes`` at most. An ONNX file was read before.
    """
    inputs = census.inputs(name)
    model = onnx.load(file) if runtime in PEERS else file
    before = _memory("VmRSS")
    begin = time.perf_counter()
    is_litert = runtime == litert.NAME
    loaded = litert.load(file, inputs, threads) if is_litert else runtimes.load(runtime, model, threads)
    load_secs = time.perf_counter() - begin
    rest = _memory("VmRSS")
    begin = time.perf_counter()
    loaded.run(inputs)
    first_secs = time.perf_counter() - begin
    return {
        "load_secs": load_secs,
        "first_secs": first_secs,
        "rest_bytes": rest - before,
        "peak_bytes": _memory("VmHWM") - before,
    }


def _memory(key: str) -> int:
    """Returns a size of this process in bytes, by its name in /proc/self/status (proc(5))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/self/status has no {key}")
