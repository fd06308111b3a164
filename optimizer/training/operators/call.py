"""One evaluation of a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Call:
    """One evaluation of a node.

    Attributes:
        inputs: None for those that are left out.
        attributes: by name; texts are ``str``.
        outputs: how many outputs are read, from the first one on.
        training: whether normalizations use the statistics of the batch.
    """

    inputs: tuple[torch.Tensor | None, ...]
    attributes: Mapping[str, Any]
    outputs: int = 1
    training: bool = False

    def __getitem__(self, place: int) -> torch.Tensor:
        """Returns an input that the node must have."""
        value = self.optional(place)
        if value is None:
            raise ValueError(f"it lacks input {place}")
        return value

    def optional(self, place: int) -> torch.Tensor | None:
        return self.inputs[place] if place < len(self.inputs) else None

    def attribute(self, name: str, default: Any) -> Any:
        return self.attributes.get(name, default)

    def numbers(self, place: int, name: str) -> list[int] | None:
        """Returns whole numbers that are an input in later opsets, an attribute in earlier ones; None without both."""
        value = self.optional(place)
        if value is not None:
            return [int(number) for number in value.reshape(-1).tolist()]
        given = self.attributes.get(name)
        return None if given is None else [int(number) for number in given]

    def number(self, place: int, name: str) -> float | None:
        """Returns a number that is an input in later opsets, an attribute in earlier ones; None without both."""
        value = self.optional(place)
        return self.attributes.get(name) if value is None else float(value)
