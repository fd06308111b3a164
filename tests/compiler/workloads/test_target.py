"""Targets as values: their JSON, and the machine model that they carry."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from compiler.workloads.target import Target
from kernels import MachineModel
from tests.kernels.machine_models import with_lines

HOST = Target.from_host(num_cores=1)
OTHER = with_lines({"ghz": "1.25"})


def test_the_machine_of_the_host() -> None:
    assert HOST.machine == HOST.model == MachineModel.host()
    assert HOST.measured().machine == HOST.machine
    assert Target("a CPU", "avx2", 256, 16, (1 << 15,), 1).machine is None
    assert Target("a CPU", "avx2", 256, 16, (1 << 15,), 1).model == MachineModel.host()


def test_machines_are_not_compared() -> None:
    other = replace(HOST, machine=OTHER)
    assert other == HOST
    assert hash(other) == hash(HOST)
    assert other.model.ghz == 1.25


def test_json_has_the_id_of_the_machine() -> None:
    fields = json.loads(json.dumps(HOST.to_json()))
    assert fields["machine"] == MachineModel.host().id
    back = Target.from_json(fields)
    assert back == HOST
    assert back.machine == HOST.machine
    assert back.to_json() == fields


def test_an_unknown_machine_is_not_restored() -> None:
    fields = replace(HOST, machine=OTHER).to_json()
    assert fields["machine"] == OTHER.id != MachineModel.host().id
    assert Target.from_json(fields).machine is None
    assert Target.from_json(fields).on_machine(OTHER.text).machine == OTHER


def test_built_in_machines_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MachineModel, "built_in", lambda: [with_lines({"ghz": "2.5"}), OTHER])
    assert Target.from_json(replace(HOST, machine=OTHER).to_json()).machine == OTHER


def test_json_of_earlier_versions_has_no_machine() -> None:
    fields = {name: value for name, value in HOST.to_json().items() if name != "machine"}
    assert Target.from_json(fields) == HOST
    assert Target.from_json(fields).machine is None


@pytest.mark.parametrize("machine", [1, ["a"], {"id": "b"}])
def test_a_machine_in_json_is_a_text(machine: object) -> None:
    with pytest.raises(TypeError, match="not the id of a machine model"):
        Target.from_json({**HOST.to_json(), "machine": machine})
