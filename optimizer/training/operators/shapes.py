"""Operators that move elements, and those that compute shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import torch
from onnx import TensorProto, numpy_helper
from torch.nn import functional as F

from optimizer.training.operators.call import Call

_DTYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.INT64: torch.int64,
    TensorProto.INT32: torch.int32,
    TensorProto.INT16: torch.int16,
    TensorProto.INT8: torch.int8,
    TensorProto.UINT8: torch.uint8,
    TensorProto.BOOL: torch.bool,
}


def _reshape(call: Call) -> torch.Tensor:
    x, shape = call[0], call.numbers(1, "shape") or []
    if not call.attribute("allowzero", 0):
        shape = [x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    return x.reshape(shape)


def _flatten(call: Call) -> torch.Tensor:
    x, axis = call[0], call.attribute("axis", 1)
    return x.reshape(prod(x.shape[: axis if axis >= 0 else axis + x.ndim]), -1)


def _squeeze(call: Call) -> torch.Tensor:
    axes = call.numbers(1, "axes")
    return call[0].squeeze() if axes is None else call[0].squeeze(tuple(axes))


def _unsqueeze(call: Call) -> torch.Tensor:
    x, axes = call[0], call.numbers(1, "axes") or []
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _transpose(call: Call) -> torch.Tensor:
    return call[0].permute(call.attribute("perm", list(range(call[0].ndim))[::-1]))


def _split(call: Call) -> tuple[torch.Tensor, ...]:
    x, axis, sizes = call[0], call.attribute("axis", 0), call.numbers(1, "split")
    if sizes is None:
        return torch.split(x, -(-x.shape[axis] // call.attribute("num_outputs", call.outputs)), axis)
    return torch.split(x, sizes, axis)


def _slice(call: Call) -> torch.Tensor:
    x = call[0]
    starts, ends = call.numbers(1, "starts") or [], call.numbers(2, "ends") or []
    axes = call.numbers(3, "axes") or list(range(len(starts)))
    steps = call.numbers(4, "steps") or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        places = range(x.shape[axis])[start:end:step]
        if step == 1:
            x = x.narrow(axis, places.start, len(places))
        else:
            x = x.index_select(axis, torch.tensor(list(places), dtype=torch.int64, device=x.device))
    return x


def _gather(call: Call) -> torch.Tensor:
    x, indices, axis = call[0], call[1].long(), call.attribute("axis", 0) % call[0].ndim
    indices = torch.where(indices < 0, indices + x.shape[axis], indices)
    found = x.index_select(axis, indices.reshape(-1))
    return found.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _pad(call: Call) -> torch.Tensor:
    x, pads, mode = call[0], call.numbers(1, "pads") or [], call.attribute("mode", "constant")
    axes = call.numbers(3, "axes") or list(range(x.ndim))
    added = [(0, 0)] * x.ndim
    for axis, begin, end in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        added[axis] = (begin, end)
    flat = [number for pair in reversed(added) for number in pair]
    if mode == "constant":
        return F.pad(x, flat, value=call.number(2, "value") or 0.0)
    torch_mode = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}[mode]
    while flat and flat[-2:] == [0, 0]:  # PyTorch takes these modes for the last axes only
        flat = flat[:-2]
    return F.pad(x, flat, mode=torch_mode) if flat else x


def _constant_of_shape(call: Call) -> torch.Tensor:
    value = call.attributes.get("value")
    number = torch.zeros(1) if value is None else torch.from_numpy(numpy_helper.to_array(value).copy())
    return number.reshape(()).to(call[0].device).expand(call.numbers(0, "") or []).clone()


def _expand(call: Call) -> torch.Tensor:
    x = call[0]
    return x.expand(torch.broadcast_shapes(x.shape, call.numbers(1, "") or []))


def _shape(call: Call) -> torch.Tensor:
    sizes = list(call[0].shape)[call.attribute("start", 0) : call.attributes.get("end")]
    return torch.tensor(sizes, dtype=torch.int64, device=call[0].device)


def _cast(call: Call) -> torch.Tensor:
    return call[0].to(_DTYPES[call.attribute("to", TensorProto.FLOAT)])


def _range(call: Call) -> torch.Tensor:
    return torch.arange(call[0].item(), call[1].item(), call[2].item(), dtype=call[0].dtype, device=call[0].device)


SHAPES: Mapping[str, Callable[[Call], torch.Tensor | tuple[torch.Tensor, ...]]] = {
    "Cast": _cast,
    "Concat": lambda call: torch.cat([call[i] for i in range(len(call.inputs))], call.attribute("axis", 0)),
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": lambda call: call[0].repeat(call.numbers(1, "repeats") or []),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
