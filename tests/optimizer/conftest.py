"""What tests of the commands have in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.optimizer.networks import network, samples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model, in.onnx, and samples of its input, data.npz."""
    onnx.save(network(), tmp_path / "in.onnx")
    np.savez(tmp_path / "data.npz", x=samples(4)["x"])
    return tmp_path
