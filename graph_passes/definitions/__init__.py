"""Definitions of operators that ONNX does not define by others: com.microsoft's, and some that were in its own domain.

``DEFINITIONS`` has a function for each operator, from a call to text in ONNX's text format; see
:mod:`graph_passes.definitions.call`. They are written from the operators' documentation, and compared with ONNX
Runtime in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from graph_passes.definitions import activations, attention, blocks, movement, normalization, products, quantized
from graph_passes.definitions.call import OLDEST_OPSET, Call
from graph_passes.definitions.einsum import einsum

MICROSOFT = "com.microsoft"
Definition = Callable[[Call], str]

# By domain and operator. "" is ONNX's domain.
DEFINITIONS: Mapping[tuple[str, str], Definition] = {
    ("", "Affine"): activations.affine,
    ("", "Crop"): movement.crop,
    ("", "Einsum"): einsum,
    ("", "GroupNormalization"): normalization.group_normalization,
    ("", "ImageScaler"): activations.image_scaler,
    ("", "LayerNormalization"): normalization.layer_normalization,
    ("", "ParametricSoftplus"): activations.parametric_softplus,
    ("", "QLinearConv"): quantized.qlinear_conv,
    ("", "QLinearMatMul"): quantized.qlinear_matmul,
    ("", "ScaledTanh"): activations.scaled_tanh,
    ("", "SimplifiedLayerNormalization"): normalization.simplified_layer_normalization,
    (MICROSOFT, "Attention"): attention.attention,
    (MICROSOFT, "BiasAdd"): activations.bias_add,
    (MICROSOFT, "BiasGelu"): activations.bias_gelu,
    (MICROSOFT, "BiasSoftmax"): attention.bias_softmax,
    (MICROSOFT, "BiasSplitGelu"): activations.bias_split_gelu,
    (MICROSOFT, "CDist"): products.cdist,
    (MICROSOFT, "DequantizeLinear"): quantized.dequantize_linear,
    (MICROSOFT, "DynamicQuantizeMatMul"): quantized.dynamic_quantize_matmul,
    (MICROSOFT, "EmbedLayerNormalization"): normalization.embed_layer_normalization,
    (MICROSOFT, "ExpandDims"): movement.expand_dims,
    (MICROSOFT, "FastGelu"): activations.fast_gelu,
    (MICROSOFT, "FusedConv"): products.fused_conv,
    (MICROSOFT, "FusedGemm"): products.fused_gemm,
    (MICROSOFT, "FusedMatMul"): products.fused_matmul,
    (MICROSOFT, "GatherBlockQuantized"): blocks.gather_block_quantized,
    (MICROSOFT, "GatherND"): movement.gather_nd,
    (MICROSOFT, "Gelu"): activations.gelu,
    (MICROSOFT, "MatMulIntegerToFloat"): quantized.matmul_integer_to_float,
    (MICROSOFT, "MatMulNBits"): blocks.matmul_nbits,
    (MICROSOFT, "MultiHeadAttention"): attention.multi_head_attention,
    (MICROSOFT, "NhwcMaxPool"): quantized.nhwc_max_pool,
    (MICROSOFT, "Pad"): movement.pad,
    (MICROSOFT, "QAttention"): attention.q_attention,
    (MICROSOFT, "QGemm"): quantized.q_gemm,
    (MICROSOFT, "QLinearAdd"): quantized.qlinear_add,
    (MICROSOFT, "QLinearAveragePool"): quantized.qlinear_average_pool,
    (MICROSOFT, "QLinearConcat"): quantized.qlinear_concat,
    (MICROSOFT, "QLinearGlobalAveragePool"): quantized.qlinear_global_average_pool,
    (MICROSOFT, "QLinearLeakyRelu"): quantized.qlinear_leaky_relu,
    (MICROSOFT, "QLinearMul"): quantized.qlinear_mul,
    (MICROSOFT, "QLinearReduceMean"): quantized.qlinear_reduce_mean,
    (MICROSOFT, "QLinearSigmoid"): quantized.qlinear_sigmoid,
    (MICROSOFT, "QLinearSoftmax"): quantized.qlinear_softmax,
    (MICROSOFT, "QLinearWhere"): quantized.qlinear_where,
    (MICROSOFT, "QuantizeLinear"): quantized.quantize_linear,
    (MICROSOFT, "QuickGelu"): activations.quick_gelu,
    (MICROSOFT, "Range"): movement.range_of,
    (MICROSOFT, "RotaryEmbedding"): attention.rotary_embedding,
    (MICROSOFT, "SimplifiedLayerNormalization"): normalization.simplified_layer_normalization,
    (MICROSOFT, "SkipLayerNormalization"): normalization.skip_layer_normalization,
    (MICROSOFT, "SkipSimplifiedLayerNormalization"): normalization.skip_simplified_layer_normalization,
    (MICROSOFT, "TransposeMatMul"): products.fused_matmul,
    (MICROSOFT, "Trilu"): movement.trilu,
}
_REMOVED = 10  # the first opset in which ONNX Runtime no longer has the experimental operators of ONNX's domain
# The first opsets in which ONNX has these operators in a form that is not deprecated, or that lack them.
SINCE: Mapping[tuple[str, str], int] = {
    **dict.fromkeys((("", "Affine"), ("", "Crop"), ("", "ImageScaler")), _REMOVED),
    **dict.fromkeys((("", "ParametricSoftplus"), ("", "ScaledTanh")), _REMOVED),
    ("", "GroupNormalization"): 21,
    ("", "LayerNormalization"): 17,
}
# The first opset with all operators of a definition, if it is not OLDEST_OPSET.
OLDEST: Mapping[tuple[str, str], int] = {
    **dict.fromkeys((key for key in DEFINITIONS if not key[0]), 7),
    **dict.fromkeys((("", "QLinearConv"), ("", "QLinearMatMul")), 10),
    ("", "Einsum"): 12,
    **{(MICROSOFT, name): 7 for name in ("FusedConv", "FusedMatMul", "TransposeMatMul")},
    **{(MICROSOFT, name): 7 for name in ("BiasAdd", "FastGelu", "QuickGelu", "SimplifiedLayerNormalization")},
    **{(MICROSOFT, name): 7 for name in ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")},
    **{(MICROSOFT, name): 9 for name in ("BiasGelu", "Gelu")},
    (MICROSOFT, "NhwcMaxPool"): 12,
}


def oldest_opset(domain: str, op_type: str) -> int:
    """Returns the first opset in which an operator's definition is valid."""
    return OLDEST.get((domain, op_type), OLDEST_OPSET)


def definition(domain: str, op_type: str, opset: int) -> Definition | None:
    """Returns the definition of an operator in a model of ``opset``; None if it has none, or ONNX has the operator."""
    key = ("" if domain == "ai.onnx" else domain, op_type)
    found = DEFINITIONS.get(key)
    return None if found is None or opset >= SINCE.get(key, opset + 1) else found
