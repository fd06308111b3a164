"""The measurement of one layer in all implementations.

All implementations live in this process and share its cores, inputs, output and clock. ``compiler.measure.sampling``
times them; ``benchmarks.layers.layer`` explains cold weights.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import kernels
from benchmarks.layers import integers
from benchmarks.layers.groups import Group
from benchmarks.layers.layer import ColdLayer, Implementation, Layer, copies_needed
from benchmarks.layers.own import OwnLayer
from benchmarks.layers.problem import Problem
from benchmarks.layers.shapes import Shape
from benchmarks.peers import PEERS
from compiler.measure.answers import WrongAnswerError
from compiler.measure.idle import OthersWatch, wait_until_idle
from compiler.measure.levels import Level, holder, measured_bandwidth
from compiler.measure.roofline import Roofline
from compiler.measure.sampling import measure_loops
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target

SAMPLES = 75
SLICE_SECS = 0.004  # many short samples, because a busy neighbor comes and goes within tens of milliseconds


def measure(
    group: Group,
    shape: Shape,
    threads: int,
    tuned: Schedule | None,
    samples: int,
    slice_secs: float,
    baselines: bool = True,
) -> dict[str, Any]:
    """Verifies and times all implementations of a layer. The result is plain JSON with raw samples in seconds per run.

    Raises:
        WrongAnswerError: our answer is wrong. A baseline whose answer is wrong is left out.
        ValueError, TypeError: our kernels do not support the layer, or not on this CPU.
    """
    workload, target = shape.workload, Target.from_host(num_cores=threads)
    problem = Problem(workload)
    layers: dict[str, Layer] = {"default": OwnLayer(workload, problem.inputs, problem.out, target)}
    if tuned is not None:
        layers["tuned"] = OwnLayer(workload, problem.inputs, problem.out, target, tuned)
    versions: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for name in group.peers if baselines else ():
        reason = PEERS[name].missing()
        if reason is None:
            versions[name] = PEERS[name].version()
            try:
                layers[name] = PEERS[name].layer(workload, problem.inputs, problem.out, threads)
            except ValueError as error:  # it does not support this layer
                reason = str(error)
        if reason is not None:
            skipped[name] = reason
    for name, layer in list(layers.items()):
        wrong = _wrong_answer(problem, layer)
        if wrong and name not in group.peers:
            raise wrong
        if wrong:
            skipped[name] = str(wrong)
            del layers[name], versions[name]
    copies = 1
    work = integers.Work(workload) if workload.dtype == integers.INT8 else workload
    limits = partial(Roofline.measured, work, target.isa, threads, bandwidth=measured_bandwidth)
    implementations: Mapping[str, Implementation] = layers
    if group.cold:
        caches = kernels.cache_bytes()
        copies = copies_needed(workload.weight_bytes, max(caches))
        in_turn = copies * workload.weight_bytes
        weights = holder(in_turn, threads, caches)
        limits = partial(limits, weights=weights, bandwidth=partial(_bandwidth, in_turn))
        implementations = {name: ColdLayer(layer, copies) for name, layer in layers.items()}
    wait_until_idle()
    before = limits()
    others = OthersWatch()
    measured = measure_loops({name: layer.time for name, layer in implementations.items()}, samples, slice_secs)
    busy_cores = others.busy_cores()
    wait_until_idle()
    roofline = before.highest(limits())
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
        "peak_gflops": roofline.peak_gflops,
        "traffic": [asdict(part) for part in roofline.traffic],
        "cores_busy_with_others": busy_cores,
        "versions": versions,
        "skipped": skipped,
        "implementations": {
            name: {"description": layer.description, "secs": [secs for (secs,) in measured[name].rounds]}
            for name, layer in implementations.items()
        },
    }


def _wrong_answer(problem: Problem, layer: Layer) -> WrongAnswerError | None:
    try:
        problem.check(layer)
    except WrongAnswerError as error:
        return error
    return None


def _bandwidth(in_turn: int, level: Level, threads: int) -> float:
    """Measures the bandwidth of a level for weights of ``in_turn`` bytes, all copies together.

    Caches keep a part of copies that exceed them only a few times: on Zen 5, one thread reads 64 MiB over and over at
    1.5 times the bandwidth of 512 MiB, past an L3 of 32 MiB. Reading as many bytes finds the same part in the caches.
    """
    return kernels.memory_bandwidth(threads, in_turn) if level == "memory" else measured_bandwidth(level, threads)
