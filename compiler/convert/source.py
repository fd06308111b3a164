"""The models that users pass: files, ONNX models, PyTorch modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def exported(model: Any, example_inputs: Sequence[Any] | Mapping[str, Any] | None) -> Any:
    """Returns a PyTorch module as an ONNX model; any other model unchanged."""
    if is_torch_module(model):
        from compiler.convert.torch_to_onnx import export

        return export(model, example_inputs)
    if example_inputs is not None:
        raise ValueError(f"example_inputs are for PyTorch modules only; the model is of type {type(model).__name__}")
    return model


def is_torch_module(model: Any) -> bool:
    """Tests for a PyTorch module without importing torch, by the names of the base classes' modules."""
    return any(kind.__module__.startswith("torch.nn.") for kind in type(model).__mro__)
