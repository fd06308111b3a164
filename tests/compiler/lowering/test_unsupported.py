"""Errors for models and options that are not supported: one line that says what is wrong and what is possible."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import onnx
import pytest

import compiler
from compiler.workloads.target import usable_cores
from tests.compiler.models import model, perceptron

RELU = "g (float[rows,4] x, float[2,M] z) => (float[rows,4] y, float[2,M] v) { y = Relu (x) v = Neg (z) }"


def message_of(error: type[Exception], given: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(error) as raised:
        compiler.build(given, *arguments, **{"threads": 1, "fallback": None, **options})
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.tvm
def test_operators_are_named_all_at_once() -> None:
    strange = model(
        "g (float[3,4] x) => (float[3,4] y, float[3,4] z) <float[4,4] w>"
        "{ a = custom.Magic (x) b = Relu (a) c = custom.More (b) y = MatMul (c, w) z = custom.Magic (b) }"
    )
    for node, name in zip(strange.graph.node, ("first", "relu", "second", "product", "third"), strict=True):
        node.name = name
    reason = "there is no code for this operator (give a library that has it with `operators`)"
    assert message_of(ValueError, strange) == (
        f"cannot compile Magic (node 'first', custom opset 1): {reason}; "
        f"cannot compile More (node 'second', custom opset 1): {reason}; "
        f"cannot compile Magic (node 'third', custom opset 1): {reason}"
    )


@pytest.mark.tvm
def test_standard_operators_and_nodes_without_names() -> None:
    """Also in the body of an If. A node without a name is named by its output."""
    found = message_of(
        ValueError,
        model(
            "g (float[4,4] x, bool c) => (float[4,4] y)"
            "{ y = If (c) <then_branch = t () => (float[4,4] a) { a = custom.Magic (x) },"
            "  else_branch = e () => (float[4,4] b) { b = Relu (x) }> }"
        ),
    )
    assert re.match(r"cannot compile Magic \(node '\w+', custom opset 1\): there is no code for this operator ", found)


def test_sizes_that_are_not_given() -> None:
    assert message_of(ValueError, model(RELU)) == (
        "sizes are not known: x: [rows,4]; z: [2,M]; give input_shapes for the model's inputs"
    )
    assert "z: [2,M]" in message_of(ValueError, model(RELU), {"x": (3, 4)})
    with pytest.raises(ValueError, match=r"^sizes are not known: x: \[rows,4\]; z: \[2,M\]; "):
        compiler.layers_of(model(RELU), threads=1)


@pytest.mark.parametrize("shapes", [{"x": (3, 5)}, {"x": (3,)}, {"nothing": (3, 4)}, {"x": (-1, 4)}])
def test_sizes_that_do_not_fit(shapes: dict[str, tuple[int, ...]]) -> None:
    assert next(iter(shapes)) in message_of(ValueError, model(RELU), shapes)


@pytest.mark.parametrize("threads", [0, -1, usable_cores() + 1])
def test_threads_without_cores(threads: int) -> None:
    assert message_of(ValueError, perceptron(), threads=threads) == (
        f"threads must be between 1 and {usable_cores()} (the cores this process may use), got {threads}"
    )


def test_unknown_targets() -> None:
    assert message_of(ValueError, perceptron(), target="gpu") == (
        "unknown arch 'gpu'; choose from: host, avx512, avx2, reference"
    )


def test_no_model(tmp_path: Path) -> None:
    text = tmp_path / "model.onnx"
    text.write_text("no model")
    assert "model.onnx" in message_of(ValueError, text)
    assert "none.onnx" in message_of(FileNotFoundError, tmp_path / "none.onnx")
    assert message_of(ValueError, onnx.ModelProto())
    (tmp_path / "empty.onnx").touch()
    assert "empty.onnx" in message_of(ValueError, tmp_path / "empty.onnx")


def test_unknown_passes() -> None:
    assert "no_such_pass" in message_of(ValueError, perceptron(), passes=["no_such_pass"])


@pytest.mark.tvm
def test_forms_of_operators() -> None:
    """The message names the node and says what must be different."""
    found = message_of(ValueError, model("g (float[3,4] x, int64 axis) => (float[3,4] y) { y = CumSum (x, axis) }"))
    assert re.fullmatch(r"cannot compile CumSum \(node '\w+', opset 18\): axis must be constant", found)
