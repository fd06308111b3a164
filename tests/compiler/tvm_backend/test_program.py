"""TVM programs: timing with warm and with cold constants."""

from __future__ import annotations

import numpy as np
import pytest

from autotune.backends import space
from compiler.workloads.reference import make_inputs, reference, tolerance
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

tvm_ffi = pytest.importorskip("tvm_ffi")

pytestmark = pytest.mark.tvm


@pytest.mark.parametrize("workload", [Workload.conv2d(1, 8, 8, 16, 32, 3), Workload.dense(8, 32, 16)], ids=str)
def test_samples_of_warm_and_of_cold_constants(workload: Workload) -> None:
    made = space("tvm", workload, Target.from_host(num_cores=1))
    program = made.build(made.default())
    inputs = make_inputs(workload)
    program.load(inputs)
    registered = set(tvm_ffi.registry.list_global_func_names())
    samples = program.time(number=3, repeat=2)
    assert len(samples) == 2
    assert all(secs > 0 for secs in samples)
    assert set(tvm_ffi.registry.list_global_func_names()) == registered, "timing leaves no global function behind"
    assert np.all(np.abs(program.run() - reference(workload, inputs)) <= tolerance(workload, inputs))
