"""The inputs of a served model as specifications of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compiler.program.tensor_spec import OPAQUE, TensorSpec
from serving.client import open_shape
from serving.worker.datatypes import DTYPES


def tensor_specs(metadata: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> list[TensorSpec]:
    """Returns the inputs that a model's metadata describe. Open sizes are those of given arrays, by name, else 1."""
    only = shapes.get("") if len(metadata["inputs"]) == 1 else None
    return [
        TensorSpec(
            spec["name"],
            DTYPES[spec["datatype"]].name if spec["datatype"] in DTYPES else OPAQUE,
            open_shape(spec["shape"], shapes.get(spec["name"], only)),
        )
        for spec in metadata["inputs"]
    ]
