"""Teachers: models whose answers a student learns."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx
import torch

from optimizer.graphs import with_outputs
from optimizer.session import Session
from optimizer.training.labelled import Labelled
from optimizer.training.loop import Inputs
from optimizer.training.prepared import classifier


class Teacher(Protocol):
    """Computes logits of inputs by name, without gradients."""

    def __call__(self, inputs: Inputs) -> torch.Tensor: ...

    def digest(self) -> str:
        """Returns a text that differs for another teacher."""
        ...


class OnnxTeacher:
    """A teacher that ONNX Runtime computes."""

    def __init__(self, model: str | Path | onnx.ModelProto, threads: int | None) -> None:
        found = classifier(model)
        self._logits = found.logits
        self._bytes = found.model.SerializeToString(deterministic=True)
        self._session = Session(with_outputs(found.model, found.logits), threads)
        weights = {tensor.name for tensor in found.model.graph.initializer}
        self._inputs = [value.name for value in found.model.graph.input if value.name not in weights]

    def __call__(self, inputs: Inputs) -> torch.Tensor:
        names = list(inputs)
        if len(self._inputs) == len(names) == 1:  # whatever its name is
            names = self._inputs
        arrays = {name: tensor.cpu().numpy() for name, tensor in zip(names, inputs.values(), strict=True)}
        if set(arrays) != set(self._inputs):
            raise ValueError(f"the teacher has the inputs {', '.join(self._inputs)}; the samples {', '.join(arrays)}")
        logits = torch.from_numpy(self._session(arrays)[self._logits])
        return logits.to(next(iter(inputs.values())).device)

    def digest(self) -> str:
        return hashlib.sha256(self._bytes).hexdigest()


class ModuleTeacher:
    """A teacher that is a PyTorch module in evaluation mode; it takes inputs by name, see :class:`Named`."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module

    def __call__(self, inputs: Inputs) -> torch.Tensor:
        training = self._module.training
        self._module.eval()
        with torch.no_grad():
            found = self._module(inputs)[0]
        self._module.train(training)
        return found

    def digest(self) -> str:
        found = hashlib.sha256(str(self._module).encode())
        for name, tensor in self._module.state_dict().items():
            found.update(name.encode())
            found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return found.hexdigest()


def answers(teacher: Teacher, data: Labelled, batch: int, device: str, cache: Path | None) -> np.ndarray:
    """Returns the logits of all samples, (samples, classes); from the cache, if it has those of this teacher.

    Args:
        teacher: computes them.
        data: the samples.
        batch: samples at once.
        device: where the inputs are.
        cache: a folder, which is created if necessary; None keeps nothing.

    Raises:
        ValueError: the teacher does not compute these samples. The message is one line.
        OSError: the cache cannot be read or written.
    """
    path = None if cache is None else cache / f"{_key(teacher, data.arrays)}.npy"
    if path is not None and path.exists():
        try:
            found = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}; delete it") from None
        if found.ndim == 2 and len(found) == len(data) and found.dtype == np.float32:
            return found
        raise ValueError(f"{path} has other answers than those of {len(data)} samples; delete it")
    parts = [
        teacher(data.at(np.arange(begin, min(begin + batch, len(data)))).tensors(device)).cpu().numpy()
        for begin in range(0, len(data), batch)
    ]
    found = np.concatenate(parts).astype(np.float32)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.save(file, found)
        os.replace(partial, path)
    return found


def _key(teacher: Teacher, arrays: Mapping[str, np.ndarray]) -> str:
    found = hashlib.sha256(teacher.digest().encode())
    for name, array in arrays.items():
        found.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        found.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return found.hexdigest()
