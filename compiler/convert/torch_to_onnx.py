"""From a module of PyTorch to ONNX, by PyTorch's own exporter."""

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

_OPSET = 18  # that of graph_passes.fold_constants


def export(module: torch.nn.Module, example_inputs: Sequence[Any] | Mapping[str, Any] | None) -> onnx.ModelProto:
    """A module in evaluation mode as an ONNX model, whose inputs have the names of ``forward``'s parameters.

    The module keeps its mode, and its parameters do not change.

    Args:
        module: on the CPU.
        example_inputs: tensors that ``forward`` can be called with, in order or by name; the model has their shapes.

    Raises:
        ValueError: no example inputs or none that fit, or a module that PyTorch cannot export.
    """
    import torch

    kind, signature = type(module).__name__, inspect.signature(module.forward)
    if example_inputs is None:
        raise ValueError(f"a module of PyTorch needs example_inputs: tensors for {kind}.forward{signature}")
    if isinstance(example_inputs, torch.Tensor):  # which is a sequence of its rows, too
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
        except Exception as error:  # the module's own, or any of the exporter's
            raise ValueError(f"PyTorch cannot export {kind}: {_first_line(error)}") from error
    if program is None:
        raise ValueError(f"PyTorch cannot export {kind}")
    return program.model_proto


@contextlib.contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Some of its parts may be in evaluation mode already, such as normalisations that are frozen."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints, logs and warns of its progress and of packages that it does without."""
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
    """What went wrong, without the exporter's advice on what to do about it."""
    cause = error.__cause__ or error
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__
