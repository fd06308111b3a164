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
    with _evaluating(module), _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                module,
                given.args,
                kwargs=given.kwargs,
                input_names=list(given.arguments) if named else None,
                opset_version=_OPSET,
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # of the module or of the exporter
            raise ValueError(f"PyTorch cannot export {kind}: {_first_line(error)}") from error
    if program is None:
        raise ValueError(f"PyTorch cannot export {kind}")
    return program.model_proto


@contextlib.contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
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
