"""How an experiment runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

WIDTHS = (32, 64, 128)


@dataclass(frozen=True)
class Settings:
    """How an experiment runs.

    Attributes:
        epochs: of each training that begins with random weights.
        tuning: epochs of each training that begins with the weights of the dense network.
        speedup: how many times as fast pruned models are.
        removed: the share of the parameters that the small models lose; 0 makes none.
        rate: the highest rate.
        widths: channels of the dense network.
        augment: changes of images.
        threads: of trainings; latencies are on one thread.
    """

    epochs: int = 12
    tuning: int = 6
    speedup: float = 1.5
    removed: float = 0.78
    rate: float = 2e-3
    widths: tuple[int, ...] = WIDTHS
    augment: str = "flip"
    threads: int | None = None

    def to_json(self) -> dict[str, Any]:
        names = ("epochs", "tuning", "speedup", "removed", "rate", "augment")
        return {name: getattr(self, name) for name in names} | {"widths": list(self.widths)}
