"""Every layer of the networks belongs to one group and has one name."""

from __future__ import annotations

import pytest

from benchmarks.layers.groups import BATCHES, GROUPS, HEAVIEST, find
from benchmarks.layers.networks import NETWORKS


def test_every_layer_belongs_to_one_group() -> None:
    for network in NETWORKS.values():
        for name, layer in network(1):
            groups = [group for group in GROUPS.values() if group.dtype == layer.dtype and group.holds(layer)]
            assert len(groups) == 1, name


def test_names_are_unique_and_found() -> None:
    everything = [
        (group, batch, shape) for group in GROUPS.values() for batch in BATCHES for shape in group.shapes(batch)
    ]
    assert len({shape.name for _, _, shape in everything}) == len(everything)
    assert find(everything[-1][2].name) == everything[-1]
    with pytest.raises(ValueError, match="unknown shape 'no-such'"):
        find("no-such")


@pytest.mark.parametrize("name", GROUPS)
def test_layers_of_a_group_are_distinct_and_of_its_type(name: str) -> None:
    workloads = [shape.workload for shape in GROUPS[name].shapes(1)]
    assert len(set(workloads)) == len(workloads) > 0
    assert {workload.dtype for workload in workloads} == {GROUPS[name].dtype}


def test_layers_are_counted_by_network() -> None:
    shapes = {shape.name: dict(shape.occurrences) for shape in GROUPS["conv3x3"].shapes(1)}
    assert shapes["resnet50-4a-3x3"] == {"resnet50": 6, "resnet50-v1.5": 5}


def test_a_large_batch_is_of_the_heaviest_layers() -> None:
    shapes = GROUPS["depthwise"].shapes(8)
    assert 0 < len(shapes) <= HEAVIEST * len(NETWORKS)
    assert {shape.workload.sizes["n"] for shape in shapes} == {8}
    assert any(shape.workload.sizes["h"] == 112 for shape in shapes)
