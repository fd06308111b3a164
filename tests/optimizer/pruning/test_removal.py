"""A model without channels computes what the original computes if no layer reads these channels."""

from __future__ import annotations

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from optimizer.pruning.groups import Groups, find
from optimizer.pruning.removal import without
from optimizer.session import Session
from tests.optimizer.pruning.random_networks import SIZE, Network, Source, networks


def kept_sources(original: onnx.ModelProto, pruned: onnx.ModelProto, net: Network) -> set[Source]:
    """Returns the channels of layers that are left, by their biases, which are all different."""
    before, after = ({t.name: numpy_helper.to_array(t) for t in m.graph.initializer} for m in (original, pruned))
    kept = set()
    for node in original.graph.node:
        if node.name in net.reads and len(node.input) > 2:
            wanted = before[node.input[2]].tolist()
            kept |= {(node.name, wanted.index(value)) for value in after[node.input[2]].tolist()}
    return kept


def masked(original: onnx.ModelProto, net: Network, kept: set[Source]) -> onnx.ModelProto:
    """Returns the original with zeros for all removed channels that a layer reads."""
    model = onnx.ModelProto()
    model.CopyFrom(original)
    del model.graph.node[:]
    for node in original.graph.node:
        value = net.reads.get(node.name)
        if value is not None:
            gone = [source - kept for source in value.sources]
            for part, whole in zip(gone, value.sources, strict=True):
                assert part in (frozenset(), whole), "a channel is removed in part"
            mask = np.array([not part for part in gone], np.float32)
            shape = (1, -1, 1, 1) if value.size else (1, -1)
            name = f"{node.name}_mask"
            model.graph.initializer.append(numpy_helper.from_array(mask.reshape(shape), name))
            model.graph.node.append(helper.make_node("Mul", [value.name, name], [f"{node.name}_x"]))
            copy = model.graph.node.add()
            copy.CopyFrom(node)
            copy.input[0] = f"{node.name}_x"
        else:
            model.graph.node.append(node)
    return model


def removable(groups: Groups, seed: int, share: float) -> list[int]:
    """Chooses channels of all groups at random, but not all of one group."""
    rng = np.random.default_rng(seed)
    return [root for group in groups.free for root in group.roots[1:] if rng.uniform() < share]


@settings(deadline=None, max_examples=60)
@given(networks(), st.integers(0, 999), st.sampled_from([0.3, 0.8]))
def test_a_random_network(drawn: tuple[onnx.ModelProto, Network], seed: int, share: float) -> None:
    original, net = drawn
    groups = find(original)
    removed = removable(groups, seed, share)
    pruned = without(original, groups, removed)
    onnx.checker.check_model(pruned, full_check=True)
    kept = kept_sources(original, pruned, net)
    inputs = {"x": np.random.default_rng(seed).standard_normal((1, 3, SIZE, SIZE), np.float32)}
    wanted = Session(masked(original, net, kept), 1, fused=False)(inputs)
    found = Session(pruned, 1, fused=False)(inputs)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(value).max())))
    total = sum(len(value) for value in _made(net).values())
    assert total - len(kept) >= len(removed), "as many channels of layers are gone as were to be removed, or more"


@settings(deadline=None, max_examples=30)
@given(networks())
def test_all_channels_are_found(drawn: tuple[onnx.ModelProto, Network]) -> None:
    """Groups are the connected parts of what depends on each other, and only the last layer's are fixed."""
    original, net = drawn
    groups = find(original)
    parts = _components(net)
    assert sum(map(len, groups.free)) == len(parts)


def _made(net: Network) -> dict[str, set[Source]]:
    made: dict[str, set[Source]] = {}
    for value in net.reads.values():
        for source in value.sources:
            for layer, channel in source:
                made.setdefault(layer, set()).add((layer, channel))
    return made


def _components(net: Network) -> list[set[Source]]:
    """Returns the sets of channels of layers that some value combines, directly or through others."""
    parts: list[set[Source]] = []
    for value in net.reads.values():
        for source in filter(None, value.sources):
            joined = set(source)
            rest = []
            for part in parts:
                if part & joined:
                    joined |= part
                else:
                    rest.append(part)
            parts = [*rest, joined]
    return parts
