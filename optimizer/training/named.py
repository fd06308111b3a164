"""PyTorch modules that take inputs by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import torch

from optimizer.messages import one_line


class ByName(torch.nn.Module):
    """Calls a module with inputs by name; a single input is its first argument, whatever its name is."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module
        self._parameters_of_forward = set(inspect.signature(module.forward).parameters)

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor]:
        """Returns the logits.

        Raises:
            ValueError: the module does not take these inputs, or returns something else than a tensor.
        """
        named = set(inputs) <= self._parameters_of_forward
        try:
            found = self.module(**inputs) if named else self.module(*inputs.values())
        except (RuntimeError, TypeError) as error:
            kind = type(self.module).__name__
            raise ValueError(f"{kind} does not take the samples: {one_line(error)}") from error
        if not isinstance(found, torch.Tensor):
            raise ValueError(f"{type(self.module).__name__} must return logits, got {type(found).__name__}")
        return (found,)
