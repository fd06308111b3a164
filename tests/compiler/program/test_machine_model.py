"""Default schedules of compiled models follow the machine model of the target, in Python and in C++."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
import kernels
from compiler.program import native
from compiler.program.compiled_model import CompiledModel
from compiler.spaces import space
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from kernels import MachineModel
from tests.compiler.machines import favoring
from tests.compiler.models import graph

pytestmark = pytest.mark.tvm
HOST = Target.from_host(num_cores=1)
M, N, K = 96, 256, 64
# Heights of register tiles that divide the rows, so no others are needed.
HEIGHTS = sorted({mr for mr, _ in kernels.register_tiles(HOST.isa) if mr > 1 and M % mr == 0})[:2]


def built(machine: MachineModel | None) -> CompiledModel:
    original = graph(f"float[{M},{K}] x", f"float[{K},{N}] w", {"y": "@ = MatMul (x, w)"})
    return compiler.build(original, target=replace(HOST, machine=machine))


def schedule_of(model: CompiledModel) -> dict[str, Any]:
    (schedule,) = model.schedules()
    assert schedule is not None
    return dict(schedule.values)


def default(machine: MachineModel | None) -> dict[str, Any]:
    return kernels.default_dense_schedule(M, N, K, HOST.isa, fast=True, machine=machine)


@pytest.mark.skipif(len(HEIGHTS) < 2, reason="the ISA has one register tile")
def test_the_machine_chooses_the_schedule() -> None:
    first, second = map(favoring, HEIGHTS)
    assert default(first)["mr"] != default(second)["mr"]
    x = np.random.default_rng(0).standard_normal((M, K)).astype(np.float32)
    answers = []
    for machine in (first, second):
        model = built(machine)
        assert schedule_of(model) == default(machine)
        answers.append(model.run({"x": x})["y"])
        workload = Workload.dense(M, N, K)
        assert space(workload, model.target).default().values["mr"] == default(machine)["mr"]
    np.testing.assert_allclose(*answers, rtol=1e-4, atol=K * np.finfo(np.float32).eps * 10)


def test_without_a_machine_it_is_that_of_this_cpu() -> None:
    assert schedule_of(built(None)) == schedule_of(built(MachineModel.host())) == default(None)


@pytest.mark.skipif(len(HEIGHTS) < 2, reason="the ISA has one register tile")
def test_a_saved_model_names_the_machine_and_loads_with_that_of_this_cpu(tmp_path: Path) -> None:
    machine = favoring(HEIGHTS[0])
    built(machine).save(tmp_path / "m.lw")
    manifest = json.loads((tmp_path / "m.lw" / "manifest.json").read_text())
    assert manifest["target"]["machine"] == machine.id
    found = compiler.load(tmp_path / "m.lw")
    assert isinstance(found, CompiledModel)
    assert found.target.machine == MachineModel.host()
    assert schedule_of(found) == default(None)


def test_another_text_than_a_model_is_rejected() -> None:
    with pytest.raises(ValueError, match="machine model"):
        native.function("make_layers")("[]", [], HOST.isa, 1, [], "no model", None)
