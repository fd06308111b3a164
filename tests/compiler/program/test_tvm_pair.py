"""The check of the pinned pair: before TVM is imported, and in one line."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys

import pytest

from compiler.program import tvm_pair

RIGHT = dict(tvm_pair.REQUIRED)


def install(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_the_right_pair_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, RIGHT)
    tvm_pair.check()


@pytest.mark.parametrize(
    ("installed", "state"),
    [
        ({}, "apache-tvm missing, apache-tvm-ffi missing"),
        (RIGHT | {"apache-tvm-ffi": "0.1.15.post2"}, "apache-tvm-ffi 0.1.15.post2"),
        (RIGHT | {"apache-tvm": "0.26.0"}, "apache-tvm 0.26.0"),
    ],
)
def test_a_wrong_pair_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], state: str
) -> None:
    install(monkeypatch, installed)
    with pytest.raises(ImportError) as error:
        tvm_pair.check()
    message = str(error.value)
    assert "\n" not in message
    assert state in message
    assert "pip install apache-tvm==0.27.0.post1 apache-tvm-ffi==0.1.14.post1" in message


def test_running_a_model_needs_only_the_right_tvm_ffi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvm_pair, "_import", lambda _name: None)
    install(monkeypatch, {"apache-tvm-ffi": RIGHT["apache-tvm-ffi"]})
    assert not tvm_pair.has_compiler()
    tvm_pair.load_ffi()
    install(monkeypatch, {"apache-tvm-ffi": "0.1.15.post2"})
    with pytest.raises(ImportError, match=r"\(found: apache-tvm-ffi 0\.1\.15\.post2\)$"):
        tvm_pair.load_ffi()
    # An installed TVM is used instead of the copy in the wheel, so its version counts.
    install(monkeypatch, RIGHT | {"apache-tvm": "0.26.0"})
    with pytest.raises(ImportError, match=r"apache-tvm 0\.26\.0"):
        tvm_pair.load_ffi()


def test_a_wrong_pair_is_found_before_tvm_is_imported() -> None:
    program = """
import importlib.metadata, sys
importlib.metadata.version = lambda name: "0.0"
try:
    import compiler.tvm_backend.space
except ImportError as error:
    print(error)
print("imported" if "tvm" in sys.modules or "tvm_ffi" in sys.modules else "not imported")
"""
    lines = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert len(lines) == 2
    assert "apache-tvm 0.0" in lines[0]
    assert lines[1] == "not imported"


@pytest.mark.tvm
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_tvm_comes_without_torch_and_torch_can_still_come() -> None:
    try:
        tvm_pair.check()
    except ImportError as missing:
        pytest.skip(str(missing))
    program = """
import sys
import compiler.tvm_backend
print("torch" in sys.modules)
import torch
print(torch.ones(2).sum().item())
"""
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert output.split() == ["False", "2.0"]
