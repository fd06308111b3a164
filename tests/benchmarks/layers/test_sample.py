"""The sample of layers: its names exist, and it spans each group."""

from __future__ import annotations

import pytest

from benchmarks.layers.groups import GROUPS
from benchmarks.layers.sample import SAMPLE, sample
from benchmarks.whole_models.measure import SAMPLED_MODELS, WHOLE_MODELS

SMALL = 10  # groups of fewer layers are measured completely


def test_each_group_has_a_sample() -> None:
    assert list(SAMPLE) == list(GROUPS)


@pytest.mark.parametrize("name", GROUPS)
def test_the_names_are_those_of_layers(name: str) -> None:
    assert sorted(shape.name for shape in sample(name)) == sorted(SAMPLE[name])
    assert len(set(SAMPLE[name])) == len(SAMPLE[name]) > 0


@pytest.mark.parametrize("name", GROUPS)
def test_it_has_layers_with_much_and_with_little_arithmetic(name: str) -> None:
    """A layer of the lowest and one of the highest fifth."""
    work = sorted(shape.workload.flops or shape.workload.bytes for shape in GROUPS[name].shapes(1))
    sampled = [shape.workload.flops or shape.workload.bytes for shape in sample(name)]
    assert min(sampled) <= work[len(work) // 5]
    assert max(sampled) >= work[-1 - len(work) // 5]


@pytest.mark.parametrize("name", GROUPS)
def test_it_has_layers_that_reuse_data_and_layers_that_do_not(name: str) -> None:
    intensity = {shape.name: shape.workload.flops / shape.workload.bytes for shape in GROUPS[name].shapes(1)}
    sampled = [intensity[layer] for layer in SAMPLE[name]]
    ordered = sorted(intensity.values())
    assert min(sampled) <= ordered[len(ordered) // 4]
    assert max(sampled) >= ordered[-1 - len(ordered) // 4]


@pytest.mark.parametrize("name", [name for name, group in GROUPS.items() if len(group.shapes(1)) < SMALL])
def test_small_groups_are_measured_almost_completely(name: str) -> None:
    assert len(sample(name)) >= min(6, len(GROUPS[name].shapes(1)))


def test_it_has_a_layer_of_each_network() -> None:
    sampled = {network for name in GROUPS for shape in sample(name) for network, _ in shape.occurrences}
    assert sampled == {network for group in GROUPS.values() for network in group.networks}


def test_the_sampled_models_are_among_all() -> None:
    assert set(SAMPLED_MODELS) < set(WHOLE_MODELS)
