"""The processes that train together, as ``torchrun`` starts them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import distributed

from optimizer.messages import one_line


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1

    def share(self, indices: np.ndarray) -> np.ndarray:
        """Returns the samples of a batch that this process computes."""
        return np.array_split(indices, self.size)[self.rank]

    def parallel(self, module: torch.nn.Module) -> torch.nn.Module:
        """Returns a module whose gradients are the means over all processes."""
        return torch.nn.parallel.DistributedDataParallel(module) if self.size > 1 else module

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Returns the sum over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def broadcast_from_first(self, say: Callable[[], str]) -> str:
        """Returns a text that the first process computes, in all of them.

        Raises:
            ValueError: the computation failed, in all of them with the same message.
        """
        if self.size == 1:
            return say()
        text, failed = "", False
        if self.rank == 0:
            try:
                text = say()
            except (ImportError, OSError, RuntimeError, ValueError) as error:
                text, failed = str(error), True
        content = torch.tensor(list(text.encode()), dtype=torch.uint8)
        about = torch.tensor([len(content), failed], dtype=torch.int64)
        distributed.broadcast(about, 0)
        if self.rank != 0:
            content = torch.empty(int(about[0]), dtype=torch.uint8)
        distributed.broadcast(content, 0)
        text = bytes(content.tolist()).decode()
        if about[1]:
            raise ValueError(text)
        return text


@contextlib.contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Joins the processes that ``torchrun`` started; a process alone is its own group.

    Raises:
        ValueError: the environment does not have the variables of torchrun.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or distributed.is_initialized():
        group = distributed.is_initialized()
        yield Ranks(distributed.get_rank(), distributed.get_world_size()) if group else Ranks()
        return
    try:
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"cannot join the other processes: {one_line(error)}") from None
    if device == "cuda":  # each process has another GPU
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        yield Ranks(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()
