"""The shapes of ``com.microsoft.DynamicQuantizeLSTM``, which onnx does not infer.

Without them, nothing that reads an LSTM of ONNX Runtime's quantizer has a known shape.
"""

from __future__ import annotations

from graph_passes.base import every_node
from graph_passes.lazy import ir
from graph_passes.replacement import infer_shapes
from graph_passes.values import static_shape


def infer_quantized_lstms(model: ir.Model) -> bool:
    """Sets the shapes and types of the outputs, and infers those of all values that depend on them.

    Returns whether an output got a shape.
    """
    changed = False
    while sum(map(_infer, every_node(model))):
        infer_shapes(model)  # the next LSTM may read this one
        changed = True
    return changed


def _infer(node: ir.Node) -> bool:
    """Returns whether an output got a shape."""
    if (node.domain, node.op_type) != ("com.microsoft", "DynamicQuantizeLSTM"):
        return False
    x, hidden = static_shape(node.inputs[0]), node.attributes.get_int("hidden_size", 0)
    if x is None or len(x) != 3 or not hidden or node.attributes.get_int("layout", 0):
        return False
    steps, batch, _ = x
    directions = 2 if node.attributes.get_string("direction", "forward") == "bidirectional" else 1
    state = (directions, batch, hidden)
    changed = False
    for output, shape in zip(node.outputs, ((steps, *state), state, state), strict=False):
        if static_shape(output) is None:
            output.shape, output.type = ir.Shape(shape), ir.TensorType(ir.DataType.FLOAT)
            changed = True
    return changed
