"""PyTorch modules that take inputs by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from optimizer.messages import one_line


class ByName(torch.nn.Module):
    """Calls a module with inputs by name; a single input is its first argument, whatever its name is.

    Args:
        module: returns logits.
        features: names of its submodules whose results are returned, too.

    Raises:
        ValueError: there is no such submodule; the message is one line.
    """

    def __init__(self, module: torch.nn.Module, features: Sequence[str] = ()) -> None:
        super().__init__()
        parts = dict(module.named_modules())
        for name in features:
            check_feature(name, parts, type(module).__name__)
        self._features = tuple(features)
        self.module = module
        self._parameters_of_forward = set(inspect.signature(module.forward).parameters)

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Returns the logits, and the features.

        Raises:
            ValueError: the module does not take these inputs, or returns something else than a tensor.
        """
        kept: dict[str, torch.Tensor] = {}
        parts = [(name, self.module.get_submodule(name)) for name in self._features]
        hooks = [part.register_forward_hook(partial(_keep, kept, name)) for name, part in parts]
        try:
            found = self._called(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        if missing := [name for name in self._features if name not in kept]:
            raise ValueError(f"{type(self.module).__name__} does not call {missing[0]}, or it returns no tensor")
        return (found, *(kept[name] for name in self._features))

    def _called(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        named = set(inputs) <= self._parameters_of_forward
        try:
            found = self.module(**inputs) if named else self.module(*inputs.values())
        except (RuntimeError, TypeError) as error:
            kind = type(self.module).__name__
            raise ValueError(f"{kind} does not take the samples: {one_line(error)}") from error
        if not isinstance(found, torch.Tensor):
            raise ValueError(f"{type(self.module).__name__} must return logits, got {type(found).__name__}")
        return found


def _keep(kept: dict[str, torch.Tensor], name: str, _module: torch.nn.Module, _inputs: Any, found: Any) -> None:
    if name in kept:
        raise ValueError(f"{name} is called several times, so its features are not defined")
    if isinstance(found, torch.Tensor):
        kept[name] = found.clone()  # a later module may change it in place


def check_feature(name: str, names: Collection[str], model: str) -> None:
    """
    Raises:
        ValueError: a model has no value of this name; the message names similar ones.
    """
    if name not in names:
        close = difflib.get_close_matches(name, names, 3, 0.3)
        raise ValueError(
            f"features: the {model} has no value {name!r}" + (f"; similar: {', '.join(close)}" if close else "")
        )
