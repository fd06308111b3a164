"""Normalizations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.compiler.differential.draft import NodeDraft
from tests.compiler.differential.values import EXACT, POSITIVE, SMALL

_EPSILONS = (1e-5, 1e-3, 0.1)


def batch_normalization(d: NodeDraft) -> None:
    x = d.data(rank=(2, 5), kind=SMALL, least=1)
    channels = x.shape[1]
    if d.chance(80):
        for index in (1, 3):
            d.bind(index, x.dtype)
    training = d.version >= 14 and d.chance(30)
    for kind in (SMALL, SMALL, SMALL, POSITIVE):
        d.operand([channels], kind)
    d.maybe("epsilon", *_EPSILONS)
    d.maybe("momentum", 0.9, 0.6)
    if d.version < 9:
        d.set("spatial", 1) if d.chance(30) else None
    if training:
        d.set("training_mode", 1)
        d.num_outputs = 3
    elif d.chance(20):
        d.set("training_mode", 0)


def instance_normalization(d: NodeDraft) -> None:
    x = d.data(rank=(3, 5), kind=SMALL, least=1)
    d.operand([x.shape[1]], SMALL)
    d.operand([x.shape[1]], SMALL)
    d.maybe("epsilon", *_EPSILONS)


def group_normalization(d: NodeDraft) -> None:
    groups = d.integer(1, 3)
    channels = groups * d.integer(1, 3)
    d.data(shape=[d.integer(1, 3), channels, *d.shape((1, 3), least=1, most=4)], kind=SMALL)
    length = channels if d.version >= 21 else groups
    d.operand([length], SMALL)
    d.operand([length], SMALL)
    d.set("num_groups", groups)
    d.maybe("epsilon", *_EPSILONS)
    d.maybe("stash_type", 1)


def layer_normalization(d: NodeDraft) -> None:
    x = d.data(rank=(1, 5), kind=SMALL, least=1)
    axis = d.integer(0, x.rank - 1) if d.chance(60) else x.rank - 1
    last = list(x.shape[axis:])
    d.operand(last if d.chance(85) else last[-1:], SMALL)
    root = d.schema.name == "RMSNormalization"
    if not root and d.chance(70):
        d.operand(last, SMALL)
    if axis != x.rank - 1 or d.chance(50):
        d.set("axis", axis - x.rank if d.chance(50) else axis)
    d.maybe("epsilon", *_EPSILONS)
    d.maybe("stash_type", 1)
    if not root:
        d.num_outputs = d.choice(1, 1, 1, 2, 3)


def lrn(d: NodeDraft) -> None:
    d.data(rank=(4, 4) if d.chance(90) else (3, 5), kind=SMALL, least=1)
    d.set("size", d.choice(1, 3, 3, 5, 7))
    d.maybe("alpha", 1e-4, 0.1, 1.0)
    d.maybe("beta", 0.75, 0.5, 1.0)
    d.maybe("bias", 1.0, 2.0)


def mean_variance_normalization(d: NodeDraft) -> None:
    if d.chance(70):
        d.bind(0, np.dtype("float32"))
    x = d.data(rank=(4, 4), kind=EXACT, least=1)
    if d.chance(60):
        d.set("axes", sorted(d.subset(range(x.rank), least=1)))


STRATEGIES: dict[str, Callable[[NodeDraft], None]] = {
    "BatchNormalization": batch_normalization,
    "GroupNormalization": group_normalization,
    "InstanceNormalization": instance_normalization,
    "LRN": lrn,
    "LayerNormalization": layer_normalization,
    "MeanVarianceNormalization": mean_variance_normalization,
    "RMSNormalization": layer_normalization,
}
