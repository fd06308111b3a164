"""Digests of what a training depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import onnx
import torch


def of_model(model: onnx.ModelProto) -> str:
    """Returns the digest of an ONNX model."""
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def of_module(module: torch.nn.Module) -> str:
    """Returns the digest of a module's structure and of all of its tensors."""
    found = hashlib.sha256(str(module).encode())
    for name, tensor in module.state_dict().items():
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns the digest of arrays by name."""
    found = hashlib.sha256()
    for name, array in arrays.items():
        found.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
