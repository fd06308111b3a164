"""A layer for ranges of sizes is, at each size, the layer that is built for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.sizes.differing import DifferentPrograms, Witnesses
from compiler.sizes.layer import SizedLayer
from compiler.sizes.size import Size
from compiler.workloads.layer import Layer
from compiler.workloads.target import Target
from compiler.workloads.threads import threads_for
from compiler.workloads.workload import Workload
from tests.kernels.machine_models import with_lines

SIZES = (Size("batch", range(1, 9)), Size("length", range(1, 513)))
WITNESSES = Witnesses.of(SIZES)
POINT = st.fixed_dictionaries({size.name: st.sampled_from(size.values) for size in SIZES})
WEIGHT = np.zeros((48, 32), np.float32)


# Threads pay off from 1e5 cycles on.
MODEL = with_lines({"fork_join": "0,1e5", "bandwidth,l3": "1e9,1e9"})


def on(cores: int) -> Target:
    return Target("a CPU", "avx2", 256, 16, (1 << 15, 1 << 20), cores, machine=MODEL)


def dense(point: Mapping[str, int], cores: int = 1) -> Layer:
    rows = point["batch"] * point["length"]
    workload = Workload.dense(rows, 48, 32)
    attributes = {"sizes": [rows, 48, 32], "residual": False, "activation": "relu", "fast_algorithms": True}
    shape = (point["batch"], point["length"], 48)
    return Layer("d", "dense", shape, attributes, {"weight": WEIGHT}, workload, (), threads_for(workload, on(cores)))


@settings(deadline=None, max_examples=40)
@given(POINT, st.integers(1, 4))
def test_a_layer_at_a_size(point: dict[str, int], cores: int) -> None:
    merged = SizedLayer.merged([dense(point, 1) for point in WITNESSES.points], WITNESSES)
    back = SizedLayer.from_json(
        json.loads(json.dumps(merged.to_json({"weight": 0}))), {"weight": WEIGHT}, ["batch", "length"]
    )
    for layer in (merged, back):
        found, expected = layer.at(point, on(cores)), dense(point, cores)
        assert found.to_json({"weight": 0}) == expected.to_json({"weight": 0})
        assert found.workload == expected.workload
        assert found.weights["weight"] is WEIGHT


def test_threads_and_schedules_are_chosen_for_each_size() -> None:
    layers = [dense(point, 2) for point in WITNESSES.points]
    assert len({layer.threads for layer in layers}) == 2
    merged = SizedLayer.merged(layers, WITNESSES)
    assert [merged.at(point, on(2)).threads for point in WITNESSES.points] == [layer.threads for layer in layers]
    assert not {"threads", "schedule"} & merged.to_json({"weight": 0}).keys()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"weights": {"weight": WEIGHT.copy()}}, "because of the weights of d"),
        ({"name": "e"}, "because of the layer d, name"),
        (
            {"attributes": {**dense(WITNESSES.points[1]).attributes, "activation": None}},
            "because of the layer d, activation",
        ),
        ({"output_shape": (4, 48)}, "because of the layer d, output_shape"),
        ({"calls": 2}, "because of the layer d, calls"),
    ],
    ids=["weights", "name", "activation", "rank", "calls"],
)
def test_layers_that_differ_in_more_than_sizes(change: dict[str, object], reason: str) -> None:
    layers = [dense(point) for point in WITNESSES.points]
    layers[1] = replace(layers[1], **change)
    with pytest.raises(DifferentPrograms, match=rf"^one program .*{reason}[;( ].*give smaller ranges, or numbers$"):
        SizedLayer.merged(layers, WITNESSES)
