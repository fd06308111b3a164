"""ncnn, with pnnx, the converter that its authors publish with it.

pnnx is a separate program. It reads a file, runs the model once on random inputs and writes ncnn's two files. It does
not support a separate Pad before a layer, so constants are folded, which removes such padding. ncnn names its inputs
in0, in1, ... and its outputs out0, out1, ..., in the order of the model.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import graph_passes
from compiler.runtimes.base import Runtime, RuntimeUnavailable, version
from compiler.runtimes.onnx_model import inlined, input_specs, output_specs, threads_or_default
from graph_passes.lazy import ir

if TYPE_CHECKING:
    import onnx

    from compiler.runtimes.base import Model

PACKAGES = ("ncnn", "pnnx")
# Only the example program in Python that pnnx writes shows which axis of an array is the batch; 233 means no axis.
_BATCH_AXIS = re.compile(r"\b(in|out)(\d+)\.numpy\((?:\), )?batch_index=(\d+)\)")


def load(model: Model, threads: int | None, _operators: Sequence[Path] = ()) -> Runtime:
    import ncnn as untyped

    ncnn: Any = untyped
    found = inlined(model)
    inputs, outputs = input_specs(found), output_specs(found)
    net = ncnn.Net()
    _configure(net.opt, threads_or_default(threads))
    with tempfile.TemporaryDirectory() as folder:
        param, weights, axes = _convert(found, len(inputs), Path(folder))
        unknown = sorted(layer for layer in _layers(param) if ncnn.layer_to_index(layer) < 0)
        if unknown:
            raise RuntimeUnavailable(f"ncnn has no layer {', '.join(unknown)}, which pnnx could not express otherwise")
        if net.load_param(str(param)) != 0 or net.load_model(str(weights)) != 0:
            raise RuntimeUnavailable("ncnn cannot load the files that pnnx has written")

    def run(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        extractor = net.create_extractor()
        for index, spec in enumerate(inputs):
            blob = f"in{index}"
            array = np.ascontiguousarray(given[spec.name])
            array = array.astype(np.int32) if array.dtype == np.int64 else array
            extractor.input(blob, ncnn.Mat(array, batch_index=axes[blob]).clone())  # clone: with ncnn's alignment
        answers = {}
        for index, spec in enumerate(outputs):
            blob = f"out{index}"
            status, answer = extractor.extract(blob)
            if status != 0:
                raise RuntimeError(f"ncnn failed at output {spec.name}")
            answers[spec.name] = np.array(answer.numpy(batch_index=axes[blob]))
        return answers

    return Runtime("ncnn", version(PACKAGES[0]), inputs, outputs, run)


def _configure(option: Any, threads: int) -> None:
    option.num_threads = threads
    option.lightmode = True
    option.use_packing_layout = True
    option.use_sgemm_convolution = True
    option.use_winograd_convolution = True
    for dtype in ("fp16", "bf16"):
        setattr(option, f"use_{dtype}_packed", False)
        setattr(option, f"use_{dtype}_storage", False)
    option.use_fp16_arithmetic = False


def _convert(model: onnx.ModelProto, inputs: int, folder: Path) -> tuple[Path, Path, dict[str, int]]:
    """Returns ncnn's two files in ``folder``, and the batch axis of each input and output."""
    folded = ir.serde.deserialize_model(model)
    graph_passes.named("fold_constants")(folded)
    (folder / "model.onnx").write_bytes(ir.serde.serialize_model(folded).SerializeToString())
    done = subprocess.run(
        [_pnnx(), "model.onnx", "fp16=0"], cwd=folder, capture_output=True, text=True, errors="replace"
    )
    example = folder / "model_ncnn.py"
    if done.returncode != 0 or not example.is_file():
        raise RuntimeUnavailable(f"pnnx cannot convert the model: {_reason(done)}")
    axes = {f"{kind}{index}": int(axis) for kind, index, axis in _BATCH_AXIS.findall(example.read_text())}
    blobs = [f"in{index}" for index in range(inputs)]
    blobs += [f"out{index}" for index in range(len(model.graph.output))]
    if sorted(axes) != sorted(blobs):
        raise RuntimeUnavailable(
            f"pnnx has changed the inputs and outputs: {', '.join(axes)} instead of {', '.join(blobs)}"
        )
    return folder / "model.ncnn.param", folder / "model.ncnn.bin", axes


def _pnnx() -> str:
    """Returns the path of the program in its wheel. Importing the package would import torch."""
    spec = importlib.util.find_spec("pnnx")
    if spec is None or spec.origin is None:
        raise RuntimeUnavailable("pnnx is not installed: pip install pnnx")
    return str(Path(spec.origin).with_name("pnnx"))


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Returns the last line of output about an error, or how the program ended."""
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines()]
    ended = f"ended by signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return next((line for line in reversed(lines) if re.search("fail|error|unsupported", line, re.IGNORECASE)), ended)


def _layers(param: Path) -> set[str]:
    """Returns the types of the layers: the first word of each line after the two of the header."""
    return {line.split()[0] for line in param.read_text().splitlines()[2:] if line.strip()}
