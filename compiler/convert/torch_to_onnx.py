"""Exports a PyTorch module to ONNX with PyTorch's own exporter."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx
    import torch

_OPSET = 18  # the opset of graph_passes.fold_constants


def export(module: torch.nn.Module, example_inputs: Sequence[Any] | Mapping[str, Any] | None) -> onnx.ModelProto:
    """Returns a module, in evaluation mode, as an ONNX model. Its inputs have the names of ``forward``'s parameters.

    The module's mode and parameters stay unchanged.

    Args:
        module: a module on the CPU.
        example_inputs: tensors to call ``forward`` with, in order or by name. The model has their shapes.

    Raises:
        ValueError: example inputs are missing or do not fit ``forward``, or PyTorch cannot export the module.
    """
    import torch

    kind, signature = type(module).__name__, inspect.signature(module.forward)
    if example_inputs is None:
        raise ValueError(f"a PyTorch module needs example_inputs: tensors for {kind}.forward{signature}")
    if isinstance(example_inputs, torch.Tensor):  # a tensor is also a sequence of its rows
        example_inputs = (example_inputs,)
    args, kwargs = ((), dict(example_inputs)) if isinstance(example_inputs, Mapping) else (tuple(example_inputs), {})
    try:
        given = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ValueError(f"example_inputs do not fit {kind}.forward{signature}: {error}") from None
    named = all(isinstance(value, torch.Tensor) for value in given.arguments.values())
    with evaluating(module), _quiet(), torch.no_grad():
        options = {"input_names": list(given.arguments) if named else None, "opset_version": _OPSET, "dynamo": True}
        try:
            try:
                program = torch.onnx.export(module, given.args, kwargs=given.kwargs, verbose=False, **options)
            except Exception as error:
                if "scaled_dot_product_attention" not in str(error):
                    raise
                exported = _attention_of_rank_4(torch.export.export(module, given.args, given.kwargs, strict=False))
                program = torch.onnx.export(exported, (), verbose=False, **options)
        except Exception as error:  # of the module or of the exporter
            raise ValueError(f"PyTorch cannot export {kind}: {_first_line(error)}") from error
    if program is None:
        raise ValueError(f"PyTorch cannot export {kind}")
    return _without_traces(program.model_proto)


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drops the exporter's notes on each node: they have stack traces with paths of this machine, 1 KB per node."""
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    return model


def _attention_of_rank_4(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Replaces attention on tensors of other ranks, which the exporter does not support, by attention on 4 dimensions.

    One of 2 or 3 dimensions has one head; further dimensions before the heads become one.
    """
    import torch

    attention = torch.ops.aten.scaled_dot_product_attention.default

    def reshaped(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **options: Any,
    ) -> torch.Tensor:
        rank = query.dim()
        if rank == 4:
            return NotImplemented
        mask = attn_mask
        if mask is not None and mask.dim() > 2:
            mask = _of_rank_4(mask.expand(*query.shape[:-1], key.shape[-2]), rank)
        operands = [_of_rank_4(operand, rank) for operand in (query, key, value)]
        y = attention(*operands, mask, dropout_p, is_causal, **options)
        return y.reshape(*query.shape[:-1], value.shape[-1])

    return program.run_decompositions({attention: reshaped})


def _of_rank_4(x: torch.Tensor, rank: int) -> torch.Tensor:
    """Returns an operand of attention on ``rank`` dimensions in 4 dimensions."""
    if rank > 4:
        return x.reshape(-1, *x.shape[-3:])
    return x.unsqueeze(-3) if rank == 3 else x.reshape(1, 1, *x.shape)


@contextlib.contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Puts a module in evaluation mode, and restores the mode of each submodule, such as frozen normalizations."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses the exporter's output: progress, and warnings about missing optional packages."""
    disabled = logging.root.manager.disable
    logging.disable(max(disabled, logging.ERROR))
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _first_line(error: BaseException) -> str:
    """Returns the first line of an error, without the exporter's advice."""
    cause = error.__cause__ or error
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__
