"""Plans applied to PyTorch modules. Each case compares with the pruned ONNX model inside of ``apply``."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compiler.convert.torch_to_onnx import export
from optimizer import Plan, prune
from optimizer.pruning.groups import find
from optimizer.pruning.prepared import prepared
from optimizer.pruning.removal import without
from optimizer.session import Session
from tests.optimizer.classes import images


class Residual(nn.Module):
    """Sums, a depthwise convolution, a concatenation and a product."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.expand = nn.Conv2d(16, 32, 1)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.contract = nn.Conv2d(32, 16, 1)
        self.side = nn.Conv2d(16, 8, 3, padding=1)
        self.hidden = nn.Linear(24, 20)
        self.last = nn.Linear(20, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = F.relu(self.norm(self.first(x)))
        b = a + self.contract(F.relu(self.depthwise(self.expand(a))))
        c = torch.cat([b, F.relu(self.side(b))], 1).mean((2, 3))
        return self.last(F.relu(self.hidden(c)))


class Tokens(nn.Module):
    """A perceptron over tokens, whose products have three axes."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(12)
        self.up, self.down = nn.Linear(12, 24), nn.Linear(24, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(F.gelu(self.up(self.norm(x))))


class Attention(nn.Module):
    """Heads that the forward function counts, and a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(12)
        self.qkv, self.out = nn.Linear(12, 36), nn.Linear(12, 12)
        self.rest = Tokens()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, tokens, width = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, tokens, 3, 3, 4).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width)
        return self.rest(x + self.out(y))


class Encoder(nn.Module):
    """PyTorch's own layer, whose projection to queries, keys and values is one."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(12, 3, batch_first=True), nn.Linear(12, 4)
        self.norm = nn.LayerNorm(12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        return self.out(self.attention(x, x, x, need_weights=False)[0])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_convolutions() -> None:
    ratio = 0.4
    module, example = Residual(), (torch.randn(2, 1, 8, 8),)
    with torch.no_grad():
        for _ in range(3):
            module(torch.randn(8, 1, 8, 8))  # statistics that are not 0 and 1
    module.eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    plan = prune(module, ratio, cost="parameters", step=1, example_inputs=example)
    found = plan.apply(module, example)
    assert 1 - parameters(found) / parameters(module) == pytest.approx(ratio, abs=0.08)
    assert all(torch.equal(tensor, module.state_dict()[name]) for name, tensor in before.items())
    assert found.norm.num_features == found.first.out_channels
    x = torch.randn(2, 1, 8, 8)
    wanted = Session(plan.apply(export(module, example)))({"x": x.numpy()})
    np.testing.assert_allclose(found(x).detach().numpy(), next(iter(wanted.values())), rtol=1e-3, atol=1e-4)
    found.train()(x).sum().backward()  # it can be trained


def test_tokens() -> None:
    module, example = Tokens().eval(), (torch.randn(1, 5, 12),)
    plan = prune(module, 0.3, cost="parameters", step=1, example_inputs=example)
    assert plan.apply(module, example).up.out_features < 24


def test_gradients_of_a_module() -> None:
    """The importance of a module is that of its exported graph."""
    data = images(64, 0)
    plan = prune(Residual().eval(), 0.3, data=data, cost="macs", step=1, example_inputs=(torch.randn(1, 1, 8, 8),))
    assert plan.importance == "taylor"
    assert Plan.from_json(plan.to_json()) == plan


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="a PyTorch module needs example_inputs"):
        prune(Residual(), 0.3, cost="macs")
    plan = prune(Residual().eval(), 0.3, cost="parameters", step=1, example_inputs=(torch.randn(1, 1, 8, 8),))
    with pytest.raises(ValueError, match="the plan is for a model of another topology"):
        plan.apply(Tokens().eval(), (torch.randn(1, 5, 12),))
    with pytest.raises(ValueError, match="example_inputs are for PyTorch modules only"):
        plan.apply("model.onnx", (torch.randn(1, 1, 8, 8),))


class TwoGroups(nn.Module):
    """Half of the channels of a layer go together with those of one layer, the others with those of another one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.second, self.third = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(1, 8, 3, padding=1)
        self.last = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x) + torch.cat([self.second(x), self.third(x)], 1)
        return self.last(F.relu(y).mean((2, 3)))


def test_a_layer_with_channels_of_two_groups() -> None:
    module, example = TwoGroups().eval(), (torch.randn(1, 1, 8, 8),)
    plan = prune(module, 0.4, cost="parameters", step=1, example_inputs=example)
    assert len(plan.groups) == 2
    found = plan.apply(module, example)
    assert found.first.out_channels == sum(len(group.kept) for group in plan.groups) < 16


@pytest.mark.parametrize(("kind", "projection"), [(Attention, "out"), (Encoder, "attention.out_proj")])
def test_heads_of_an_exported_module(kind: type[nn.Module], projection: str) -> None:
    """A head whose values nothing reads can go from the exported graph."""
    module, x = kind().eval(), torch.randn(1, 5, 12)
    with torch.no_grad():
        module.get_parameter(f"{projection}.weight")[:, 4:8] = 0
    model = prepared(export(module, (x,)))
    groups = find(model)
    heads = groups.free[0]
    assert (len(heads), heads.size) == (3, 4)
    pruned = without(model, groups, {heads.roots[1]})
    (found,) = Session(pruned)({"x": x.numpy()}).values()
    np.testing.assert_allclose(found, module(x).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_heads_of_a_module_stay() -> None:
    module, example = Attention().eval(), (torch.randn(1, 5, 12),)
    plan = prune(module, 0.2, cost="parameters", step=1, example_inputs=example)
    assert [group.channels for group in plan.groups] == [24]
    found = plan.apply(module, example)
    assert found.rest.up.out_features == len(plan.groups[0].kept) < 24
    assert found.qkv.out_features == 36
    with_heads = prune(export(module, example), 0.5, cost="parameters", step=1)
    with pytest.raises(ValueError, match="torch-pruning does not remove attention heads"):
        with_heads.apply(module, example)
