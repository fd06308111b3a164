from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from optimizer import Plan, prune
from optimizer.plan import KeptChannels, Latency
from optimizer.session import Session
from tests.optimizer.networks import network, samples

FOUND = prune(network(), 0.3, cost="macs", step=1)


def other_weights(seed: int) -> onnx.ModelProto:
    """The network with other weights; the variances stay."""
    found, rng = network(), np.random.default_rng(seed)
    for tensor in found.graph.initializer:
        if tensor.name != "variance":
            array = rng.standard_normal(tuple(tensor.dims)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return found


def test_a_plan_returns_from_its_file(tmp_path: Path) -> None:
    timed = Plan(FOUND.topology, FOUND.groups, "magnitude", "kernels", Latency(2, 0.002, 0.001, 0.0011))
    for plan in (FOUND, timed):
        plan.save(tmp_path / "plan.json")
        assert Plan.load(tmp_path / "plan.json") == plan


def test_other_weights_of_the_topology() -> None:
    """Their sizes become those of the original's, and their values are the kept ones."""
    pruned = FOUND.apply(other_weights(1))
    shapes = [[tuple(tensor.dims) for tensor in each.graph.initializer] for each in (pruned, FOUND.apply(network()))]
    assert shapes[0] == shapes[1]
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in other_weights(1).graph.initializer}
    kept = list(FOUND.groups[1].kept)
    assert len(kept) < len(weights["w5"])
    found = next(numpy_helper.to_array(t) for t in pruned.graph.initializer if t.name == "w5")
    np.testing.assert_array_equal(found, weights["w5"][kept])
    assert np.isfinite(Session(pruned)(samples(1))["y"]).all()


def test_another_topology() -> None:
    changed = network()
    next(node for node in changed.graph.node if node.op_type == "Relu").op_type = "Sigmoid"
    with pytest.raises(ValueError, match=r"^the plan is for a model of another topology$"):
        FOUND.apply(changed)


def test_other_groups() -> None:
    first, second = FOUND.groups
    wider = KeptChannels(second.name, second.channels + 1, second.kept)
    for others in ((first, wider), (KeptChannels("z", 8, (0,)),), (first, first, second), (first, second, wider)):
        with pytest.raises(ValueError, match=r"^the plan has other groups of channels than the model$"):
            Plan(FOUND.topology, others, "magnitude", "macs").apply(network())


def changed(path: str, value: Any) -> Any:
    """The plan's JSON with another value at a path of keys and indices."""
    fields = copy.deepcopy(FOUND.to_json())
    *keys, last = (int(key) if key.isdigit() else key for key in path.split("/"))
    place: Any = fields
    for key in keys:
        place = place[key]
    place[last] = value
    return fields


BAD: dict[str, tuple[Any, str]] = {
    "no object": ([], "a plan must have exactly the entries format, topology, importance, cost, groups, latency"),
    "entry": (changed("more", 1), "a plan must have exactly the entries"),
    "format": (changed("format", 2), "the plan has format 2; this version reads 1"),
    "a true format": (changed("format", True), "the plan has format True; this version reads 1"),
    "topology": (changed("topology", "x"), "the plan has no valid digest of a topology"),
    "groups": (changed("groups", {}), "the groups of the plan are not a list"),
    "group": (changed("groups/0", 5), "a group of the plan must have exactly the entries name, channels, kept"),
    "channels": (changed("groups/0/channels", 1e9), "a group of the plan must have a text, a number and a list"),
    "too large": (changed("groups/0/kept", [0, 8]), "are not one or more of 0 to 7"),
    "negative": (changed("groups/0/kept", [-1, 0]), "are not one or more of 0 to 7"),
    "empty": (changed("groups/0/kept", []), "are not one or more of 0 to 7"),
    "twice": (changed("groups/0/kept", [1, 1]), "are not ascending numbers"),
    "no numbers": (changed("groups/0/kept", ["a", True]), "are not ascending numbers"),
    "cost": (changed("cost", 5), "importance and cost of the plan must be texts"),
    "latency": (changed("latency", {"threads": 1}), "the latency of the plan must have exactly the entries"),
    "seconds": (
        changed("latency", {"threads": 1, "before": 1, "after": float("nan"), "predicted": 1}),
        "the latency of the plan has seconds that are not above 0",
    ),
}


@pytest.mark.parametrize(("fields", "message"), BAD.values(), ids=BAD.keys())
def test_a_damaged_plan(tmp_path: Path, fields: Any, message: str) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        Plan.load(tmp_path / "plan.json")
    assert str(raised.value).startswith(f"{tmp_path}/plan.json is not a plan: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_not_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"plan.json is not a plan: ") as raised:
        Plan.load(tmp_path / "plan.json")
    assert "\n" not in str(raised.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"cannot read .*plan.json: No such file"):
        Plan.load(tmp_path / "plan.json")
