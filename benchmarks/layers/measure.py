"""One shape on one thread count, every contender in turn.

``python -m benchmarks.layers.measure SHAPE --threads N --json FILE``

It is a separate process, because cores must be chosen before any thread pool starts, and a baseline that crashes must
not take the other shapes with it. All implementations live in this process and share its cores, inputs, output and
clock. ``compiler.measure.sampling`` times them; ``benchmarks.layers.layer`` explains cold weights.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

import kernels
from benchmarks.layers.groups import Group, find
from benchmarks.layers.layer import ColdLayer, Contender, Layer, copies_needed
from benchmarks.layers.own import OwnLayer
from benchmarks.layers.shapes import Shape
from benchmarks.peers import PEERS
from compiler.measure import affinity
from compiler.measure.idle import OthersWatch, wait_until_idle
from compiler.measure.sampling import measure_loops
from compiler.workloads import reference
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import DTYPE_BYTES, Workload

SAMPLES = 75
SLICE_SECS = 0.004  # many short samples: a busy neighbour comes and goes within tens of milliseconds
ALIGNMENT = 64  # bytes: a cache line, and a vector of AVX-512


class Problem:
    """A workload with inputs, room for the output, and the answer in float64; all arrays aligned, as runtimes do it."""

    def __init__(self, workload: Workload) -> None:
        plain = reference.make_inputs(workload)
        self.workload = workload
        self.inputs = {name: aligned(array) for name, array in plain.items()}
        self.out = aligned(np.zeros(workload.output_shape, next(iter(plain.values())).dtype))
        self._expected = reference.reference(workload, plain)
        self._allowed: dict[str, np.ndarray] = {}

    def check(self, layer: Contender) -> None:
        """Raises ArithmeticError where an answer is further from the true one than its algorithm may err."""
        if layer.algorithm not in self._allowed:
            self._allowed[layer.algorithm] = reference.tolerance(self.workload, self.inputs, layer.algorithm)
        check_answer(layer, self._expected, self._allowed[layer.algorithm])


def check_answer(layer: Contender, expected: np.ndarray, allowed: np.ndarray) -> None:
    """Raises ArithmeticError where an answer is further from ``expected`` than the error that is ``allowed``."""
    error = np.abs(layer.run() - expected)
    if not (error <= allowed).all():
        excess = float((error / allowed).max())
        raise ArithmeticError(f"wrong answer, {excess:.3g} times the tolerance: {layer.implementation}")


def aligned(array: np.ndarray) -> np.ndarray:
    """A C-contiguous copy that starts at a multiple of ``ALIGNMENT``."""
    room = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def measure(
    group: Group, shape: Shape, threads: int, tuned: Schedule | None, samples: int, slice_secs: float
) -> dict[str, Any]:
    """Verifies and times every contender; the result is plain JSON with seconds a run as raw samples."""
    workload, target = shape.workload, Target.from_host(num_cores=threads)
    problem = Problem(workload)
    layers: dict[str, Layer] = {"default": OwnLayer(workload, problem.inputs, problem.out, target)}
    if tuned is not None:
        layers["tuned"] = OwnLayer(workload, problem.inputs, problem.out, target, tuned)
    versions: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for name in group.peers:
        reason = PEERS[name].missing()
        if reason is None:
            versions[name] = PEERS[name].version()
            try:
                layers[name] = PEERS[name].layer(workload, problem.inputs, problem.out, threads)
            except ValueError as error:  # it cannot compute this one
                reason = str(error)
        if reason is not None:
            skipped[name] = reason
    for layer in layers.values():
        problem.check(layer)
    copies = 1
    contenders: Mapping[str, Contender] = layers
    if group.cold:
        copies = copies_needed(_weight_bytes(workload), max(kernels.cache_bytes()))
        contenders = {name: ColdLayer(layer, copies) for name, layer in layers.items()}
    before = _limits(target, workload, group.cold)
    others = OthersWatch()
    measured = measure_loops({name: layer.time for name, layer in contenders.items()}, samples, slice_secs)
    busy_cores = others.busy_cores()
    after = _limits(target, workload, group.cold)
    return {
        "group": group.name,
        "shape": shape.name,
        "occurrences": dict(shape.occurrences),
        "workload": workload.to_json(),
        "threads": threads,
        "cores": sorted(os.sched_getaffinity(0)),
        "cpu": kernels.cpu_name(),
        "isa": target.isa,
        "copies": copies,
        **_higher(before, after),
        "cores_busy_with_others": busy_cores,
        "versions": versions,
        "skipped": skipped,
        "contenders": {
            name: {"description": layer.implementation, "secs": [secs for (secs,) in measured[name].rounds]}
            for name, layer in contenders.items()
        },
    }


def _limits(target: Target, workload: Workload, cold: bool) -> dict[str, Any]:
    """FMA peak in GFLOP/s, and the traffic: bytes that must be moved, with the GB/s of where they are.

    Hot data is read from whatever cache a working set of its size fits. Cold weights come from memory.
    """
    wait_until_idle()
    threads = target.num_cores
    hot_bytes, cold_bytes = workload.bytes, 0
    if cold:
        cold_bytes = _weight_bytes(workload)
        hot_bytes -= cold_bytes
    traffic = [{"bytes": hot_bytes, "gbs": kernels.memory_bandwidth(threads, hot_bytes)}]
    if cold_bytes:
        traffic.append({"bytes": cold_bytes, "gbs": kernels.memory_bandwidth(threads)})
    return {"peak_gflops": kernels.peak_gflops(target.isa, threads, workload.dtype), "traffic": traffic}


def _higher(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The higher of two readings of each limit: noise only ever lowers one."""
    pairs = zip(before["traffic"], after["traffic"], strict=True)
    return {
        "peak_gflops": max(before["peak_gflops"], after["peak_gflops"]),
        "traffic": [max(pair, key=lambda reading: reading["gbs"]) for pair in pairs],
    }


def _weight_bytes(workload: Workload) -> int:
    return prod(workload.input_shapes["weight"]) * DTYPE_BYTES[workload.dtype]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layers.measure", description="Measures one shape.")
    parser.add_argument("shape", help="as `pytest benchmarks --benchmark --collect-only` lists them")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--schedule", type=json.loads, help="tuned schedule as JSON")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--slice-secs", type=float, default=SLICE_SECS)
    parser.add_argument("--json", type=Path, required=True, help="file for the result")
    arguments = parser.parse_args()
    usable = len(os.sched_getaffinity(0))
    if not 1 <= arguments.threads <= usable:
        parser.error(f"--threads must be between 1 and {usable} (the cores this process may use)")
    try:
        group, batch, shape = find(arguments.shape)
    except ValueError as error:
        parser.error(str(error))
    affinity.pin(arguments.threads)
    tuned = Schedule.from_json(arguments.schedule) if arguments.schedule else None
    result = measure(group, shape, arguments.threads, tuned, arguments.samples, arguments.slice_secs)
    arguments.json.write_text(json.dumps({"batch": batch, **result}))


if __name__ == "__main__":
    main()
