"""Our layers as the benchmark runs them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.layers.own import OwnLayer
from benchmarks.layers.problem import Problem
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

WORKLOADS = {
    "dense": Workload.dense(7, 33, 65, epilogue=("bias", "residual")),
    "conv2d": Workload.conv2d(1, 9, 9, 32, 48, 3, padding=1, epilogue=("bias", "residual", "relu")),
    "attention": Workload.attention(2, 3, 20, 30, 16),
}


@pytest.mark.parametrize("op", WORKLOADS)
def test_the_answer_does_not_depend_on_what_ran_before(op: str) -> None:
    problem = Problem(WORKLOADS[op])
    layer = OwnLayer(problem.workload, problem.inputs, problem.out, Target.from_host(num_cores=1))
    layer.time(3, 2)
    problem.check(layer)


@pytest.mark.parametrize("op", WORKLOADS)
def test_a_copy_writes_the_same_output(op: str) -> None:
    problem = Problem(WORKLOADS[op])
    layer = OwnLayer(problem.workload, problem.inputs, problem.out, Target.from_host(num_cores=1))
    copy = layer.copy()
    assert copy is not layer
    assert np.shares_memory(copy.run(), layer.run())
    problem.check(copy)
