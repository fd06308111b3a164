"""Normalizations over the last axes or over groups of channels, and what transformers fuse to them."""

from __future__ import annotations

from graph_passes.definitions.call import Call, reshaped

_LAYER_NORM_OPSET = 17  # the first with LayerNormalization


def layer_normalization(call: Call) -> str:
    """LayerNormalization before ONNX defined it, as ONNX Runtime writes it to models of older opsets."""
    inputs = "x, scale, bias" if call.has(2) else "x, scale"
    return f"""({inputs}) => (y, mean, inverse)
    {_normalized(call, "x", "y", _last_axes(call), call.number("epsilon", 1e-5), bias=call.has(2))}"""


def simplified_layer_normalization(call: Call) -> str:
    return f"""(x, scale) => (y, inverse)
    {_root_mean_square(call, "x", "y", _last_axes(call), call.number("epsilon", 1e-5))}"""


def _last_axes(call: Call) -> list[int]:
    axis = call.integer("axis", -1)
    return [-1] if axis == -1 else list(range(axis % call.rank(0), call.rank(0)))


def _normalized(call: Call, x: str, y: str, axes: list[int], epsilon: float, bias: bool) -> str:
    """Returns the statements of ``y``, ``mean`` and ``inverse``, with the parameters ``scale`` and ``bias``."""
    if call.opset >= _LAYER_NORM_OPSET:
        inputs = f"{x}, scale, bias" if bias else f"{x}, scale"
        return f"{y}, mean, inverse = LayerNormalization <axis = {axes[0]}, epsilon = {epsilon!r}> ({inputs})"
    last = f"{y} = Add (product, bias)" if bias else f"{y} = Identity (product)"
    return f"""{call.reduced("ReduceMean", x, axes, "mean")}
    centered = Sub ({x}, mean)
    square = Mul (centered, centered)
    {call.reduced("ReduceMean", "square", axes, "variance")}
    {_inverse("variance", epsilon)}
    normalized = Mul (centered, inverse)
    product = Mul (normalized, scale)
    {last}"""


def _inverse(variance: str, epsilon: float) -> str:
    return f"""epsilon = {epsilon!r}
    positive = Add ({variance}, epsilon)
    deviation = Sqrt (positive)
    inverse = Reciprocal (deviation)"""


def _root_mean_square(call: Call, x: str, y: str, axes: list[int], epsilon: float) -> str:
    return f"""square = Mul ({x}, {x})
    {call.reduced("ReduceMean", "square", axes, "variance")}
    {_inverse("variance", epsilon)}
    normalized = Mul ({x}, inverse)
    {y} = Mul (normalized, scale)"""


def skip_layer_normalization(call: Call) -> str:
    return f"""(x, skip, scale, bias, b) => (y, mean, inverse, sum)
    {_sum(call, 4)}
    {_normalized(call, "sum", "y", [-1], call.number("epsilon", 1e-12), bias=call.has(3))}"""


def skip_simplified_layer_normalization(call: Call) -> str:
    return f"""(x, skip, scale, b) => (y, mean, inverse, sum)
    {_sum(call, 3)}
    {_root_mean_square(call, "sum", "y", [-1], call.number("epsilon", 1e-12))}"""


def _sum(call: Call, bias: int) -> str:
    return "before = Add (x, skip)\nsum = Add (before, b)" if call.has(bias) else "sum = Add (x, skip)"


def embed_layer_normalization(call: Call) -> str:
    """The sum of three embeddings, normalized; and the number of tokens that the mask keeps."""
    segments = "of_segments = Gather (segment_table, segments)\nsum = Add (tokens, of_segments)"
    if not call.has(1):
        segments = "sum = Identity (tokens)"
    return f"""(ids, segments, word_table, position_table, segment_table, scale, bias, mask, positions) =>
    (y, counts, sum)
    words = Gather (word_table, ids)
    {_positions(call)}
    tokens = Add (words, of_positions)
    {segments}
    {_normalized(call, "sum", "y", [-1], call.number("epsilon", 1e-12), bias=True)}
    {_counts(call)}""".replace("=>\n", "=>")


def _positions(call: Call) -> str:
    if call.has(8):
        return "of_positions = Gather (position_table, positions)"
    return """ids_shape = Shape (ids)
    one = 1
    zero = 0
    length = Gather (ids_shape, one)
    order = Range (zero, length, one)
    of_positions = Gather (position_table, order)"""


def _counts(call: Call) -> str:
    if not call.wants(1):
        return ""
    if call.has(7):
        int32 = 6
        return f"""kept_from = [1]
        whole_mask = Cast <to = 7> (mask)
        kept = Equal (whole_mask, kept_from)
        numbers = Cast <to = {int32}> (kept)
        {call.reduced("ReduceSum", "numbers", [1], "column")}
        flat = [-1]
        counts = Reshape (column, flat)"""
    return """first = [0]
    shape_of_ids = Shape (ids)
    batch = Gather (shape_of_ids, first)
    counts = ConstantOfShape <value = int32[1] {0}> (batch)"""


def group_normalization(call: Call) -> str:
    """GroupNormalization of opsets 18 to 20: scale and bias have one element per group, or one per channel."""
    groups, shape = call.integer("num_groups"), call.shape(0)
    channels = shape[1]
    call.require(groups > 0 and channels % groups == 0, f"{channels} channels do not form {groups} groups")
    sizes = [0, groups, channels // groups, *shape[2:]]
    axes = list(range(2, len(sizes)))
    lines = [reshaped("x", [-1 if size == 0 else size for size in sizes] if 0 not in shape else sizes, "grouped")]
    for index, name in ((1, "scale"), (2, "bias")):
        size = call.shape(index)[0]
        call.require(size in (groups, channels), f"its input {index} has {size} elements for {groups} groups")
        per_group = [groups, 1] if size == groups else [groups, channels // groups]
        lines.append(reshaped(f"{name}_given", [*per_group, *[1] * (len(shape) - 2)], name))
    return f"""(x, scale_given, bias_given) => (y)
    {chr(10).join(lines)}
    {call.reduced("ReduceMean", "grouped", axes, "mean")}
    centered = Sub (grouped, mean)
    square = Mul (centered, centered)
    {call.reduced("ReduceMean", "square", axes, "variance")}
    {_inverse("variance", call.number("epsilon", 1e-5))}
    normalized = Mul (centered, inverse)
    product = Mul (normalized, scale)
    shifted = Add (product, bias)
    {reshaped("shifted", shape, "y")}"""
