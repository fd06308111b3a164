"""Reductions over axes, and softmax."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.compiler.differential.draft import NodeDraft
from tests.compiler.differential.values import ANY, FINITE, SMALL, UNIT

_AXES_ARE_INPUTS = {"ReduceSum": 13}  # 18 for the others


def reduce(d: NodeDraft) -> None:
    kind = SMALL if d.schema.name in ("ReduceProd", "ReduceSumSquare", "ReduceLogSumExp") and d.chance(70) else ANY
    # The answer of integers is rounded in no defined way.
    # The mean of no integers is not defined.
    floats = d.schema.name in ("ReduceLogSum", "ReduceLogSumExp", "ReduceL2", "ReduceMean")
    x = d.data(kind=kind, among="f" if floats else "")
    form = d.choice("some", "some", "some", "absent", "empty")
    axes = d.subset(range(x.rank), least=1) if form == "some" and x.rank else []
    if d.version >= 11:
        axes = [axis - x.rank if d.chance(40) else axis for axis in axes]
    inputs = d.version >= _AXES_ARE_INPUTS.get(d.schema.name, 18)
    if axes:
        d.given(np.array(axes, np.int64)) if inputs else d.set("axes", axes)
    elif form == "empty" and inputs:
        d.given(np.array([], np.int64))
    d.maybe("noop_with_empty_axes", 0, 1, percent=40)
    d.maybe("keepdims", 0, 1)


def arg_extreme(d: NodeDraft) -> None:
    x = d.data(rank=(1, 5), kind=ANY)
    if d.chance(80):
        d.set("axis", d.axis(x.rank))
    d.maybe("keepdims", 0, 1)
    d.maybe("select_last_index", 0, 1)


def softmax(d: NodeDraft) -> None:
    x = d.data(rank=(1, 5), kind=ANY)
    if d.chance(80):
        d.set("axis", d.axis(x.rank))
    elif d.version < 13 and x.rank == 1:
        d.set("axis", 0)  # the default, 1, has no such axis


def cumulative(d: NodeDraft) -> None:
    x = d.data(rank=(1, 4), kind=UNIT if d.schema.name == "CumProd" else FINITE)
    d.given(np.array(d.integer(-x.rank, x.rank - 1), d.dtype(1)))
    d.maybe("exclusive", 0, 1)
    d.maybe("reverse", 0, 1)


def lp_normalization(d: NodeDraft) -> None:
    x = d.data(rank=(1, 4), kind=FINITE)
    if d.chance(70):
        d.set("axis", d.integer(-x.rank, x.rank - 1))
    d.maybe("p", 1, 2)


def loss(d: NodeDraft) -> None:
    """NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss."""
    n, classes = d.integer(1, 3), d.integer(1, 5)
    spatial = d.shape((0, 2), least=1, most=3)
    d.data(shape=[n, classes, *spatial], kind=FINITE)
    labels = d.rng().integers(0, classes, [n, *spatial])
    ignored = d.choice(None, None, -1, 0, 100)
    if ignored is not None:
        d.set("ignore_index", ignored)
        labels = np.where(d.rng().random(labels.shape) < 0.3, ignored, labels)
        labels.flat[0] = max(labels.flat[0], 0) % classes
    d.given(labels.astype(d.dtype(1)), dynamic=50)
    if d.chance(50):
        d.given(d.rng().uniform(0.25, 2, [classes]).astype(d.dtype(0)))
    d.maybe("reduction", "none", "mean", "sum")
    if d.schema.name == "SoftmaxCrossEntropyLoss":
        d.num_outputs = d.choice(1, 2)


_REDUCE = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"

STRATEGIES: dict[str, Callable[[NodeDraft], None]] = {
    **{f"Reduce{name}": reduce for name in _REDUCE.split()},
    **dict.fromkeys("Hardmax LogSoftmax Softmax".split(), softmax),
    "ArgMax": arg_extreme,
    "ArgMin": arg_extreme,
    "CumProd": cumulative,
    "CumSum": cumulative,
    "LpNormalization": lp_normalization,
    "NegativeLogLikelihoodLoss": loss,
    "SoftmaxCrossEntropyLoss": loss,
}
