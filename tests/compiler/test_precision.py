"""``compiler.build(..., precision=...)``: layers of bfloat16 against float64 sums of rounded factors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

import compiler
import kernels
from compiler.check.check import CheckFailed
from compiler.lowering import precision
from compiler.program.compiled_model import CompiledModel
from tests.compiler.models import graph

pytestmark = pytest.mark.tvm

ISAS = [isa for isa in kernels.available_isas() if "bfloat16" in kernels.available_dtypes(isa)]
by_isa = pytest.mark.parametrize("isa", ISAS)
ROWS = precision.MOST_ROWS
ATTENTION = "@t = Transpose <perm=[0,1,3,2]> (k) @s = MatMul (q, @t) @p = Softmax (@s) @ = MatMul (@p, v)"


def rounded(array: np.ndarray) -> np.ndarray:
    return array.astype(ml_dtypes.bfloat16).astype(np.float64)


def products(rows: int = ROWS) -> tuple[onnx.ModelProto, np.ndarray, np.ndarray, np.ndarray]:
    """A product with a bias and a residual, its input, its weight and its output."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((rows, 96)).astype(np.float32), rng.standard_normal((96, 96)).astype(np.float32)
    b = rng.standard_normal(96).astype(np.float32)
    weights, nodes = "float[96,96] w, float[96] b", "@p = MatMul (x, w) @q = Add (@p, b) @ = Add (@q, x)"
    model = graph(f"float[{rows},96] x", weights, {"y": nodes}, w=w, b=b)
    return model, x, w, rounded(x) @ rounded(w) + b + x


def dtypes(model: CompiledModel) -> list[str]:
    return [layer.attributes.get("dtype", "float32") for layer in model.layers]


@by_isa
def test_layers_round_their_factors_and_nothing_else(isa: str) -> None:
    model, x, w, want = products()
    built = compiler.build(model, target=isa, threads=1, precision="bfloat16")
    assert dtypes(built) == ["bfloat16"]
    (y,) = built.run({"x": x}).values()
    bound = 2 * len(w) * np.finfo(np.float32).eps * (np.abs(x) @ np.abs(w)).max()
    np.testing.assert_allclose(y, want, rtol=0, atol=bound)
    assert np.abs(y - (x.astype(np.float64) @ w)).max() > bound, "the factors are not rounded"


@by_isa
@pytest.mark.parametrize("threads", [1, 2])
def test_a_saved_model_answers_the_same(isa: str, threads: int, tmp_path: Path) -> None:
    if threads > kernels.usable_cores():
        pytest.skip("this process may use one core only")
    model, x, _, _ = products()
    built = compiler.build(model, target=isa, threads=1, precision="bfloat16")
    built.save(tmp_path / "m.lw")
    manifest = json.loads((tmp_path / "m.lw" / "manifest.json").read_text())
    assert [weight["dtype"] for weight in manifest["weights"]].count("uint16") == 1
    loaded = compiler.load(tmp_path / "m.lw", threads=threads)
    np.testing.assert_array_equal(loaded.run({"x": x})["y"], built.run({"x": x})["y"])


@by_isa
def test_layers_that_gain_nothing_stay_float32(isa: str) -> None:
    """Many rows without instructions for bfloat16; convolutions that Winograd's algorithm computes; depthwise ones."""
    built = compiler.build(products(64)[0], target=isa, threads=1, precision="bfloat16")
    assert dtypes(built) == ["bfloat16" if kernels.multiplies_bfloat16(isa) else "float32"]
    images = graph(
        "float[1,32,28,28] x",
        "float[32,32,3,3] w, float[32,1,3,3] d",
        {"y": "@a = Conv <pads=[1,1,1,1]> (x, w) @ = Conv <pads=[1,1,1,1], group=32> (@a, d)"},
    )
    assert set(dtypes(compiler.build(images, target=isa, threads=1, precision="bfloat16"))) == {"float32"}


@by_isa
def test_a_convolution_of_many_weights_gains_more_than_from_winograd(isa: str) -> None:
    """The transformed weights of float32 have 8 times the bytes."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((512, 512, 3, 3)).astype(np.float32)
    x = rng.standard_normal((1, 512, 7, 7)).astype(np.float32)
    node = "@ = Conv <pads=[1,1,1,1]> (x, w)"
    model = graph("float[1,512,7,7] x", "float[512,512,3,3] w", {"y": node}, w=w)
    built = compiler.build(model, target=isa, threads=1, precision="bfloat16")
    assert dtypes(built) == ["bfloat16" if kernels.multiplies_bfloat16(isa) else "float32"]
    padded = np.pad(x[0], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    want = np.einsum("ocij,chwij->ohw", w.astype(np.float64), windows, optimize=True)[None]
    np.testing.assert_allclose(built.run({"x": x})["y"], want, rtol=0, atol=2.0**-6 * np.abs(want).max())


@by_isa
@pytest.mark.parametrize(("channels", "groups"), [(5, 1), (6, 2), (9, 3)])
def test_convolutions_of_few_pixels(isa: str, channels: int, groups: int) -> None:
    """Odd numbers of channels fill words in part."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1, channels, 4, 4)).astype(np.float32)
    w = rng.standard_normal((3 * groups, channels // groups, 3, 3)).astype(np.float32)
    node = f"@ = Conv <group={groups}> (x, w)"
    model = graph(f"float[1,{channels},4,4] x", f"float[{','.join(map(str, w.shape))}] w", {"y": node}, w=w)
    built = compiler.build(model, target=isa, threads=1, precision="bfloat16", fast_algorithms=False)
    assert dtypes(built) == ["bfloat16"]
    windows = np.lib.stride_tricks.sliding_window_view(rounded(x)[0], (3, 3), axis=(1, 2))  # c, oh, ow, kh, kw
    parts = zip(np.split(windows, groups), np.split(rounded(w), groups), strict=True)
    want = np.concatenate([np.einsum("chwij,ocij->ohw", part, weight) for part, weight in parts])[None]
    np.testing.assert_allclose(built.run({"x": x})["y"], want, rtol=0, atol=1e-5)


@by_isa
def test_layers_before_a_rounding_stay_float32(isa: str) -> None:
    nodes = "@a = MatMul (x, w) @ = Round (@a)"
    model = graph(f"float[{ROWS},64] x", "float[64,64] w", {"y": nodes})
    assert dtypes(compiler.build(model, target=isa, threads=1, precision="bfloat16")) == ["float32"]
    nodes = f"{ATTENTION.replace('@ =', '@a =')} @ = Round (@a)"
    model = graph(", ".join(f"float[1,2,24,32] {name}" for name in "qkv"), "", {"y": nodes})
    assert dtypes(compiler.build(model, target=isa, threads=1, precision="bfloat16")) == ["float32"]


@by_isa
def test_equal_weights_are_one_array(isa: str) -> None:
    nodes = "@a = MatMul (x, w) @b = Tanh (@a) @ = MatMul (@b, w)"
    model = graph(f"float[{ROWS},64] x", "float[64,64] w", {"y": nodes})
    built = compiler.build(model, target=isa, threads=1, precision="bfloat16")
    assert len({id(layer.weights["weight"]) for layer in built.layers}) == 1


@by_isa
def test_the_check_allows_steps_of_bfloat16(isa: str) -> None:
    model, x, _, _ = products()
    built = compiler.build(model, target=isa, threads=1, precision="bfloat16", check={"x": x})
    assert built.checked is not None
    assert all(difference.allowed == 2.0**-6 for difference in built.checked)


@by_isa
def test_the_check_says_that_layers_round(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "bits", lambda array: np.zeros(array.shape, np.uint16))
    model, x, _, _ = products()
    with pytest.raises(CheckFailed, match=r"1 layers compute in bfloat16.*precision='float32' may pass"):
        compiler.build(model, target=isa, threads=1, precision="bfloat16", check={"x": x})


@by_isa
def test_attention_multiplies_bfloat16(isa: str) -> None:
    rng = np.random.default_rng(3)
    q, k, v = (rng.standard_normal((1, 2, 24, 32)).astype(np.float32) for _ in range(3))
    model = graph(", ".join(f"float[1,2,24,32] {name}" for name in "qkv"), "", {"y": ATTENTION})
    built = compiler.build(model, target=isa, threads=1, precision="bfloat16")
    assert [layer.op for layer in built.layers] == ["attention"]
    multiplies = kernels.multiplies_bfloat16(isa)
    assert dtypes(built) == ["bfloat16" if multiplies else "float32"]
    factor = rounded if multiplies else np.float64
    scores = factor(q) @ factor(k).swapaxes(-1, -2)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    want = weights @ factor(v)
    got = built.run({"q": q, "k": k, "v": v})["y"]
    np.testing.assert_allclose(got, want, rtol=0, atol=2.0**-8 * np.abs(v).max())
    (row,) = [row for row in built.profile({"q": q, "k": k, "v": v}, runs=1) if row.backend == "kernel"]
    assert row.op.startswith("attention 1x2x24x24x32")


def test_auto_is_bfloat16_with_instructions_for_it() -> None:
    built = compiler.build(products(64)[0], threads=1, precision="auto")
    assert dtypes(built) == ["bfloat16" if kernels.multiplies_bfloat16() else "float32"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "half"}, "precision is 'half'; it must be float32, bfloat16 or auto"),
        ({"precision": "bfloat16", "target": "reference"}, "precision bfloat16 has no kernels for reference"),
    ],
)
def test_bad_precisions(options: dict[str, Any], message: str) -> None:
    model, *_ = products()
    with pytest.raises(ValueError, match=message):
        compiler.build(model, **options)


def test_ranges_of_sizes_are_in_float32() -> None:
    model = graph("float[N,64] x", "float[64,64] w", {"y": "@ = MatMul (x, w)"})
    sizes = {"x": (range(1, 5), 64)}
    compiler.build(model, sizes, threads=1, precision="auto")
    with pytest.raises(ValueError, match="precision are for fixed sizes"):
        compiler.build(model, sizes, threads=1, precision="bfloat16")


def test_bits_are_the_nearest_bfloat16() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**32, 1 << 16, dtype=np.uint32).view(np.float32)
    ties = (rng.integers(0, 2**16, 4096, dtype=np.uint32) << 16 | 0x8000).view(np.float32)
    for array in (values, ties, np.array([0, -0.0, np.inf, -np.inf, 3.4e38], np.float32)):
        got = precision.bits(array).view(ml_dtypes.bfloat16)
        with np.errstate(over="ignore", invalid="ignore"):
            want = array.astype(ml_dtypes.bfloat16)
        nan = np.isnan(array)
        assert np.isnan(got[nan].astype(np.float32)).all()
        np.testing.assert_array_equal(got[~nan].view(np.uint16), want[~nan].view(np.uint16))


@by_isa
def test_tensors_between_layers_of_bfloat16_are_bfloat16(isa: str) -> None:
    """Only layers read ``a``, as x and as a residual; generated code reads ``b``, too."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((ROWS, 32)).astype(np.float32)
    weights = {name: rng.standard_normal((32, 32)).astype(np.float32) / 6 for name in "uvw"}
    nodes = (
        "@a = MatMul (x, u) @p = MatMul (@a, v) @b = Add (@p, @a) @t = Tanh (@b) @q = MatMul (@b, w) @ = Add (@q, @t)"
    )
    u, v, w = weights["u"], weights["v"], weights["w"]
    model = graph(f"float[{ROWS},32] x", "float[32,32] u, float[32,32] v, float[32,32] w", {"y": nodes}, u=u, v=v, w=w)
    built = compiler.build(model, target=isa, threads=1, precision="bfloat16")
    first, second, third = built.layers
    assert first.output_dtypes == ("bfloat16",)
    assert (second.attributes["x_dtype"], second.attributes["residual_dtype"]) == ("bfloat16", "bfloat16")
    assert second.output_dtypes == third.output_dtypes == ("float32",)
    a = rounded(rounded(x) @ rounded(weights["u"]))
    b = a @ rounded(weights["v"]) + a
    want = rounded(b) @ rounded(weights["w"]) + np.tanh(b)
    step = 2.0**-8  # a sum near the middle of two numbers may round to either
    np.testing.assert_allclose(built.run({"x": x})["y"], want, rtol=0, atol=step * 4 * np.abs(want).max())
