"""How the range of an activation follows from its values on the samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# By name: ONNX Runtime's name of the method, and its options. The first one is the default. Its entropy is not offered:
# it merges 128 bins into 128, so it always takes the range of all values.
METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "percentile": ("Percentile", {"CalibPercentile": 99.999}),
    "min-max": ("MinMax", {}),
}
