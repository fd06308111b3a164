"""What a student loses relative to its teachers. Each takes logits of the student, probabilities of the teachers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from optimizer.training.losses.dist import dist
from optimizer.training.losses.kd import kd

LOSSES: Mapping[str, Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]] = {"kd": kd, "dist": dist}
