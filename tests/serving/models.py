"""Small models whose answers are known."""

from __future__ import annotations

import hashlib
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx

from tests.graph_passes.models import model

# By the protocol's names: ONNX's name, the type of arrays, values.
TYPES = {
    "BOOL": ("bool", np.bool_, [True, False, True]),
    "UINT8": ("uint8", np.uint8, [0, 1, 255]),
    "UINT16": ("uint16", np.uint16, [0, 1, 65535]),
    "UINT32": ("uint32", np.uint32, [0, 1, 2**32 - 1]),
    "UINT64": ("uint64", np.uint64, [0, 1, 2**64 - 1]),
    "INT8": ("int8", np.int8, [-128, 0, 127]),
    "INT16": ("int16", np.int16, [-32768, 0, 32767]),
    "INT32": ("int32", np.int32, [-(2**31), 0, 2**31 - 1]),
    "INT64": ("int64", np.int64, [-(2**63), 0, 2**63 - 1]),
    "FP16": ("float16", np.float16, [-1.5, 0, 65504]),
    "BF16": ("bfloat16", ml_dtypes.bfloat16, [-1.5, 0, 256]),
    "FP32": ("float", np.float32, [-0.1, 0, 3e38]),
    "FP64": ("double", np.float64, [-0.1, 0, 1e300]),
}


# A class in Python that returns its input and the number of rows that were computed together. Each run takes as long,
# so that larger batches gain. One whose first number is negative makes the file "runs" in the model's folder, and waits
# there for the file "gate".
GATE = """
import time
import numpy as np
class Model:
    def load(self, folder, threads, parameters):
        self.folder = folder.parent
    def inputs(self):
        return [("x", "FP32", (-1, 4))]
    def outputs(self):
        return [("y", "FP32", (-1, 4)), ("rows", "INT64", (-1,))]
    def run(self, inputs):
        x = inputs["x"]
        time.sleep(0.005)
        if x[0, 0] < 0:
            (self.folder / "runs").touch()
            while not (self.folder / "gate").exists():
                time.sleep(0.005)
        return {"y": x, "rows": np.full(len(x), len(x))}
    def close(self):
        pass
"""


def write_gate(repository: Path, name: str, config: str = "") -> Path:
    """Writes a model of :data:`GATE`, and returns its folder."""
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "1" / "model.py").write_text(GATE)
    (repository / name / "config.toml").write_text(f'runtime = "python"\nthreads = 1\n{config}')
    return repository / name


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
