"""Layers whose sizes vary from run to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compiler.sizes.differing import Witnesses
from compiler.sizes.expression import evaluated, read, written
from compiler.workloads.layer import Layer
from compiler.workloads.target import Target
from compiler.workloads.threads import threads_for

_PER_SIZE = ("threads", "schedule")  # chosen for each size
_WEIGHTS = "weights"


@dataclass(frozen=True)
class SizedLayer:
    """A layer for all sizes.

    Attributes:
        fields: as ``Layer.to_json``, with expressions of sizes for numbers, without ``threads`` and ``schedule``.
        weights: as in :class:`compiler.workloads.layer.Layer`.
    """

    fields: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]

    @classmethod
    def merged(cls, layers: Sequence[Layer], witnesses: Witnesses) -> SizedLayer:
        """Returns the layer that is each of these at each point of the witnesses.

        Raises:
            DifferentPrograms: the layers differ in more than sizes.
        """
        first = layers[0]
        for layer in layers[1:]:
            if any(layer.weights.get(name) is not weight for name, weight in first.weights.items()):
                raise witnesses.error(f"the weights of {first.name}")
        fields = [{k: v for k, v in layer.to_json({}).items() if k not in _PER_SIZE} for layer in layers]
        return cls(witnesses.merged(fields, f"the layer {first.name}"), first.weights)

    def at(self, sizes: Mapping[str, int], target: Target | None = None) -> Layer:
        """Returns the layer for given sizes on a target, with its default schedule. None: on one thread."""
        fields = evaluated(self.fields, sizes)
        layer = Layer.from_json({**fields, "threads": 1, "schedule": None}, self.weights)
        return layer if target is None else replace(layer, threads=threads_for(layer.workload, target))

    def to_json(self, places: Mapping[str, int]) -> dict[str, Any]:
        """Returns the description; ``places``: as in ``Layer.to_json``."""
        return written({**self.fields, _WEIGHTS: dict(places)})

    @classmethod
    def from_json(
        cls, fields: Mapping[str, Any], weights: Mapping[str, np.ndarray], names: Sequence[str]
    ) -> SizedLayer:
        """The inverse of :meth:`to_json` for sizes of these names.

        Raises:
            ValueError: an entry is not valid.
        """
        return cls(read({**fields, _WEIGHTS: {}}, names), weights)
