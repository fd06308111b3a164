"""Predicted sizes and costs are those of the pruned model."""

from __future__ import annotations

import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_passes import optimize
from optimizer.pruning import costs, widths
from optimizer.pruning.groups import find
from optimizer.pruning.removal import without
from tests.optimizer.pruning.random_networks import Network, networks
from tests.optimizer.pruning.test_removal import removable


@settings(deadline=None, max_examples=20)
@given(networks(), st.integers(0, 999))
def test_parameters_and_multiply_adds(drawn: tuple[onnx.ModelProto, Network], seed: int) -> None:
    original, _ = drawn
    groups = find(original)
    gone = set(removable(groups, seed, 0.4))
    kept = [len(set(group.roots) - gone) for group in groups.free]
    constants = widths.weights(original, groups)
    (report,) = optimize(without(original, groups, gone), passes=["fold_constants"]).reports
    assert costs.parameters(constants)(kept) == report.params_before
    assert costs.macs(widths.layers(original, constants), widths.products(original, groups))(kept) == report.macs_before
