"""Exported and compiled PyTorch modules compute the same outputs as PyTorch; errors of the export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import compiler
from compiler.convert.torch_to_onnx import export
from tests.graph_passes import oracle

if TYPE_CHECKING:
    import torch
    from torch import nn
else:
    torch = pytest.importorskip("torch")
    nn = torch.nn


class Residual(nn.Module):
    """Convolutions with batch normalization, and a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.again = nn.BatchNorm2d(16)
        self.classes = nn.Linear(16, 5)
        for name, value in self.state_dict().items():
            if name.startswith(("norm.", "again.")) and value.is_floating_point():
                nn.init.uniform_(value, 0.5, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(image)))
        x = torch.relu(self.again(self.second(x)) + x)
        return self.classes(x.mean((2, 3)))


class Block(nn.Module):
    """Attention, a hidden layer with gelu, layer normalization and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.norms = nn.ModuleList([nn.LayerNorm(32), nn.LayerNorm(32)])
        self.hidden = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Dropout(0.5), nn.Linear(64, 32))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.norms[0](tokens)
        x = tokens + self.attention(x, x, x, need_weights=False)[0]
        return x + self.hidden(self.norms[1](x))


class Two(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layer(left) + right, left * right


class Branch(nn.Module):
    """A data-dependent branch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1 if x.sum() > 0 else x - 1


class Failing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(f"no answer\nfor {x.shape}")


MODULES: dict[str, tuple[Callable[[], nn.Module], dict[str, tuple[int, ...]]]] = {
    "convolutions": (Residual, {"image": (2, 3, 13, 12)}),
    "transformer": (Block, {"tokens": (2, 7, 32)}),
    "two of each": (Two, {"left": (3, 8), "right": (3, 8)}),
}


def examples(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def answers(module: nn.Module, inputs: Sequence[Any]) -> list[np.ndarray]:
    with torch.no_grad():
        found = module(*inputs)
    return [tensor.numpy() for tensor in (found if isinstance(found, tuple) else (found,))]


@pytest.mark.tvm
@pytest.mark.parametrize("name", MODULES)
def test_answers(name: str) -> None:
    """Both float32 outputs are close to the float64 output. Our error is at most 16 times PyTorch's."""
    torch.manual_seed(0)
    make, shapes = MODULES[name]
    module = make().eval()
    model = compiler.build(module, example_inputs=tuple(examples(shapes).values()), threads=1)
    assert {spec.name: spec.shape for spec in model.inputs} == shapes
    given = examples(shapes, seed=1)
    single = answers(module, list(given.values()))
    double = answers(module.double(), [x.double() for x in given.values()])
    found = model.run({name: x.numpy() for name, x in given.items()})
    for spec, want, exact in zip(model.outputs, single, double, strict=True):
        scale = np.abs(exact).max()
        rounding = max(np.abs(want - exact).max(), np.finfo(np.float32).eps * scale)
        assert found[spec.name].shape == want.shape
        assert np.abs(found[spec.name] - exact).max() <= 16 * rounding


def test_the_mode_of_each_part_stays() -> None:
    module = Residual().train()
    module.again.eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    export(module, [torch.randn(2, 3, 8, 8)])
    assert module.training
    assert module.norm.training
    assert not module.again.training
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_inputs_by_name_have_the_order_of_the_signature() -> None:
    given, module = examples(MODULES["two of each"][1]), Two()
    model = export(module, {"right": given["right"], "left": given["left"]})
    assert [value.name for value in model.graph.input] == ["left", "right"]
    found = oracle.run(model, {name: x.numpy() for name, x in given.items()})
    for answer, want in zip(found, answers(module, [given["left"], given["right"]]), strict=True):
        np.testing.assert_allclose(answer, want, rtol=1e-5, atol=1e-5)


def test_one_tensor_needs_no_sequence() -> None:
    model = export(nn.Linear(4, 2), torch.randn(3, 4))  # pyright: ignore[reportArgumentType] - a sequence of its rows
    (value,) = model.graph.input
    assert (value.name, [dim.dim_value for dim in value.type.tensor_type.shape.dim]) == ("input", [3, 4])


@pytest.mark.parametrize(
    ("module", "inputs", "message"),
    [
        (lambda: Two(), None, r"needs example_inputs: tensors for Two.forward\(left"),
        (lambda: Two(), [0], r"do not fit Two.forward\(left.*missing a required argument: 'right'"),
        (lambda: Two(), {"up": 0}, "do not fit Two.forward"),
        (lambda: Branch(), [1], "PyTorch cannot export Branch: Could not guard on data-dependent expression"),
        (lambda: Failing(), [1], "PyTorch cannot export Failing: no answer$"),
    ],
    ids=["no inputs", "too few", "an unknown name", "a branch", "a failure"],
)
def test_errors_are_one_line(module: Callable[[], nn.Module], inputs: Any, message: str) -> None:
    if isinstance(inputs, list):
        inputs = [torch.ones(2, 8) for _ in inputs]
    with pytest.raises(ValueError, match=message) as caught:
        export(module(), inputs)
    assert "\n" not in str(caught.value)


def test_example_inputs_for_other_models_are_an_error() -> None:
    with pytest.raises(ValueError, match="for PyTorch modules only; the model is of type str"):
        compiler.build("model.onnx", example_inputs=[torch.ones(1)])


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    export(Two(), list(examples(MODULES["two of each"][1]).values()))
    assert capfd.readouterr() == ("", "")


class Attention(nn.Module):
    """Scaled dot product attention in all forms: plain, causal, and with masks."""

    def forward(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, masks: list[torch.Tensor]
    ) -> tuple[torch.Tensor, ...]:
        attention = nn.functional.scaled_dot_product_attention
        masked = [attention(q, k, v, mask) for mask in masks]
        return attention(q, k, v), attention(q, k, v, is_causal=True), *masked


@pytest.mark.tvm
@pytest.mark.parametrize("batch", [(), (2,), (2, 3), (2, 1, 3)])
def test_attention_of_any_rank(batch: tuple[int, ...]) -> None:
    """PyTorch's exporter supports 4 dimensions only."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(*batch, length, size) for length, size in ((5, 8), (6, 8), (6, 4)))
    shared = torch.randn(5, 6)
    given = (q, k, v, [torch.randn(*batch, 5, 6), shared, shared > -1])
    module = Attention()
    want = answers(module, given)
    built = compiler.build(module, example_inputs=given)
    got = built.run({spec.name: value.numpy() for spec, value in zip(built.inputs, (q, k, v, *given[3]), strict=True)})
    for one, expected in zip(got.values(), want, strict=True):
        assert one.shape == expected.shape
        np.testing.assert_allclose(one, expected, rtol=0, atol=64 * np.finfo(np.float32).eps)


@pytest.mark.tvm
def test_a_file_of_the_new_exporter_with_dynamic_dimensions(tmp_path: Path) -> None:
    """PyTorch writes weights as external data, and names of dimensions. The folder of the file is a model, too."""
    torch.manual_seed(0)
    module = Block().eval()
    rows = torch.export.Dim("rows", min=1, max=64)
    path = tmp_path / "block.onnx"
    torch.onnx.export(
        module,
        (torch.randn(2, 7, 32),),
        path,
        dynamo=True,
        external_data=True,
        verbose=False,
        dynamic_shapes=({0: "batch", 1: rows},),
    )
    for shape, model in (((1, 5, 32), path), ((3, 12, 32), tmp_path)):
        tokens = torch.randn(shape)
        with torch.no_grad():
            want = module(tokens).numpy()
        built = compiler.build(model, input_shapes={"tokens": shape})
        assert [spec.shape for spec in built.outputs] == [shape]
        (got,) = built.run({"tokens": tokens.numpy()}).values()
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())
