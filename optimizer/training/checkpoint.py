"""The state of a training, in a file from which it goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from optimizer.messages import one_line

_META = "meta"


class Checkpoint:
    """A file ``state.npz`` in a folder.

    Args:
        folder: is created if necessary.
        fingerprint: what the training is; a state of another one is rejected.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any]) -> None:
        self._path, self._fingerprint = folder / "state.npz", dict(fingerprint)
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, module: torch.nn.Module, optimizer: torch.optim.Optimizer, about: Mapping[str, Any]) -> None:
        """Writes the state; an interruption leaves the state before it.

        Args:
            module, optimizer: their tensors are written.
            about: further JSON.
        """
        arrays = {f"module/{name}": tensor for name, tensor in module.state_dict().items()}
        for place, state in optimizer.state_dict()["state"].items():
            arrays |= {f"optimizer/{place}/{name}": torch.as_tensor(value) for name, value in state.items()}
        meta = json.dumps({"fingerprint": self._fingerprint, "about": dict(about)})
        partial = self._path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            found = {name: tensor.cpu().numpy() for name, tensor in arrays.items()}
            np.savez(file, allow_pickle=False, **found, **{_META: np.array(meta)})
        os.replace(partial, self._path)

    def restore(self, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
        """Puts the state into module and optimizer, and returns the JSON with it; None if there is no state.

        Raises:
            ValueError: the file is damaged, or of another training; the message is one line.
        """
        if not self._path.exists():
            return None
        try:
            with np.load(self._path, allow_pickle=False) as archive:
                arrays = dict(archive)
            meta = json.loads(str(arrays.pop(_META)))
            fingerprint, about = meta["fingerprint"], meta["about"]
        except Exception as error:  # noqa: BLE001 - a damaged file raises any of many
            raise ValueError(f"{self._path} is damaged: {one_line(error)}") from None
        if fingerprint != self._fingerprint:
            other = ", ".join(
                f"{name} {fingerprint.get(name)!r} instead of {value!r}"
                for name, value in self._fingerprint.items()
                if fingerprint.get(name) != value
            )
            raise ValueError(f"{self._path} is of another training: {other}; choose another folder")
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer/"):
                _, place, entry = name.split("/")
                state.setdefault(int(place), {})[entry] = tensor
        try:
            module.load_state_dict(
                {n.removeprefix("module/"): t for n, t in tensors.items() if n.startswith("module/")}
            )
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{self._path} does not fit the model: {one_line(error)}") from None
        return about
