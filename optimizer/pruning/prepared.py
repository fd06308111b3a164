"""The form of a model in which its channels are found."""

from __future__ import annotations

from pathlib import Path

import onnx

from optimizer.graphs import check_not_quantized, constants_to_initializers, loaded, name_nodes, separate_vectors

# Batch normalization becomes part of the convolution before it, so that the size of weights has its factor.
PASSES = ("inline_functions", "fold_constants", "fold_batch_norm")


def prepared(model: str | Path | onnx.ModelProto) -> onnx.ModelProto:
    """Returns a model with folded constants and normalizations, inferred shapes, and a name for each node.

    Raises:
        ValueError: the model is not valid, or is quantized already. The message is one line.
        OSError: a file cannot be read.
    """
    proto = loaded(model, PASSES)
    check_not_quantized(proto, "; prune it before")
    constants_to_initializers(proto.graph)
    separate_vectors(proto.graph)
    name_nodes(proto.graph)
    return onnx.shape_inference.infer_shapes(proto)
