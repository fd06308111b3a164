"""The loop that trains a module."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from compiler.convert.torch_to_onnx import evaluating
from optimizer.training.checkpoint import Checkpoint
from optimizer.training.labelled import Labelled
from optimizer.training.ranks import Ranks
from optimizer.training.settings import Training

Inputs = Mapping[str, torch.Tensor]
# (logits and features, inputs, labels, indices of the samples) -> parts of the loss by name, each the mean over samples
Objective = Callable[[tuple[torch.Tensor, ...], Inputs, "torch.Tensor | None", np.ndarray], Mapping[str, torch.Tensor]]
Augment = Callable[[dict[str, torch.Tensor], torch.Generator], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class Epoch:
    """One pass over the samples.

    Attributes:
        number: from 1 on.
        losses: the mean of each part of the loss.
        accuracy: the share of validation samples whose largest logit is the label's; None without labels.
        seconds: with validation.
    """

    number: int
    losses: Mapping[str, float]
    accuracy: float | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Run:
    """Where and with what a training runs."""

    data: Labelled
    validation: Labelled
    settings: Training
    ranks: Ranks
    device: str = "cpu"
    augment: Augment | None = None
    checkpoint: Checkpoint | None = None
    progress: Callable[[float], None] | None = None


def train(module: torch.nn.Module, objective: Objective, run: Run) -> tuple[Epoch, ...]:
    """Trains a module, and returns its epochs, also those before the checkpoint.

    Args:
        module: takes inputs by name, and returns a tuple whose first tensor are the logits.
        objective: the loss.
        run: samples and settings.

    Raises:
        ValueError: the loss is not finite, or the checkpoint does not fit. The message is one line.
    """
    settings, ranks = run.settings, run.ranks
    # Biases, and scales of normalizations, do not decay.
    matrices = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in module.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=settings.learning_rate,
    )
    epochs: list[Epoch] = []
    if run.checkpoint is not None and (about := run.checkpoint.restore(module, optimizer)) is not None:
        epochs = [Epoch(**each) for each in about["epochs"]]
    parallel = ranks.parallel(module)
    batches = -(-len(run.data) // settings.batch_size)
    for number in range(len(epochs) + 1, settings.epochs + 1):
        start = time.perf_counter()
        losses = _epoch(parallel, objective, run, optimizer, number, batches)
        found = accuracy(module, run.validation, settings.batch_size, run.device)
        epochs.append(Epoch(number, losses, found, time.perf_counter() - start))
        if run.checkpoint is not None and ranks.rank == 0:
            run.checkpoint.save(module, optimizer, {"epochs": [epoch.to_json() for epoch in epochs]})
    return tuple(epochs)


def _epoch(
    module: torch.nn.Module,
    objective: Objective,
    run: Run,
    optimizer: torch.optim.Optimizer,
    number: int,
    batches: int,
) -> dict[str, float]:
    """Passes over all samples once, and returns the mean of each part of the loss over all processes."""
    settings, ranks = run.settings, run.ranks
    module.train()
    order = np.random.default_rng((settings.seed, number)).permutation(len(run.data))
    # One for the changes of samples, another one for dropout; both are those of the epoch, also after an interruption.
    generator = torch.Generator().manual_seed(_seed(settings.seed, number, ranks.rank, 0))
    torch.manual_seed(_seed(settings.seed, number, ranks.rank, 1))
    sums: dict[str, float] = {}
    for step, together in enumerate(np.array_split(order, batches)):
        if len(together) < ranks.size:
            raise ValueError(f"a batch of {len(together)} samples is too small for {ranks.size} processes")
        indices = ranks.share(together)
        part = run.data.at(indices)
        inputs = part.tensors(run.device)
        if run.augment is not None:
            inputs = run.augment(inputs, generator)
        labels = None if part.labels is None else torch.from_numpy(part.labels).to(run.device)
        done = (number - 1) * batches + step
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * settings.factor(done, settings.epochs * batches)
        parts = objective(module(inputs), inputs, labels, indices)
        # Gradients are averaged over processes, which may have different numbers of samples.
        weight = len(indices) * ranks.size / len(together)
        loss = torch.stack(list(parts.values())).sum() * weight
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        means = ranks.total(torch.stack([each.detach() for each in parts.values()]) * weight) / ranks.size
        if not torch.isfinite(means).all():
            raise ValueError(
                f"the loss is not finite in epoch {number}; choose a lower learning rate than "
                f"{settings.learning_rate:g}"
            )
        for name, mean in zip(parts, means.tolist(), strict=True):
            sums[name] = sums.get(name, 0.0) + mean / batches
        if run.progress is not None:
            run.progress((done + 1) / (settings.epochs * batches))
    return sums


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def accuracy(module: torch.nn.Module, data: Labelled, batch: int, device: str) -> float | None:
    """Returns the share of samples whose largest logit is the label's; None without labels."""
    if data.labels is None:
        return None
    found = np.concatenate([each.argmax(1) for each in predict(module, data, batch, device)])
    return float((found == data.labels).mean())


def predict(module: torch.nn.Module, data: Labelled, batch: int, device: str) -> Sequence[np.ndarray]:
    """Returns the logits of samples in batches, in evaluation mode."""
    with evaluating(module), torch.no_grad():
        return [
            module(data.at(np.arange(begin, min(begin + batch, len(data)))).tensors(device))[0].cpu().numpy()
            for begin in range(0, len(data), batch)
        ]
