"""Models on separate threads: the same bits, at the same time, after a fork, and on cores that others keep busy."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.program.random_inputs import random_inputs
from compiler.workloads.target import usable_cores
from tests.compiler.models import graph

pytestmark = pytest.mark.tvm

THREADS = min(2, usable_cores())
CPUS = sorted(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def model() -> compiler.CompiledModel:
    """Convolutions of several passes, a depthwise one, dense layers, attention-like products and generated code."""
    return compiler.build(
        graph(
            "float[1,16,61,67] x",
            "float[48,16,3,3] w, float[48] b, float[48,1,3,3] d, float[32,48,3,3] s, float[32,40] v",
            {
                "y": "c = Conv <pads = [1,1,1,1]> (x, w, b) r = Relu (c) "
                "e = Conv <group = 48, pads = [1,1,1,1]> (r, d) "
                "f = Conv <strides = [2,2]> (e, s) p = GlobalAveragePool (f) g = Flatten (p) h = MatMul (g, v) "
                "@ = Softplus (h)"
            },
        ),
        threads=THREADS,
    )


@pytest.fixture(scope="module")
def inputs(model: compiler.CompiledModel) -> dict[str, np.ndarray]:
    return random_inputs(model.inputs)


def same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("spin", [0, 1e-3])
def test_other_threads_give_the_same_bits(model: compiler.CompiledModel, inputs: dict[str, Any], spin: float) -> None:
    wanted = model.run(inputs)
    other = model.on(CPUS[:THREADS], spin)
    assert other.cores == tuple(CPUS[:THREADS])
    for pause in (0, 0.002) * 10:
        time.sleep(pause)
        assert same(other.run(inputs), wanted)
    assert sorted(os.sched_getaffinity(0)) == CPUS


@pytest.mark.skipif(usable_cores() < 2, reason="this process has one core")
def test_any_order_of_chunks_gives_the_same_bits(model: compiler.CompiledModel, inputs: dict[str, Any]) -> None:
    """Three instances at once on two cores: threads are suspended at any place, and others take over their chunks."""
    wanted = model.run(inputs)
    instances = [model.on(CPUS[:THREADS], 0) for _ in range(3)]
    with ThreadPoolExecutor(len(instances)) as executor:
        runs = [executor.submit(lambda one: [one.run(inputs) for _ in range(40)], one) for one in instances]
        assert all(same(found, wanted) for run in runs for found in run.result())


def test_a_child_process_starts_new_threads(model: compiler.CompiledModel, inputs: dict[str, Any]) -> None:
    own = model.on(CPUS[:THREADS])
    wanted = own.run(inputs)

    def child() -> None:
        os._exit(0 if same(own.run(inputs), wanted) and same(model.run(inputs), wanted) else 1)

    process = get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert same(own.run(inputs), wanted)


def test_threads_end_with_their_model(model: compiler.CompiledModel, inputs: dict[str, Any]) -> None:
    model.run(inputs)
    before = len(os.listdir("/proc/self/task"))
    for _ in range(5):
        own = model.on(CPUS[:THREADS])
        own.run(inputs)
        del own
    assert len(os.listdir("/proc/self/task")) <= before


@pytest.mark.parametrize(
    ("cores", "spin", "message"),
    [
        ([], 0, "cores must be distinct ones"),
        ([10**6], 0, "cores must be distinct ones"),
        ([CPUS[0], CPUS[0]], 0, "cores must be distinct ones"),
        (CPUS[:THREADS], -1, "spin must be between 0 and 1"),
        (CPUS[:THREADS], float("nan"), "spin must be between 0 and 1"),
        (CPUS[:THREADS], "1", "spin must be between 0 and 1.0 seconds, got '1'"),
        (CPUS[:THREADS], None, "spin must be between 0 and 1.0 seconds, got None"),
    ],
)
def test_what_cannot_be(model: compiler.CompiledModel, cores: list[int], spin: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.on(cores, spin)


@pytest.mark.skipif(THREADS < 2, reason="this process has one core")
def test_fewer_cores_than_threads(model: compiler.CompiledModel) -> None:
    with pytest.raises(ValueError, match="2 threads need as many cores, got 1"):
        model.on(CPUS[:1])
