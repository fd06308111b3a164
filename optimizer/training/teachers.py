"""Teachers: models whose answers a student learns."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx
import torch

from compiler.convert.torch_to_onnx import evaluating
from optimizer.graphs import inputs_of, with_outputs
from optimizer.messages import one_line
from optimizer.session import Session
from optimizer.training.digests import of_arrays, of_module
from optimizer.training.labelled import Labelled
from optimizer.training.loop import Inputs
from optimizer.training.named import ByName, check_feature
from optimizer.training.prepared import check, classifier
from optimizer.training.ranks import Ranks


class Teacher(Protocol):
    """Computes logits of inputs by name, and the features that it was made with, without gradients."""

    def __call__(self, inputs: Inputs) -> tuple[torch.Tensor, ...]: ...

    def digest(self) -> str:
        """Returns a text that differs for another teacher."""
        ...


class OnnxTeacher:
    """A teacher that ONNX Runtime computes; features are names of its tensors.

    Raises:
        ValueError: the model does not classify, or lacks such a tensor; the message is one line.
    """

    def __init__(self, model: str | Path | onnx.ModelProto, threads: int | None, features: Sequence[str] = ()) -> None:
        found = classifier(model)
        for name in features:
            check_feature(name, found.tensors, "teacher")
        self._found, self._outputs = found, (found.logits, *features)
        self._bytes = found.model.SerializeToString(deterministic=True)
        self._session = Session(with_outputs(found.model, *self._outputs), threads)
        self._inputs = [value.name for value in inputs_of(found.model)]

    def check(self, inputs: Inputs) -> None:
        """
        Raises:
            ValueError: the teacher does not take several samples at once; the message is one line.
        """
        if self._found.model is not self._found.original:
            check(self._found, self._arrays(inputs))

    def _arrays(self, inputs: Inputs) -> dict[str, np.ndarray]:
        names = list(inputs)
        if len(self._inputs) == len(names) == 1:  # whatever its name is
            names = self._inputs
        arrays = {name: tensor.cpu().numpy() for name, tensor in zip(names, inputs.values(), strict=True)}
        if set(arrays) != set(self._inputs):
            raise ValueError(f"the teacher has the inputs {', '.join(self._inputs)}; the samples {', '.join(arrays)}")
        return arrays

    def __call__(self, inputs: Inputs) -> tuple[torch.Tensor, ...]:
        found = self._session(self._arrays(inputs))
        device = next(iter(inputs.values())).device
        return tuple(torch.from_numpy(found[name]).to(device) for name in self._outputs)

    def digest(self) -> str:
        return hashlib.sha256(self._bytes).hexdigest()


class ModuleTeacher:
    """A teacher that is a PyTorch module, which computes in evaluation mode."""

    def __init__(self, module: ByName) -> None:
        self._module = module

    def __call__(self, inputs: Inputs) -> tuple[torch.Tensor, ...]:
        with evaluating(self._module), torch.no_grad():
            return self._module(inputs)

    def digest(self) -> str:
        return of_module(self._module)


def answers(
    teacher: Teacher,
    data: Labelled,
    batch_size: int,
    device: str,
    cache: Path | None = None,
    ranks: Ranks | None = None,
) -> np.ndarray:
    """Returns the logits of all samples, (samples, classes); from the cache, if it has those of this teacher.

    Args:
        teacher: computes them.
        data: the samples.
        batch_size: samples at once.
        device: where the inputs are.
        cache: a folder, which is created if necessary; None keeps nothing.
        ranks: processes, each of which computes a part, without a cache.

    Raises:
        ValueError: the teacher does not compute these samples. The message is one line.
        OSError: the cache cannot be read or written.
    """
    ranks = ranks or Ranks()
    path = None
    if cache is not None and ranks.size == 1:
        path = cache / f"{hashlib.sha256((teacher.digest() + of_arrays(data.arrays)).encode()).hexdigest()}.npy"
        if path.exists():
            return _cached(path, len(data))
    batches = np.array_split(np.arange(len(data)), -(-len(data) // batch_size))
    found: torch.Tensor | None = None
    for indices in batches[ranks.rank :: ranks.size]:
        logits = teacher(data.at(indices).tensors(device))[0].float()
        if logits.ndim != 2 or len(logits) != len(indices):
            raise ValueError(f"a teacher returns {tuple(logits.shape)} for {len(indices)} samples")
        if found is None:
            found = torch.zeros(len(data), logits.shape[1], device=logits.device)
        found[torch.from_numpy(indices).to(logits.device)] = logits
    if found is None:
        raise ValueError(f"{len(data)} samples are too few for {ranks.size} processes")
    logits_of_all = ranks.total(found).cpu().numpy()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.save(file, logits_of_all)
        os.replace(partial, path)
    return logits_of_all


def accuracy(teacher: Teacher, data: Labelled, batch_size: int, device: str) -> float | None:
    """Returns the share of samples whose largest logit is the label's; None without labels."""
    if data.labels is None:
        return None
    return float((answers(teacher, data, batch_size, device).argmax(1) == data.labels).mean())


def _cached(path: Path, count: int) -> np.ndarray:
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged: {one_line(error)}; delete it") from None
    if found.ndim == 2 and len(found) == count and found.dtype == np.float32:
        return found
    raise ValueError(f"{path} has other answers than those of {count} samples; delete it")
