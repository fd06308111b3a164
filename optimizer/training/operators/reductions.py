"""Sums, means and extremes over axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from optimizer.training.operators.call import Call


def _reduction(function: Callable[[torch.Tensor, list[int], bool], torch.Tensor]) -> Callable[[Call], torch.Tensor]:
    def reduce(call: Call) -> torch.Tensor:
        x, axes = call[0], call.numbers(1, "axes")
        if not axes:
            if call.attribute("noop_with_empty_axes", 0):
                return x
            axes = list(range(x.ndim))
        return function(x, axes, bool(call.attribute("keepdims", 1)))

    return reduce


def _extreme(function: Callable[..., torch.Tensor]) -> Callable[[Call], torch.Tensor]:
    def find(call: Call) -> torch.Tensor:
        if call.attribute("select_last_index", 0):
            raise ValueError("select_last_index is not supported")
        return function(call[0], dim=call.attribute("axis", 0), keepdim=bool(call.attribute("keepdims", 1)))

    return find


REDUCTIONS: Mapping[str, Callable[[Call], torch.Tensor]] = {
    "ArgMax": _extreme(torch.argmax),
    "ArgMin": _extreme(torch.argmin),
    "ReduceL1": _reduction(lambda x, axes, keep: x.abs().sum(axes, keep)),
    "ReduceL2": _reduction(lambda x, axes, keep: x.square().sum(axes, keep).sqrt()),
    "ReduceLogSumExp": _reduction(torch.logsumexp),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceMin": _reduction(torch.amin),
    "ReduceSum": _reduction(torch.sum),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: x.square().sum(axes, keep)),
}
