"""ncnn, by way of pnnx, the converter that its authors publish beside it.

pnnx is a program of its own: it reads a file, runs the model once on random inputs and writes ncnn's two files. It
takes no Pad before a layer of its own, so constants are folded and such padding with them. ncnn's inputs and outputs
have no names but in0, in1, ... and out0, out1, ..., in the order of the model's.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import graph_passes
from compiler.runtimes.base import PeerUnavailable, Run
from graph_passes.lazy import ir

if TYPE_CHECKING:
    import onnx

PACKAGES = ("ncnn", "pnnx")
# In the Python program that pnnx writes as an example, and nowhere else, is which axis of an array is the batch; 233
# stands for none.
_BATCH_AXIS = re.compile(r"\b(in|out)(\d+)\.numpy\((?:\), )?batch_index=(\d+)\)")


def prepare(model: onnx.ModelProto, threads: int) -> Run:
    import ncnn as untyped

    ncnn: Any = untyped
    net = ncnn.Net()
    _configure(net.opt, threads)
    with tempfile.TemporaryDirectory() as folder:
        param, weights, axes = _convert(model, Path(folder))
        unknown = sorted(layer for layer in _layers(param) if ncnn.layer_to_index(layer) < 0)
        if unknown:
            raise PeerUnavailable(f"ncnn has no layer {', '.join(unknown)}, which pnnx could not express otherwise")
        if net.load_param(str(param)) != 0 or net.load_model(str(weights)) != 0:
            raise PeerUnavailable("ncnn cannot load what pnnx has written")
    names = [value.name for value in model.graph.input]
    outputs = [value.name for value in model.graph.output]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        extractor = net.create_extractor()
        for index, name in enumerate(names):
            blob = f"in{index}"
            array = np.ascontiguousarray(inputs[name])
            array = array.astype(np.int32) if array.dtype == np.int64 else array
            extractor.input(blob, ncnn.Mat(array, batch_index=axes[blob]).clone())  # clone: in ncnn's own alignment
        answers = {}
        for index, name in enumerate(outputs):
            blob = f"out{index}"
            status, answer = extractor.extract(blob)
            if status != 0:
                raise RuntimeError(f"ncnn failed at output {name}")
            answers[name] = np.array(answer.numpy(batch_index=axes[blob]))
        return answers

    return run


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


def _convert(model: onnx.ModelProto, folder: Path) -> tuple[Path, Path, dict[str, int]]:
    """ncnn's files, in ``folder``, and the batch axis of each input and output."""
    folded = ir.serde.deserialize_model(model)
    graph_passes.named("fold_constants")(folded)
    (folder / "model.onnx").write_bytes(ir.serde.serialize_model(folded).SerializeToString())
    done = subprocess.run(
        [_pnnx(), "model.onnx", "fp16=0"], cwd=folder, capture_output=True, text=True, errors="replace"
    )
    example = folder / "model_ncnn.py"
    if done.returncode != 0 or not example.is_file():
        raise PeerUnavailable(f"pnnx cannot convert the model: {_reason(done)}")
    axes = {f"{kind}{index}": int(axis) for kind, index, axis in _BATCH_AXIS.findall(example.read_text())}
    blobs = [f"in{index}" for index in range(len(model.graph.input))]
    blobs += [f"out{index}" for index in range(len(model.graph.output))]
    if sorted(axes) != sorted(blobs):
        raise PeerUnavailable(f"pnnx has changed what goes in and out: {', '.join(axes)}, and not {', '.join(blobs)}")
    return folder / "model.ncnn.param", folder / "model.ncnn.bin", axes


def _pnnx() -> str:
    """The program in its wheel; importing the package would import torch."""
    spec = importlib.util.find_spec("pnnx")
    if spec is None or spec.origin is None:
        raise PeerUnavailable("pnnx cannot be found: pip install pnnx")
    return str(Path(spec.origin).with_name("pnnx"))


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that it has said of an error, or how it ended."""
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines()]
    ended = f"it was ended by signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return next((line for line in reversed(lines) if re.search("fail|error|unsupported", line, re.IGNORECASE)), ended)


def _layers(param: Path) -> set[str]:
    """The types of the layers: the first word of each line after the two of the header."""
    return {line.split()[0] for line in param.read_text().splitlines()[2:] if line.strip()}
