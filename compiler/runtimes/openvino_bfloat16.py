"""OpenVINO's CPU plugin in bfloat16, which is its default on CPUs with instructions for it. On others it is float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.runtimes import openvino
from compiler.runtimes.base import Runtime

if TYPE_CHECKING:
    from compiler.runtimes.base import Model

PACKAGES = openvino.PACKAGES


def load(model: Model, threads: int | None, operators: Sequence[Path] = ()) -> Runtime:
    return openvino.load(model, threads, operators, precision="bf16", name="openvino-bfloat16")
