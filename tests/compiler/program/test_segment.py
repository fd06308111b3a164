"""How segments run: their threads, and what compiled code reads of their outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx.parser
import pytest

import compiler
from compiler.program import segment

pytestmark = pytest.mark.tvm


def built(text: str, threads: int, **options: Any) -> compiler.CompiledModel:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 18, "com.microsoft": 1]> g {text}')
    return compiler.build(model, threads=threads, **options)


PLAIN = "(float[3, 3] x) => (float[3, 3] y)"
TWO = "(float[3, 3] x) => (float[3, 3] y, int64[2, n] i)"


@pytest.mark.parametrize(
    ("text", "threads", "expected"),
    [
        ("(float[3, 3] x) => (int64[2, n] i) { i = NonZero (x) }", 2, (1, True)),
        (f"{TWO} {{ y = Exp (x) i = NonZero (y) }}", 2, (1, False)),
        (f"{TWO} {{ y = com.microsoft.Inverse (x) i = NonZero (y) }}", 2, (2, True)),
        (f"{PLAIN} {{ a = Exp (x) y = com.microsoft.Inverse (a) }}", 2, (2, False)),
        (f"{PLAIN} {{ a = Exp (x) y = com.microsoft.Inverse (a) }}", 1, (1, False)),
    ],
)
def test_threads(text: str, threads: int, expected: tuple[int, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Operators that run on one thread anyway get one. A program that does nothing else lets the threads spin on."""
    made: list[tuple[int, bool]] = []
    session = segment._session

    def record(part: segment.Segment, threads: int, ieee: bool, alone: bool, custom: Sequence[str]) -> Any:
        made.append((threads, alone))
        return session(part, threads, ieee, alone, custom)

    monkeypatch.setattr(segment, "_session", record)
    compiled = built(text, threads)
    assert made == [expected]
    again = compiled.with_segments_on(1)
    assert made[1:] == [(1, expected[1])]
    x = {"x": np.array([[1, 0, -2], [0, 3, 0], [1, 1, 1]], np.float32)}
    for name, value in compiled.run(x).items():
        np.testing.assert_array_equal(again.run(x)[name], value)


@pytest.mark.parametrize("size", [1, 3, 8, 17, 40])
def test_outputs_at_any_address(size: int) -> None:
    """NumPy aligns to 16 bytes, and generated code reads from multiples of 64."""
    square = f"float[{size}, {size}]"
    model = built(
        f"({square} x) => ({square} y, {square} z) {{ a = com.microsoft.Inverse (x) b = Neg (x) "
        "c = com.microsoft.Inverse (b) y = Neg (a) z = Add (c, x) }",
        threads=1,
    )
    assert len(model.segments) == 1
    x = np.diag(2.0 ** (np.arange(size) - size // 2)).astype(np.float32)
    inverse = np.diag(1 / np.diag(x))  # exact: powers of 2
    for _ in range(20):
        found = model.run({"x": x})
        np.testing.assert_array_equal(found["y"], -inverse)
        np.testing.assert_array_equal(found["z"], x - inverse)
