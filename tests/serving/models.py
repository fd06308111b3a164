"""Small models whose answers are known."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx

from tests.graph_passes.models import model


def affine(scale: float, size: int = 4) -> onnx.ModelProto:
    """Returns ``y = scale * x + 1`` over ``size`` numbers."""
    text = f"g (float[1,{size}] x) => (float[1,{size}] y) <float[1] scale, float[1] one>"
    return model(text + "{ t = Mul (x, scale) y = Add (t, one) }", scale=[scale], one=[1.0])


def write_version(folder: Path, made: onnx.ModelProto, config: str) -> None:
    """Writes a version with its digests, so that it is loaded at once, and the model's configuration."""
    folder.mkdir(parents=True)
    (folder.parent / "config.toml").write_text(config)
    data = made.SerializeToString()
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(data).hexdigest()}  model.onnx\n")
    (folder / "model.onnx").write_bytes(data)
