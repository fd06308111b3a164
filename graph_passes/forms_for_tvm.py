"""Rewrites operators and forms of operators that TVM's own ONNX importer rejects or computes incorrectly.

::

    STFT (signal, step, window)       becomes   Conv (signal, windowed cosines and sines)
    Resize <antialias> (x, scales)    becomes   MatMul (weights, MatMul (x, weights))
    Pow (float x, int64 y)            becomes   Pow (x, Cast (y))

``FORMS`` lists the operators. A form that TVM supports does not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from graph_passes.base import Pass, Remark, every_node, too_old
from graph_passes.forms import elementwise, indexing, normalization, sequences, signals, windows
from graph_passes.forms.resize import resize
from graph_passes.lazy import ir
from graph_passes.replacement import Replacement, infer_shapes
from graph_passes.values import constant, is_op

OLDEST_OPSET = 18  # in which axes of reductions are an input
FORMS: Mapping[str, Callable[[ir.Node, Replacement], Sequence[ir.Value] | None]] = {
    **dict.fromkeys(("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Sinh"), elementwise.half_precision),
    "AveragePool": windows.pooling,
    "BatchNormalization": normalization.batch_normalization,
    "Celu": elementwise.celu,
    "Col2Im": sequences.column_to_image,
    "ConvTranspose": windows.transposed_convolution,
    "DFT": signals.discrete_fourier_transform,
    "Elu": elementwise.elu,
    "Equal": elementwise.boolean_equality,
    "EyeLike": sequences.eye_like,
    "IsInf": elementwise.is_infinite,
    "LayerNormalization": normalization.layer_normalization,
    "LpNormalization": normalization.lp_normalization,
    "LpPool": windows.pooling,
    "MaxPool": windows.pooling,
    "Mish": elementwise.mish,
    "OneHot": indexing.one_hot,
    "Pad": windows.pad,
    "Pow": elementwise.power,
    "RMSNormalization": normalization.rms_normalization,
    "ReduceMax": elementwise.boolean_reduction,
    "ReduceMin": elementwise.boolean_reduction,
    "Resize": resize,
    "ReverseSequence": sequences.reverse_sequence,
    "STFT": signals.short_time_fourier_transform,
    "ScatterElements": indexing.scatter_elements,
    "Selu": elementwise.elu,
    "Slice": indexing.constant_slice,
    "SpaceToDepth": sequences.space_to_depth,
    "Split": indexing.split,
    "Swish": elementwise.swish,
    "ThresholdedRelu": elementwise.thresholded_relu,
}


@dataclass(frozen=True)
class FormsForTvm(Pass):
    name: ClassVar[str] = "forms_for_tvm"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        remark = too_old(model, OLDEST_OPSET) if any(is_op(node, *FORMS) for node in every_node(model)) else None
        if remark is not None:
            yield remark
            return
        changed = False
        for node in every_node(model):
            if is_op(node, "Constant"):
                _hold_a_tensor(node)
            elif is_op(node, *FORMS):
                new = Replacement(node)
                values = FORMS[node.op_type](node, new)
                if values is not None:
                    new.replace(*values)
                    changed = True
        if changed:
            infer_shapes(model)


def _hold_a_tensor(node: ir.Node) -> None:
    """Gives a Constant that holds numbers a tensor, the only attribute that TVM reads."""
    array = constant(node.outputs[0])
    if array is None or "value" in node.attributes or array.dtype.kind not in "if":
        return
    (name,) = node.attributes
    singular = name in ("value_int", "value_float")
    node.attributes.clear()
    node.attributes.add(ir.AttrTensor("value", ir.tensor(array.reshape(()) if singular else array)))
