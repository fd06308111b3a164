"""What follows from the machine model of a target, and the choice of one on a command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import kernels
from compiler.workloads import machines
from compiler.workloads.target import Target
from kernels import MachineModel, machine_model
from tests.kernels.machine_models import with_lines

TARGET = Target.from_host(num_cores=1)
OTHER = with_lines({"ghz": "1.25"})
MEASURED = with_lines({"source": "measured"})
WARNING = "schedules follow from an interpolated model of this CPU; `python -m kernels.calibrate` measures it in 20 s"


def test_the_peak_is_that_of_the_best_tile() -> None:
    slow = replace(TARGET, machine=with_lines({"ghz": "1"}))
    fast = replace(TARGET, machine=with_lines({"ghz": "4"}))
    assert machines.peak_flops(fast) == pytest.approx(4 * machines.peak_flops(slow))
    if kernels.register_tiles(TARGET.isa):
        lanes = TARGET.lanes
        # A CPU starts one or two FMAs per cycle, and an interpolated model takes at most 1.5 times as long.
        assert 2 * lanes / 1.5 <= machines.peak_flops(slow) / 1e9 <= 4 * lanes


def test_an_isa_without_tiles_has_a_nominal_peak() -> None:
    reference = replace(Target.from_host("reference", 1), machine=with_lines({"ghz": "2"}))
    assert machines.peak_flops(reference) == 2 * 2 * 2e9


def test_a_file_or_the_interpolated_model(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text(OTHER.text)
    assert machines.with_machine(TARGET, str(file)).machine == OTHER
    assert machines.with_machine(TARGET, None) is TARGET
    found = machines.with_machine(TARGET, "interpolated").machine
    assert found == MachineModel.interpolated(MachineModel.host().cores)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot read the machine model .*model.csv: No such file"),
        (b"", "is not a machine model"),
        (b"cpu,ghz\n1,2\n", "is not a machine model"),
        (b"\xff\xfe\x00", "is not a machine model"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "model.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=reason) as raised:
        machines.with_machine(TARGET, str(file))
    assert "\n" not in str(raised.value)


def test_a_model_that_is_not_measured_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    for host, lines in ((MEASURED, []), (OTHER, [WARNING])):
        monkeypatch.setattr(MachineModel, "host", lambda host=host: host)
        assert machines.notices(replace(TARGET, machine=None)) == [f"Machine model: {host.id}", *lines]
        assert machines.notices(replace(TARGET, machine=host)) == [f"Machine model: {host.id}", *lines]


def test_a_file_that_is_ignored_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MachineModel, "host", lambda: MEASURED)
    monkeypatch.setattr(machine_model, "unreadable", lambda: "x.csv is ignored: invalid line 'y'")
    named = f"Machine model: {MEASURED.id}"
    assert machines.notices(TARGET.on_machine(None)) == [named, "x.csv is ignored: invalid line 'y'"]
    assert machines.notices(replace(TARGET, machine=OTHER)) == [f"Machine model: {OTHER.id}"]
