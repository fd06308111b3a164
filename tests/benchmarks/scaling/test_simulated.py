"""Calls of a small program with their shares, on more threads than there are cores."""

from __future__ import annotations

import pytest

from benchmarks import models
from benchmarks.scaling import programs, simulated
from kernels.simulation import Region

MODEL = "direction-classifier"
if reason := models.missing(MODEL):
    pytest.skip(reason, allow_module_level=True)


def test_runs_must_have_the_same_regions() -> None:
    regions = [Region(2, (1.0, 1.0)), Region(4, (1.0,) * 4)] * 2
    assert [len(run) for run in simulated._by_run(regions, 2)] == [2, 2]
    with pytest.raises(RuntimeError, match="differ in their parallel regions"):
        simulated._by_run(regions[:3], 2)
    with pytest.raises(RuntimeError, match="differ in their parallel regions"):
        simulated._by_run([regions[0], regions[0], regions[0], regions[1]], 2)


@pytest.mark.tvm
@pytest.mark.parametrize("alone", [False, True])
def test_shares_of_a_model(alone: bool) -> None:
    source = programs.source(MODEL)
    machine = programs.machine_for(16)
    built = {threads: programs.built(source, threads, machine) for threads in (1, 16)}
    found = simulated.measured(built, source.inputs, 0.0, alone)
    one, many = found[1], found[16]
    assert len({call.name for call in many}) == len(many)
    assert not any(call.regions for call in one)
    assert any(len(shares) > 1 for call in many for shares in call.regions)
    assert all(secs >= 0 for call in many for shares in call.regions for secs in shares)
    layers = [call for call in many if call.traffic is not None]
    assert len(layers) >= len(built[16].layers)
    assert all(sum(call.traffic.values()) > 0 for call in layers if call.traffic is not None)


def test_the_machine_has_as_many_cores() -> None:
    assert programs.machine_for(64).cores >= 64
