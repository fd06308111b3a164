"""com.microsoft's attention, rotary embeddings and softmax with a bias.

Shapes: B batch, S queries, P past keys, L new keys, T = P + L keys, N heads, H numbers per head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from graph_passes.definitions.call import Call, cast, reshaped, sliced
from graph_passes.definitions.quantized import integer_product
from graph_passes.lazy import ir

_LOWEST = -3.4028234663852886e38  # hides later keys under a causal mask
_LOWEST_HALF = -65504.0  # the same in float16
_HIDES = -10000.0  # the default of what hides masked keys


def attention(call: Call) -> str:
    sizes = _sizes(call, call.shape(1)[-1])
    call.require(not call.integer("do_rotary", 0), "do_rotary is not supported")
    call.require(not call.integer("past_present_share_buffer", 0), "a shared buffer is not supported")
    starts = [0, sizes[0], sizes[0] + sizes[1]]
    lines = []
    for name, start, size in zip("qkv", starts, sizes, strict=True):  # slices of weights are constants
        lines += [sliced("w", start, start + size, 1, f"w{name}"), f"{name}_plain = MatMul (x, w{name})"]
        if call.has(2):
            lines += [sliced("b", start, start + size, 0, f"b{name}"), f"{name} = Add ({name}_plain, b{name})"]
        else:
            lines.append(f"{name} = Identity ({name}_plain)")
    keys = call.shape(0)[1] + (call.shape(4)[3] if call.has(4) else 0)
    return f"""(x, w, b, mask, past, bias) => (y, present)
    {chr(10).join(lines)}
    {_of_heads(call, sizes, keys, mask=3, past=4, bias=5)}"""


def q_attention(call: Call) -> str:
    sizes = _sizes(call, call.shape(1)[-1])
    call.require(not call.integer("do_rotary", 0), "do_rotary is not supported")
    call.require(not call.integer("past_present_share_buffer", 0), "a shared buffer is not supported")
    starts = [0, sizes[0], sizes[0] + sizes[1]]
    split = [
        sliced("qkv", start, start + size, -1, name) for name, start, size in zip("qkv", starts, sizes, strict=True)
    ]
    zeros = ["x_zero" if call.has(6) else None, "w_zero" if call.has(7) else None]
    keys = call.shape(0)[1] + (call.shape(8)[3] if call.has(8) else 0)
    return f"""(x, w, b, x_scale, w_scale, mask, x_zero, w_zero, past) => (y, present)
    {integer_product(call, "x", "w", zeros[0], zeros[1], "whole")}
    scale = Mul (x_scale, w_scale)
    scaled = Mul (whole, scale)
    qkv = Add (scaled, b)
    {chr(10).join(split)}
    {_of_heads(call, sizes, keys, mask=5, past=8, bias=None)}"""


def _sizes(call: Call, columns: int) -> list[int]:
    sizes = call.integers("qkv_hidden_sizes") or [columns // 3] * 3
    heads = call.integer("num_heads")
    fits = len(sizes) == 3 and sum(sizes) == columns and sizes[0] == sizes[1]
    call.require(fits and heads > 0, f"its weights have {columns} columns for sizes {sizes}")
    call.require(all(size % heads == 0 for size in sizes), f"its sizes {sizes} do not form {heads} heads")
    return sizes


def _of_heads(call: Call, sizes: Sequence[int], keys: int, mask: int, past: int, bias: int | None) -> str:
    """Returns the statements from ``q``, ``k`` and ``v`` of shape (B, S, N H) to ``y`` and ``present``."""
    heads = call.integer("num_heads")
    lines = [_in_heads(name, heads, size // heads) for name, size in zip("qkv", sizes, strict=True)]
    if call.has(past):
        call.require(sizes[0] == sizes[2], "keys and values differ in size, although there are past ones")
        lines += ["past_of_k = 0", "past_of_v = 1"]
        for name in "kv":
            lines.append(f"past_{name} = Gather (past, past_of_{name})")
            lines.append(f"all_{name} = Concat <axis = 2> (past_{name}, {name}_heads)")
    else:
        lines += [f"all_{name} = Identity ({name}_heads)" for name in "kv"]
    if call.wants(1):
        sizes_of_one = [1, -1, heads, keys, sizes[0] // heads]
        lines += [reshaped(f"all_{name}", sizes_of_one, f"one_{name}") for name in "kv"]
        lines.append("present = Concat <axis = 0> (one_k, one_v)")
    queries = call.shape(0)[1]
    return "\n".join([*lines, _core(call, (queries, keys), sizes[0] // heads, sizes[2], mask, bias)])


def _in_heads(name: str, heads: int, size: int) -> str:
    """Returns the statements from (B, S, N H) to (B, N, S, H)."""
    shaped = reshaped(name, [0, 0, heads, size], f"{name}_split")
    return f"{shaped}\n{name}_heads = Transpose <perm = [0, 2, 1, 3]> ({name}_split)"


def _core(call: Call, lengths: tuple[int, int], size: int, values: int, mask: int, bias: int | None) -> str:
    """Returns the statements from ``q_heads``, ``all_k`` and ``all_v`` to ``y``.

    Args:
        lengths: the numbers of queries and of keys.
        size: numbers per head of queries and keys.
        values: numbers of all heads of the values.
        mask, bias: the places of these inputs, which are named so.
    """
    added = []
    lines = []
    if call.has(mask):
        lines.append(_mask(call, mask, lengths))
        added.append("mask_bias")
    if call.integer("unidirectional", 0) and lengths[0] > 1:
        lines.append(_causal(call, lengths))
        added.append("causal_bias")
    if bias is not None and call.has(bias):
        added.append("bias")
    total = added[0] if added else ""
    for place, other in enumerate(added[1:]):
        lines.append(f"bias_{place} = Add ({total}, {other})")
        total = f"bias_{place}"
    scale = call.number("scale", 0.0) or 1 / math.sqrt(size)
    return f"""{chr(10).join(lines)}
    kt = Transpose <perm = [0, 1, 3, 2]> (all_k)
    products = MatMul (q_heads, kt)
    score_scale = {scale!r}
    scores = Mul (products, score_scale)
    {f"hidden = Add (scores, {total})" if total else "hidden = Identity (scores)"}
    weights = Softmax <axis = -1> (hidden)
    averages = MatMul (weights, all_v)
    by_query = Transpose <perm = [0, 2, 1, 3]> (averages)
    {reshaped("by_query", [0, 0, values], "y")}"""


def _mask(call: Call, index: int, lengths: tuple[int, int]) -> str:
    """Returns the statements from a mask to ``mask_bias``, which broadcasts to (B, N, S, T).

    The mask is 1 or 0 for each key (B, T) or each query and key (B, S, T); or it has the ends of the keys (B), or
    those and then the starts (2 B).
    """
    batch, shape = call.shape(0)[0], call.shape(index)
    queries, keys = lengths
    raw = {(batch, keys): [batch, 1, 1, keys], (batch, queries, keys): [batch, 1, queries, keys]}
    lines = [f"shown = 0.0\nhidden_key = {call.number('mask_filter_value', _HIDES)!r}"]
    int64 = ir.DataType.INT64
    if shape in raw:
        lines.append(f"none = 0\n{cast('mask', int64, 'whole_mask')}\nkept = Greater (whole_mask, none)")
        lines.append("key_bias = Where (kept, shown, hidden_key)")
        lines.append(reshaped("key_bias", raw[shape], "mask_bias"))
        return "\n".join(lines)
    call.require(
        shape in ((batch,), (2 * batch,)),
        f"a mask of shape {shape} is not supported; supported are (batch), (2 batch), (batch, keys) and "
        "(batch, queries, keys)",
    )
    lines.append(f"places = [{', '.join(map(str, range(keys)))}]")
    lines.append(cast("mask", int64, "whole_mask"))
    for place in range(shape[0] // batch):
        lines.append(sliced("whole_mask", place * batch, (place + 1) * batch, 0, f"limit_{place}"))
        lines.append(reshaped(f"limit_{place}", [batch, 1, 1, 1], f"border_{place}"))
    lines.append("kept_0 = Less (places, border_0)")
    if shape[0] == 2 * batch:
        lines.append("early = Less (places, border_1)\nlate = Not (early)\nkept = And (kept_0, late)")
    else:
        lines.append("kept = Identity (kept_0)")
    return "\n".join([*lines, "mask_bias = Where (kept, shown, hidden_key)"])


def _causal(call: Call, lengths: tuple[int, int]) -> str:
    """Returns the statements of ``causal_bias`` (S, T), which hides the keys after each query."""
    queries, keys = lengths
    last = ", ".join(str(keys - queries + place) for place in range(queries))
    hidden = _LOWEST_HALF if call.dtype() == ir.DataType.FLOAT16 else _LOWEST
    return f"""key_places = [{", ".join(map(str, range(keys)))}]
    last_places = [{last}]
    {reshaped("last_places", [queries, 1], "last_keys")}
    later = Greater (key_places, last_keys)
    causal_hidden = {hidden!r}
    causal_shown = 0.0
    causal_bias = Where (later, causal_hidden, causal_shown)"""


def multi_head_attention(call: Call) -> str:
    heads = call.integer("num_heads")
    call.require(call.has(1) and call.has(2), "packed queries, keys and values are not supported")
    call.require(not call.has(8) and not call.has(9), "a shared buffer of past keys is not supported")
    queries, keys, values = (call.shape(index) for index in range(3))
    call.require(len(queries) == 3 and len(keys) in (3, 4), "packed queries, keys and values are not supported")
    call.require(queries[2] % heads == 0, f"its {queries[2]} columns do not form {heads} heads")
    size = queries[2] // heads
    size_of_values = values[3] if len(values) == 4 else values[2] // heads
    lines = []
    sizes = (queries[2], keys[2] if len(keys) == 3 else 0, values[2] if len(values) == 3 else 0)
    for place, (name, shape, per_head) in enumerate(
        zip("qkv", (queries, keys, values), (size, size, size_of_values), strict=True)
    ):
        if len(shape) == 4:
            lines.append(f"{name}_heads = Identity ({name}_given)")
            continue
        if call.has(3):
            start = sum(sizes[:place])
            lines += [sliced("b", start, start + sizes[place], 0, f"b{name}"), f"{name} = Add ({name}_given, b{name})"]
        else:
            lines.append(f"{name} = Identity ({name}_given)")
        lines.append(_in_heads(name, heads, per_head))
    for place, name in enumerate("kv"):
        present = f"present_{name}" if call.wants(1 + place) else f"all_{name}"
        past = call.has(6 + place)
        lines.append(
            f"{present} = Concat <axis = 2> (past_{name}, {name}_heads)"
            if past
            else f"{present} = Identity ({name}_heads)"
        )
        if call.wants(1 + place):
            lines.append(f"all_{name} = Identity ({present})")
    total = (keys[2] if len(keys) == 4 else keys[1]) + (call.shape(6)[2] if call.has(6) else 0)
    core = _core(call, (queries[1], total), size, size_of_values * heads, mask=4, bias=5)
    return f"""(q_given, k_given, v_given, b, mask, bias, past_k, past_v) => (y, present_k, present_v)
    {chr(10).join(lines)}
    {core}"""


def rotary_embedding(call: Call) -> str:
    """Rotates pairs of numbers of each head: (a, b) -> (a cos - b sin, b cos + a sin)."""
    shape, half = call.shape(0), call.shape(2)[1]
    call.require(not call.integer("is_packed_batching", 0), "packed batches are not supported")
    given, heads = call.integer("rotary_embedding_dim", 0), call.integer("num_heads", 0)
    if len(shape) == 3:
        size = shape[2] // heads if given and heads else 2 * half
        in_heads = reshaped("given", [0, 0, -1, size], "x")
        axis = 2  # of heads: (B, S, N, H)
    else:
        size, axis = shape[3], 1
        in_heads = "x = Identity (given)"
    rotated = given or size
    call.require(rotated == 2 * half, f"its cosines have {half} columns for {rotated} numbers per head")
    last = reshaped("joined", [0, 0, shape[2]], "y") if len(shape) == 3 else "y = Identity (joined)"
    length = shape[1] if len(shape) == 3 else shape[2]
    order = f"order = [{', '.join(map(str, range(length)))}]\nplaces = Add (positions, order)"
    places = order if call.rank(1) == 1 else "places = Identity (positions)"
    one_per_head = [-1, length, 1, half] if axis == 2 else [-1, 1, length, half]
    if call.integer("interleaved", 0):
        pairs = [sliced("x", 0, rotated, -1, "a", step=2), sliced("x", 1, rotated, -1, "b", step=2)]
    else:
        pairs = [sliced("x", 0, half, -1, "a"), sliced("x", half, rotated, -1, "b")]
    return f"""(given, positions, cosines, sines) => (y)
    {in_heads}
    {places}
    cos_flat = Gather (cosines, places)
    {reshaped("cos_flat", one_per_head, "cos")}
    sin_flat = Gather (sines, places)
    {reshaped("sin_flat", one_per_head, "sin")}
    {chr(10).join(pairs)}
    a_cos = Mul (a, cos)
    b_sin = Mul (b, sin)
    first = Sub (a_cos, b_sin)
    b_cos = Mul (b, cos)
    a_sin = Mul (a, sin)
    second = Add (b_cos, a_sin)
    {_joined(call, rotated, size)}
    {last}"""


def _joined(call: Call, rotated: int, size: int) -> str:
    """Returns the statements from the rotated ``first`` and ``second`` numbers of pairs to all numbers, ``joined``."""
    if call.integer("interleaved", 0):
        pairs = f"""{reshaped("first", [0, 0, 0, -1, 1], "first_column")}
        {reshaped("second", [0, 0, 0, -1, 1], "second_column")}
        pairs = Concat <axis = -1> (first_column, second_column)
        {reshaped("pairs", [0, 0, 0, rotated], "turned")}"""
    else:
        pairs = "turned = Concat <axis = -1> (first, second)"
    if rotated == size:
        return f"{pairs}\njoined = Identity (turned)"
    return f"{pairs}\n{sliced('x', rotated, None, -1, 'kept')}\njoined = Concat <axis = -1> (turned, kept)"


def bias_softmax(call: Call) -> str:
    """Softmax over all axes from ``axis`` on, after a sum."""
    shape = call.shape(0)
    axis = call.integer("axis", 1) % len(shape)
    rows = math.prod(shape[:axis])
    return (
        f"""(x, bias) => (y)
    sum = Add (x, bias)
    {reshaped("sum", [rows, math.prod(shape[axis:])], "flat")}
    weights = Softmax <axis = 1> (flat)
    {reshaped("weights", shape, "y")}"""
        if axis != len(shape) - 1
        else """(x, bias) => (y)
    sum = Add (x, bias)
    y = Softmax <axis = -1> (sum)"""
    )
