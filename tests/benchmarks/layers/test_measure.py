"""The measurement of one layer: a baseline with a wrong answer is left out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.layers.groups import find
from benchmarks.layers.measure import measure
from benchmarks.peers import PEERS


class WrongPeer:
    """A layer whose answer is never right."""

    description, algorithm = "a stub", "direct"

    def __init__(self, out: np.ndarray) -> None:
        self._out = out

    def run(self) -> np.ndarray:
        return np.full_like(self._out, np.nan)


def test_a_baseline_with_a_wrong_answer_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def layer(_workload: Any, _inputs: Any, out: np.ndarray, _threads: int) -> WrongPeer:
        return WrongPeer(out)

    peer = SimpleNamespace(missing=lambda: None, version=lambda: "1", layer=layer)
    group, _, shape = find("awkward-thin")
    for name in group.peers:
        monkeypatch.setitem(PEERS, name, peer)
    result = measure(group, shape, 1, None, samples=2, slice_secs=0.001)
    assert set(result["implementations"]) == {"default"}
    assert result["versions"] == {}
    assert set(result["skipped"]) == set(group.peers)
    assert all("wrong answer" in reason for reason in result["skipped"].values())
