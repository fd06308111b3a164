"""Normalizations and softmax."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional as F

from optimizer.training.operators.call import Call


def _batch_norm(call: Call) -> torch.Tensor:
    if call.outputs > 1:
        raise ValueError("more than one output is not supported")
    # ONNX's momentum is the share of the old statistics, PyTorch's that of the new ones.
    momentum, epsilon = 1 - call.attribute("momentum", 0.9), call.attribute("epsilon", 1e-5)
    return F.batch_norm(call[0], call[3], call[4], call[1], call[2], call.training, momentum, epsilon)


def _layer_norm(call: Call) -> torch.Tensor:
    if call.outputs > 1:
        raise ValueError("more than one output is not supported")
    x, axis = call[0], call.attribute("axis", -1)
    shape = x.shape[axis % x.ndim :]
    y = F.layer_norm(x, shape, None, None, call.attribute("epsilon", 1e-5)) * call[1]
    bias = call.optional(2)
    return y if bias is None else y + bias


def _group_norm(call: Call) -> torch.Tensor:
    x, groups = call[0], call.attribute("num_groups", 1)
    scale, bias = call[1], call[2]
    if scale.numel() == groups != x.shape[1]:  # opset 18 has one number per group
        scale, bias = (each.repeat_interleave(x.shape[1] // groups) for each in (scale, bias))
    return F.group_norm(x, groups, scale, bias, call.attribute("epsilon", 1e-5))


def _rms_norm(call: Call) -> torch.Tensor:
    x, axis = call[0], call.attribute("axis", -1)
    return F.rms_norm(x, x.shape[axis % x.ndim :], None, call.attribute("epsilon", 1e-5)) * call[1]


NORMALIZATION: Mapping[str, Callable[[Call], torch.Tensor]] = {
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": lambda call: F.instance_norm(
        call[0], weight=call[1], bias=call[2], eps=call.attribute("epsilon", 1e-5)
    ),
    "LayerNormalization": _layer_norm,
    "LogSoftmax": lambda call: torch.log_softmax(call[0], call.attribute("axis", -1)),
    "RMSNormalization": _rms_norm,
    "Softmax": lambda call: torch.softmax(call[0], call.attribute("axis", -1)),
}
