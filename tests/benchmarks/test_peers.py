"""Peers that are not there say so; the adapter is built once, whole or not at all."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import PEERS, onednn
from compiler.reference import make_inputs, reference, tolerance
from compiler.workload import Workload

here = pytest.mark.skipif(onednn.missing() is not None, reason=f"oneDNN: {onednn.missing()}")


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "WHEELS", ("no-such-wheel",))
    assert PEERS["oneDNN"].missing() == "no-such-wheel is not installed"


def test_a_missing_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert PEERS["torch"].missing() == "torch is not installed"


@here
def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "COMPILER", "no-such-compiler")
    assert PEERS["oneDNN"].missing() == "no no-such-compiler to build its adapter with"


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("epilogue", [("residual",), ("tanh",)])
def test_an_epilogue_that_a_peer_cannot_fuse_is_refused(name: str, epilogue: tuple[str, ...]) -> None:
    if reason := PEERS[name].missing():
        pytest.skip(f"{name}: {reason}")
    workload = Workload.dense(3, 4, 5, epilogue=epilogue)
    with pytest.raises(ValueError, match="no fused epilogue"):
        PEERS[name].Dense(workload, make_inputs(workload), 1)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("epilogue", [(), ("bias",), ("relu",), ("bias", "gelu")])
def test_peers_agree_with_numpy(name: str, threads: int, epilogue: tuple[str, ...]) -> None:
    if reason := PEERS[name].missing():
        pytest.skip(f"{name}: {reason}")
    workload = Workload.dense(7, 33, 65, epilogue=epilogue)
    inputs = make_inputs(workload)
    layer = PEERS[name].Dense(workload, inputs, threads)
    assert (np.abs(layer.run() - reference(workload, inputs)) <= tolerance(workload, inputs)).all()
    assert len(layer.time(2, 3)) == 3


@here
def test_what_does_not_compile_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "broken.cc"
    source.write_text("this is no C++")
    with pytest.raises(RuntimeError, match="the oneDNN adapter does not compile"):
        onednn._compile([onednn.COMPILER, "-shared", str(source)], tmp_path / "build" / "adapter.so")
    assert list((tmp_path / "build").iterdir()) == []
