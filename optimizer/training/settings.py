"""How a model is trained."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Training:
    """How a model is trained: AdamW, a rate that rises for a twentieth of the steps, then falls as a cosine to 0.

    Attributes:
        epochs: passes over the samples.
        batch_size: samples per step, at most.
        learning_rate: the highest one.
        weight_decay: of weights, not of biases and scales (Loshchilov, Hutter: Decoupled Weight Decay Regularization,
            ICLR 2019).
        seed: of the order of samples and of changes of images.

    Raises:
        ValueError: a value is out of range; the message is one line.
    """

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.seed < 0:
            raise ValueError(
                "epochs and batch_size must be at least 1, the seed at least 0; got "
                f"{self.epochs}, {self.batch_size} and {self.seed}"
            )
        if not 0 < self.learning_rate < math.inf or not 0 <= self.weight_decay < math.inf:
            raise ValueError(
                "the learning rate must be above 0 and the weight decay at least 0; got "
                f"{self.learning_rate:g} and {self.weight_decay:g}"
            )

    def factor(self, step: int, steps: int) -> float:
        """Returns the share of the highest learning rate that a step has."""
        rising = max(1, steps // 20)
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
