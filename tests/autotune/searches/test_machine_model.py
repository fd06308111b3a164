"""Searches say which machine model chose the default schedule that they measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autotune.cost_models.xgboost import ideal_secs
from autotune.searches.graph_candidates import candidates
from autotune.searches.tuning import search_workload
from compiler.workloads.database import Records
from compiler.workloads.schedule import ScheduleSpace
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from kernels import MachineModel
from tests.autotune.fake_runner import FakeRunner
from tests.autotune.synthetic import TARGET, WORKLOAD, TinySpace
from tests.kernels.machine_models import with_lines

ONE, OTHER = with_lines({"ghz": "1.25"}), with_lines({"ghz": "2.5"})


class OnMachine(TinySpace):
    """A space of our kernels on a target with a machine model."""

    backend = "kernel"

    def __init__(self, machine: MachineModel | None) -> None:
        self.target = replace(TARGET, machine=machine)


def test_the_record_of_a_default_names_its_machine(tmp_path: Path) -> None:
    with Records(tmp_path / "r.sqlite") as records:
        for machine in (ONE, OTHER):
            space = OnMachine(machine)
            search_workload(space, FakeRunner(space.secs), "random", 3, records=records)
        found = records.defaults(WORKLOAD, TARGET, "kernel")
    assert found == {ONE.id: OnMachine(ONE).default(), OTHER.id: OnMachine(OTHER).default()}


def test_other_backends_have_no_machine(tmp_path: Path) -> None:
    space = TinySpace()
    with Records(tmp_path / "r.sqlite") as records:
        search_workload(space, FakeRunner(space.secs), "random", 3, records=records)
        assert records.defaults(WORKLOAD, TARGET, space.backend) == {}


def test_the_scale_of_the_cost_model_is_that_of_the_machine() -> None:
    one, other = (ideal_secs(WORKLOAD, replace(TARGET, machine=machine)) for machine in (ONE, OTHER))
    assert one == pytest.approx(2 * other)
    copied = Workload("add", (1024, 1024))
    machine = with_lines({"ghz": "2", "bandwidth,memory": "5,5"})
    assert ideal_secs(copied, replace(TARGET, machine=machine)) == pytest.approx(copied.bytes / 10e9)


@pytest.mark.parametrize(("cycles", "threads"), [("1", {2}), ("1e9", {1, 2})])
def test_layers_of_few_parallel_regions_may_use_fewer_threads(cycles: str, threads: set[int], tmp_path: Path) -> None:
    machine = with_lines({"fork_join": f"0,{cycles}"})
    target = replace(TARGET, num_cores=2, machine=machine)

    def space_of(_workload: Workload, _target: Target) -> ScheduleSpace:
        return OnMachine(machine)

    with Records(tmp_path / "r.sqlite") as records:
        found = candidates(WORKLOAD, 2, target, records, space_of)
    assert {candidate.threads for candidate in found} == threads
