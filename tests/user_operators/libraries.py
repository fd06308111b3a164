"""Libraries of operators, built with the C compiler of this machine, and a model with the one of the docs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "user_operators" / "soft_threshold.c"
PROBE = Path(__file__).with_name("probe.c")
ONNX_RUNTIME = Path(__file__).with_name("onnx_runtime.c")
REACHED = "the custom operators were reached"  # the error of that library
THRESHOLD = 0.5


def library(source: Path, folder: Path, *options: str) -> Path:
    """Builds a source as docs/user_operators says, and returns the library."""
    cc = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if cc is None:
        pytest.skip("there is no C compiler")
    path = folder / f"lib{source.stem}{len(list(folder.iterdir()))}.so"
    include = ROOT / "compiler" / "cpp" / "include"
    command = [cc, "-O2", "-shared", "-fPIC", *options, f"-I{include}", str(source), "-o", str(path), "-lm"]
    subprocess.run(command, check=True)
    return path


def network(shape: str = "2,8") -> onnx.ModelProto:
    """A dense layer, the operator of the example, and generated code."""
    size = shape.rpartition(",")[2]
    return model(
        f"g (float[{shape}] x) => (float[{shape}] y) <float[{size},{size}] w>"
        f"{{ a = MatMul (x, w) b = com.example.SoftThreshold <threshold = {THRESHOLD}> (a) y = Tanh (b) }}"
    )


def expected(made: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The output of :func:`network`."""
    a = x.astype(np.float64) @ onnx.numpy_helper.to_array(made.graph.initializer[0])
    return np.tanh(np.sign(a) * np.maximum(np.abs(a) - THRESHOLD, 0))


def model(graph: str) -> onnx.ModelProto:
    """A model in ONNX's text format. What is declared in ``<...>`` are weights of seeded values."""
    opsets = '"" : 18, "com.example" : 1, "com.probe" : 1'
    found = onnx.parser.parse_model(f"<ir_version: 10, opset_import: [{opsets}]> {graph}")
    rng = np.random.default_rng(0)
    for info in found.graph.value_info:
        kind = info.type.tensor_type
        array = rng.standard_normal([dim.dim_value for dim in kind.shape.dim])
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        found.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(dtype), info.name))
    del found.graph.value_info[:]
    return found
