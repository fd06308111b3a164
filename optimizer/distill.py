"""Trains a student on labels and on what its teachers say.

A student is an ONNX model or a PyTorch module. An ONNX model is trained as it is: PyTorch computes its graph
(:mod:`optimizer.training.onnx_module`), and only the values of its weights change.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.data import LABELS
from optimizer.training.settings import Training

if TYPE_CHECKING:  # imported on first use, because that takes seconds
    import numpy as np
    import onnx
    import torch

    from optimizer.training.checkpoint import Checkpoint
    from optimizer.training.labelled import Labelled
    from optimizer.training.loop import Augment, Epoch, Objective
    from optimizer.training.ranks import Ranks
    from optimizer.training.teachers import Teacher

    Model = str | Path | onnx.ModelProto | torch.nn.Module

LOSSES: Mapping[str, str] = {
    "kd": "the divergence of probabilities at a temperature (Hinton et al., 2015)",
    "dist": "1 minus correlations of probabilities (Huang et al., 2022), for teachers that are much better",
}
WEIGHTS: Mapping[str, str] = {
    "mean": "all teachers count the same",
    "confidence": "a teacher counts by the probability that it gives to the label",
}
HELD_OUT = 0.1  # the share of samples that are kept for validation if none are given
BETA = 10.0
HOTTEST = 1e4  # a temperature, at which probabilities of logits of usual sizes are the same
_CHECKED = 2  # samples


@dataclass(frozen=True)
class Distilled:
    """A trained student.

    Attributes:
        model: an ``onnx.ModelProto`` if the student was an ONNX model; else the module, trained in place.
        epochs: the losses and the accuracy of each epoch.
        before, after: the accuracy on the validation samples; None without labels.
        teachers: the accuracy of each teacher there; None without labels.
    """

    model: Any
    epochs: tuple[Epoch, ...]
    before: float | None
    after: float | None
    teachers: tuple[float | None, ...]


def distill(
    student: Model,
    teachers: Sequence[Model],
    data: Mapping[str, np.ndarray] | Callable[[], Mapping[str, np.ndarray]],
    validation: Mapping[str, np.ndarray] | None = None,
    loss: str = "kd",
    temperature: float = 4.0,
    alpha: float = 0.9,
    weights: str = "mean",
    features: Sequence[str] | Mapping[str, str] = (),
    beta: float = BETA,
    training: Training | None = None,
    augment: str | Augment | None = None,
    device: str = "cpu",
    threads: int | None = None,
    checkpoint: str | Path | None = None,
    cache: str | Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> Distilled:
    """Trains a student on labels and on its teachers' probabilities.

    The loss is ``alpha`` times that of the teachers plus ``1 - alpha`` times the cross-entropy of the labels. Without
    labels, or without teachers, it is all of the other.

    Under ``torchrun``, each process computes a part of each batch.

    Args:
        student: the path of an ONNX classifier in floating point, the model, or a PyTorch module that takes the inputs
            in the order of the data, or by name, and returns logits.
        teachers: the same kinds of models, with the student's classes. ONNX Runtime computes ONNX models.
        data: arrays by the names of the inputs, whose first axis counts samples, and ``labels``; or a function that
            returns them.
        validation: the same for other samples; by default, a tenth of the data is kept for that.
        loss: a key of :data:`LOSSES`.
        temperature: divides logits, above 0 and at most 10,000.
        alpha: the share of the teachers in the loss, from 0 to 1.
        weights: a key of :data:`WEIGHTS`: how much each of several teachers counts.
        features: values inside that the student learns, too: names of tensors of ONNX models, and of submodules of
            modules; or a dictionary from the student's names to those of the teachers. Each is an image
            (samples, channels, height, width) or tokens (samples, tokens, channels), of as many positions as the
            teachers'; see :mod:`optimizer.training.losses.attention`.
        beta: how much the features count in the loss.
        training: how long and how fast; :class:`Training` by default.
        augment: changes of images such as ``"flip,shift:2"``, or a function of (inputs, generator). Without it, and
            without features, teachers answer each sample once.
        device: ``cpu``, or another one of PyTorch, to which modules are moved. GPUs have not been run yet.
        threads: of PyTorch and ONNX Runtime; None leaves the number to them.
        checkpoint: a folder for the state after each epoch, from which the same training goes on.
        cache: a folder for teachers' answers.
        progress: is called with the finished part, from 0 to 1.

    Raises:
        ValueError: an argument is not valid, the data do not fit, a model cannot be trained, or the loss is not finite.
            The message is one line.
        OSError: a file cannot be read or written.
        ImportError: PyTorch is missing.
    """
    from compiler.installation import extras

    extras.require("training a model", "training")
    import torch

    from optimizer.training import loop, ranks
    from optimizer.training.labelled import labelled
    from optimizer.training.teachers import accuracy

    training = training or Training()
    _check(device, threads)
    if isinstance(features, str):
        features = (features,)
    pairs = dict(features) if isinstance(features, Mapping) else {name: name for name in features}
    if pairs and not teachers:
        raise ValueError("features are learned from teachers: give one or more")
    if pairs and cache is not None:
        raise ValueError("a cache keeps answers, not features, so teachers compute in each epoch: leave one out")
    objective = _Loss(loss, temperature, alpha, weights, tuple(pairs.items()), beta)
    samples = labelled(data() if callable(data) else data)
    kept = None if validation is None else labelled(validation)
    if kept is None:
        if len(samples) < 2:
            raise ValueError("one sample cannot be divided into training and validation")
        samples, kept = samples.split(HELD_OUT, training.seed)
    if not teachers and samples.labels is None:
        raise ValueError("there is nothing to learn from: give teachers, or data with labels")
    if checkpoint is not None and callable(augment):
        raise ValueError("a checkpoint needs changes of images by name, not a function")
    threads_before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with ranks.joined(device) as group, torch.random.fork_rng(devices=[]), _modes(student):
            module, finish, digest = _student(student, samples, kept, device, list(pairs))
            taught_by = [_teacher(each, samples, threads, device, list(pairs.values())) for each in teachers]
            change = _augment(augment)
            size = training.batch_size
            first = loop.predict(module, kept.at(_some(kept)), size, device)[0]
            classes = _classes(first, samples, kept)
            computed = objective.of(taught_by, samples, classes, change is None, size, device, cache, group)
            about = {"objective": objective.to_json(), "augment": augment, "processes": group.size}
            state = None if checkpoint is None else _checkpoint(checkpoint, digest, taught_by, samples, training, about)
            before = loop.accuracy(module, kept, size, device)
            run = loop.Run(samples, kept, training, group, device, change, state, progress)
            epochs = loop.train(module, computed, run)
            after = loop.accuracy(module, kept, size, device)
            found = tuple(accuracy(each, kept, size, device) for each in taught_by)
            return Distilled(finish(), epochs, before, after, found)
    finally:
        torch.set_num_threads(threads_before)


def _check(device: str, threads: int | None) -> None:
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise ValueError(f"unknown device {device!r}; for example, cpu or cuda") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError("PyTorch finds no CUDA device here; choose the device cpu")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")


@contextlib.contextmanager
def _modes(model: Model) -> Iterator[None]:
    """Restores the mode of each submodule of a PyTorch module, such as frozen normalizations."""
    import torch

    parts = list(model.modules()) if isinstance(model, torch.nn.Module) else []
    modes = [part.training for part in parts]
    try:
        yield
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode


def _checkpoint(
    folder: str | Path,
    student: str,
    teachers: Sequence[Teacher],
    samples: Labelled,
    training: Training,
    about: Mapping[str, Any],
) -> Checkpoint:
    """Returns the checkpoint of exactly this training."""
    from optimizer.training.checkpoint import Checkpoint
    from optimizer.training.digests import of_arrays

    labels = {} if samples.labels is None else {LABELS: samples.labels}
    fingerprint = {
        "training": training.to_json(),
        "samples": of_arrays({**samples.arrays, **labels}),
        "teachers": [each.digest() for each in teachers],
        "student": student,
        **about,
    }
    return Checkpoint(Path(folder), fingerprint)


def _student(
    student: Model, samples: Labelled, validation: Labelled, device: str, features: Sequence[str]
) -> tuple[torch.nn.Module, Callable[[], Any], str]:
    """Returns a module to train, a function that returns the model with its present weights, and the model's digest."""
    import torch

    from optimizer.samples import fitting
    from optimizer.training import digests, prepared
    from optimizer.training.named import ByName, check_feature
    from optimizer.training.onnx_module import with_weights

    if isinstance(student, torch.nn.Module):
        if not any(parameter.requires_grad for parameter in student.parameters()):
            raise ValueError("the student has no weights that can be trained")
        named = ByName(student.to(device), features)
        return named, lambda: student, digests.of_module(named)
    found = prepared.classifier(student)
    for each in (samples, validation):
        fitting(each.arrays, found.model)
    prepared.check(found, samples.at(_some(samples)).arrays)
    for name in features:
        check_feature(name, found.tensors, "student")
    module = found.module(features)
    module.use_channels_last()
    if not list(module.parameters()):
        raise ValueError("the student has no weights that can be trained")
    return module.to(device), lambda: with_weights(found.original, module.weights()), digests.of_model(found.model)


def _some(samples: Labelled) -> np.ndarray:
    import numpy as np

    return np.arange(min(_CHECKED, len(samples)))


def _teacher(model: Model, samples: Labelled, threads: int | None, device: str, features: Sequence[str]) -> Teacher:
    import torch

    from optimizer.training.named import ByName
    from optimizer.training.teachers import ModuleTeacher, OnnxTeacher

    if isinstance(model, torch.nn.Module):
        return ModuleTeacher(ByName(model.to(device), features))
    teacher = OnnxTeacher(model, threads, features)
    teacher.check(samples.at(_some(samples)).tensors("cpu"))
    return teacher


def _augment(augment: str | Augment | None) -> Augment | None:
    from optimizer.training.augment import augment as parsed

    return parsed(augment) if isinstance(augment, str) else augment


def _classes(logits: np.ndarray, *all_samples: Labelled) -> int:
    if logits.ndim != 2:
        raise ValueError(f"a classifier returns logits of shape (samples, classes); the student returns {logits.shape}")
    classes = logits.shape[1]
    for samples in all_samples:
        if samples.labels is not None and samples.labels.max() >= classes:
            raise ValueError(f"the student has {classes} classes, but there is a label {samples.labels.max()}")
    return classes


@dataclass(frozen=True)
class _Loss:
    """The loss: see the arguments of :func:`distill`."""

    kind: str
    temperature: float
    alpha: float
    weights: str
    features: tuple[tuple[str, str], ...]
    beta: float

    def __post_init__(self) -> None:
        for what, name, names in (("loss", self.kind, LOSSES), ("weights", self.weights, WEIGHTS)):
            if name not in names:
                raise ValueError(f"unknown {what} {name!r}; choose from: {', '.join(names)}")
        if not 0 < self.temperature <= HOTTEST:
            raise ValueError(f"the temperature must be above 0 and at most {HOTTEST:g}, got {self.temperature:g}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha, the share of the teachers, must be from 0 to 1, got {self.alpha:g}")
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta, the weight of features, must be above 0, got {self.beta:g}")

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON; that of a loss without features is as in checkpoints of earlier versions."""
        names = ("kind", "temperature", "alpha", "weights")
        found = {name: getattr(self, name) for name in names}
        inside = {"features": [list(pair) for pair in self.features], "beta": self.beta}
        return found | (inside if self.features else {})

    def of(
        self,
        teachers: Sequence[Teacher],
        samples: Labelled,
        classes: int,
        fixed: bool,
        batch_size: int,
        device: str,
        cache: str | Path | None,
        group: Ranks,
    ) -> Objective:
        """Returns the loss of a batch. If samples are ``fixed``, the teachers answer here, each sample once."""
        import numpy as np
        import torch
        from torch.nn import functional as F

        from optimizer.training.losses import LOSSES as FUNCTIONS
        from optimizer.training.losses.attention import mean_attention
        from optimizer.training.soft_targets import soft_targets
        from optimizer.training.teachers import answers

        folder = None if cache is None else Path(cache)
        once = fixed and not self.features
        kept = [answers(each, samples, batch_size, device, folder, group) for each in teachers] if once else None
        alpha = 0.0 if not teachers else 1.0 if samples.labels is None else self.alpha

        def objective(
            outputs: tuple[torch.Tensor, ...],
            inputs: Mapping[str, torch.Tensor],
            labels: torch.Tensor | None,
            indices: np.ndarray,
        ) -> dict[str, torch.Tensor]:
            logits, *inside = outputs
            parts = {}
            if alpha > 0 or inside:
                if kept is None:
                    answered = [each(inputs) for each in teachers]
                    given = [each[0] for each in answered]
                    if inside:
                        parts["features"] = self.beta * mean_attention(inside, [each[1:] for each in answered])
                else:
                    given = [torch.from_numpy(np.ascontiguousarray(each[indices])).to(logits.device) for each in kept]
                for each in given:
                    if each.shape != (len(indices), classes):
                        raise ValueError(f"a teacher returns {tuple(each.shape)}, the student {tuple(logits.shape)}")
                if alpha > 0:
                    targets = soft_targets(given, self.temperature, self.weights, labels)
                    parts["teachers"] = alpha * FUNCTIONS[self.kind](logits, targets, self.temperature)
            if alpha < 1 and labels is not None:
                parts["labels"] = (1 - alpha) * F.cross_entropy(logits, labels)
            return parts

        return objective
