"""Operators on quantized integers: q stands for (q - zero point) scale.

An operator whose inputs and outputs are quantized computes in float32, between these conversions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graph_passes.definitions.call import Call, Undefined, cast, reshaped
from graph_passes.lazy import ir
from graph_passes.patterns.integer_weight import IN_FLOAT, LONGEST_SUM, are_scales, has_integer_kernel, signed_weight
from graph_passes.values import constant, data_input

_FLOAT = "FLOAT"
_BOUNDS = {
    "INT8": (-128, 127),
    "UINT8": (0, 255),
    "INT16": (-32768, 32767),
    "UINT16": (0, 65535),
    "INT4": (-8, 7),
    "UINT4": (0, 15),
}
_BYTES = ("INT8", "UINT8")  # the types of QuantizeLinear in all opsets
_IMAGE_RANK, _MATRIX_RANK = 4, 2
_FIRST_WITH_AXIS = 13  # opset whose DequantizeLinear has scales per channel
_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")


def dequantized(x: str, scale: str, zero: str | None, y: str, shape: Sequence[int] = ()) -> str:
    """Returns the statements of ``y = (x - zero) scale`` in float32; ``shape``: in which both are broadcast to x."""
    if zero and not shape:  # 8 bits
        return f"{y} = DequantizeLinear ({x}, {scale}, {zero})"
    lines = [cast(x, _FLOAT, f"{y}_number")]
    factor = scale
    if shape:
        factor = f"{y}_factor"
        lines.append(reshaped(scale, shape, factor))
    number = f"{y}_number"
    if zero:
        lines.append(cast(zero, _FLOAT, f"{y}_zero"))
        offset = f"{y}_zero"
        if shape:
            lines.append(reshaped(offset, shape, f"{y}_offset"))
            offset = f"{y}_offset"
        lines.append(f"{y}_centered = Sub ({number}, {offset})")
        number = f"{y}_centered"
    return "\n".join([*lines, f"{y} = Mul ({number}, {factor})"])


def quantized(x: str, scale: str, zero: str | None, dtype: ir.DataType, y: str, shape: Sequence[int] = ()) -> str:
    """Returns the statements of ``y = round(x / scale) + zero``, bounded by what ``dtype`` holds."""
    if dtype.name not in _BOUNDS:
        raise Undefined(f"its quantized type {dtype.name.lower()} is not supported")
    if dtype.name in _BYTES and not shape:
        zeros = "" if zero else f"{y}_start = Constant <value = {dtype.name.lower()} {{0}}> ()\n"
        return f"{zeros}{y} = QuantizeLinear ({x}, {scale}, {zero or f'{y}_start'})"
    low, high = _BOUNDS[dtype.name]
    factor, lines = scale, []
    if shape:
        factor = f"{y}_step"
        lines.append(reshaped(scale, shape, factor))
    lines += [f"{y}_steps = Div ({x}, {factor})", f"{y}_whole = Round ({y}_steps)"]
    whole = f"{y}_whole"
    if zero:
        offset = f"{y}_start"
        lines.append(cast(zero, _FLOAT, offset))
        if shape:
            lines.append(reshaped(offset, shape, f"{y}_start_at"))
            offset = f"{y}_start_at"
        lines.append(f"{y}_moved = Add ({whole}, {offset})")
        whole = f"{y}_moved"
    lines += [f"{y}_low = {low}.0\n{y}_high = {high}.0", f"{y}_bounded = Clip ({whole}, {y}_low, {y}_high)"]
    return "\n".join([*lines, cast(f"{y}_bounded", dtype, y)])


def _per_axis(call: Call, scale: int) -> list[int]:
    """Returns the shape in which scales along the attribute ``axis`` are broadcast; empty for a single number."""
    shape = call.shape(scale)
    if not shape:
        return []
    if shape == (1,):
        return [1]
    call.require(len(shape) == 1, "scales of blocks are not supported")
    rank = call.rank(0)
    axis = call.integer("axis", 1) % rank
    return [-1 if place == axis else 1 for place in range(rank)]


def _single(call: Call, index: int, name: str) -> tuple[str, str]:
    """Returns the name of a scale or zero point as a scalar, and the statement for it."""
    if not call.has(index):
        return "", ""
    return (name, "") if call.rank(index) == 0 else (f"{name}_scalar", reshaped(name, [], f"{name}_scalar"))


def dequantize_linear(call: Call) -> str:
    zero = "zero" if call.has(2) else None
    shape = _per_axis(call, 1)
    kind = call.dtype(1)
    call.require(kind.name == _FLOAT, f"a scale of type {kind.name.lower()} is not supported")
    explicit = shape or ([] if call.dtype().name in _BYTES else [1])
    return f"(x, scale, zero) => (y)\n{dequantized('x', 'scale', zero, 'y', explicit)}"


def quantize_linear(call: Call) -> str:
    dtype = call.dtype(2) if call.has(2) else ir.DataType.UINT8
    call.require(call.dtype().name == _FLOAT, f"data of type {call.dtype().name.lower()} is not supported")
    zero = "zero" if call.has(2) else None
    return f"(x, scale, zero) => (y)\n{quantized('x', 'scale', zero, dtype, 'y', _per_axis(call, 1))}"


def _wrapped(call: Call, places: Sequence[tuple[str, int]], output: int, names: Sequence[str], body: str) -> str:
    """Returns a definition: inputs are dequantized, ``body`` computes ``result``, and ``result`` is quantized.

    Args:
        places: names of quantized inputs, and their places; their scales and zero points follow each.
        output: the place of the output's scale, which its zero point follows.
        names: of all inputs.
        body: the statements from ``{name}_real`` of each of ``places`` to ``result``.
    """
    lines = []
    for name, place in places:
        scale, before = _single(call, place + 1, names[place + 1])
        zero, more = _single(call, place + 2, names[place + 2])
        lines += [before, more, dequantized(name, scale, zero or None, f"{name}_real")]
    scale, before = _single(call, output, names[output])
    zero, more = _single(call, output + 1, names[output + 1]) if output + 1 < len(names) else ("", "")
    dtype = call.dtype(places[0][1])
    lines += [body, before, more, quantized("result", scale, zero or None, dtype, "y")]
    return f"({', '.join(names)}) => (y)\n" + "\n".join(lines)


def _binary(op_type: str) -> Callable[[Call], str]:
    names = ("a", "a_scale", "a_zero", "b", "b_scale", "b_zero", "y_scale", "y_zero")
    return lambda call: _wrapped(call, (("a", 0), ("b", 3)), 6, names, f"result = {op_type} (a_real, b_real)")


_UNARY = ("x", "x_scale", "x_zero", "y_scale", "y_zero")


def _unary(body: Callable[[Call], str]) -> Callable[[Call], str]:
    return lambda call: _wrapped(call, (("x", 0),), 3, _UNARY, body(call))


def _with_channels_last(call: Call, body: str) -> str:
    """Returns statements for images whose channels come last, from those from ``x_image`` to ``y_image``."""
    if not call.integer("channels_last", 0):
        return f"x_image = Identity (x_real)\n{body}\nresult = Identity (y_image)"
    rank = call.rank(0)
    before, after = [0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]
    return f"""x_image = Transpose <perm = {before}> (x_real)
    {body}
    result = Transpose <perm = {after}> (y_image)"""


def _average(call: Call) -> str:
    attributes = call.copied(*(name for name in _POOL if call.opset >= 10 or name != "ceil_mode"))
    return _with_channels_last(call, f"y_image = AveragePool {attributes} (x_image)")


def _softmax(call: Call) -> str:
    axis, rank = call.integer("axis", -1), call.rank(0)
    if call.integer("opset", 13) >= 13 or axis % rank == rank - 1:
        place = axis % rank
        if place == rank - 1:
            return "result = Softmax <axis = -1> (x_real)"
        if call.opset >= 13:
            return f"result = Softmax <axis = {place}> (x_real)"
        order = [*(a for a in range(rank) if a != place), place]
        back = [order.index(a) for a in range(rank)]
        return f"""turned = Transpose <perm = {order}> (x_real)
        weights = Softmax <axis = {rank - 1}> (turned)
        result = Transpose <perm = {back}> (weights)"""
    return f"""matrix = Flatten <axis = {axis % rank}> (x_real)
    weights = Softmax <axis = 1> (matrix)
    {reshaped("weights", call.shape(0), "result")}"""


qlinear_add = _binary("Add")
qlinear_mul = _binary("Mul")
qlinear_sigmoid = _unary(lambda _call: "result = Sigmoid (x_real)")
qlinear_leaky_relu = _unary(lambda call: f"result = LeakyRelu <alpha = {call.number('alpha', 0.01)!r}> (x_real)")
qlinear_average_pool = _unary(_average)
qlinear_global_average_pool = _unary(lambda call: _with_channels_last(call, "y_image = GlobalAveragePool (x_image)"))
qlinear_softmax = _unary(_softmax)


def qlinear_reduce_mean(call: Call) -> str:
    axes = call.integers("axes") or list(range(call.rank(0)))
    body = call.reduced("ReduceMean", "x_real", axes, "kept")
    if call.integer("keepdims", 1):
        return _wrapped(call, (("x", 0),), 3, _UNARY, f"{body}\nresult = Identity (kept)")
    gone = {axis % call.rank(0) for axis in axes}
    left = [size for axis, size in enumerate(call.shape(0)) if axis not in gone]
    return _wrapped(call, (("x", 0),), 3, _UNARY, f"{body}\n{reshaped('kept', left, 'result')}")


def qlinear_where(call: Call) -> str:
    names = ("condition", "a", "a_scale", "a_zero", "b", "b_scale", "b_zero", "y_scale", "y_zero")
    return _wrapped(call, (("a", 1), ("b", 4)), 7, names, "result = Where (condition, a_real, b_real)")


def qlinear_concat(call: Call) -> str:
    inputs = len(call.node.inputs)
    call.require(inputs >= 5 and inputs % 3 == 2, f"it has {inputs} inputs")
    count = (inputs - 2) // 3
    names = ["y_scale", "y_zero"]
    for place in range(count):
        names += [f"x{place}", f"x{place}_scale", f"x{place}_zero"]
    lines = []
    for place in range(count):
        scale, before = _single(call, 3 * place + 3, f"x{place}_scale")
        zero, more = _single(call, 3 * place + 4, f"x{place}_zero")
        lines += [before, more, dequantized(f"x{place}", scale, zero or None, f"real_{place}")]
    scale, before = _single(call, 0, "y_scale")
    zero, more = _single(call, 1, "y_zero")
    joined = ", ".join(f"real_{place}" for place in range(count))
    lines += [f"result = Concat <axis = {call.integer('axis')}> ({joined})", before, more]
    lines.append(quantized("result", scale, zero or None, call.dtype(1), "y"))
    return f"({', '.join(names)}) => (y)\n" + "\n".join(lines)


def nhwc_max_pool(call: Call) -> str:
    rank = call.rank(0)
    attributes = call.copied("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")
    return f"""(x) => (y)
    x_image = Transpose <perm = {[0, rank - 1, *range(1, rank - 1)]}> (x)
    y_image = MaxPool {attributes} (x_image)
    y = Transpose <perm = {[0, *range(2, rank), 1]}> (y_image)"""


def integer_product(call: Call, a: str, b: str, a_zero: str | None, b_zero: str | None, y: str) -> str:
    """Returns the statements of ``y = (a - a_zero) @ (b - b_zero)`` in float32; ``a`` has the type of the first input,
    unless it has a zero point.
    """
    lines = []
    if b_zero and not a_zero:
        a_zero = f"{y}_a_zero"
        lines.append(f"{a_zero} = Constant <value = {call.dtype().name.lower()} {{0}}> ()")
    inputs = [a, b, *(zero for zero in (a_zero, b_zero) if zero)]
    return "\n".join([*lines, f"{y}_int = MatMulInteger ({', '.join(inputs)})", cast(f"{y}_int", _FLOAT, y)])


def dynamic_quantize_matmul(call: Call) -> str:
    bias = "y = Add (scaled, bias)" if call.has(4) else "y = Identity (scaled)"
    return f"""(a, b, b_scale, b_zero, bias) => (y)
    whole, scale, zero = DynamicQuantizeLinear (a)
    {integer_product(call, "whole", "b", "zero", "b_zero" if call.has(3) else None, "product")}
    factor = Mul (scale, b_scale)
    scaled = Mul (product, factor)
    {bias}"""


def matmul_integer_to_float(call: Call) -> str:
    zeros = ["a_zero" if call.has(4) else None, "b_zero" if call.has(5) else None]
    bias = "y = Add (scaled, bias)" if call.has(6) else "y = Identity (scaled)"
    call.require(call.rank(2) == 0 or call.shape(2) == (1,), "scales of the rows of its first input are not supported")
    return f"""(a, b, a_scale, b_scale, a_zero, b_zero, bias) => (y)
    {integer_product(call, "a", "b", zeros[0], zeros[1], "product")}
    factor = Mul (a_scale, b_scale)
    scaled = Mul (product, factor)
    {bias}"""


def q_gemm(call: Call) -> str:
    """alpha (A - a) (B - b) scales + C, as float32 or quantized."""
    zeros = ["a_zero" if call.has(2) else None, "b_zero" if call.has(5) else None]
    lines = [
        f"{name}t = Transpose <perm = [1, 0]> ({name})"
        if call.integer(f"trans{name.upper()}", 0)
        else f"{name}t = Identity ({name})"
        for name in "ab"
    ]
    lines.append(integer_product(call, "at", "bt", zeros[0], zeros[1], "product"))
    if call.has(6):
        lines += [cast("c", _FLOAT, "c_number"), "sum = Add (product, c_number)"]
    else:
        lines.append("sum = Identity (product)")
    lines.append("scales = Mul (a_scale, b_scale)")
    lines.append(f"alpha = {call.number('alpha', 1.0)!r}\nfactor = Mul (scales, alpha)\nresult = Mul (sum, factor)")
    if call.has(7):
        scale, before = _single(call, 7, "y_scale")
        zero, more = _single(call, 8, "y_zero")
        dtype = call.dtype(8) if call.has(8) else call.dtype(0)
        lines += [before, more, quantized("result", scale, zero or None, dtype, "y")]
    else:
        lines.append("y = Identity (result)")
    return "(a, a_scale, a_zero, b, b_scale, b_zero, c, y_scale, y_zero) => (y)\n" + "\n".join(lines)


def qlinear_conv(call: Call) -> str:
    """A convolution between conversions, or of integers in float32 that is then scaled and quantized.

    Sums of integers in float32 are as exact as they are small. Conversions are the form of integer_layers.
    """
    rank, attributes = call.rank(3), call.copied("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    shape, groups = _weight_shape(call), call.integer("group", 1)
    if len(shape) == _IMAGE_RANK and has_integer_kernel(shape, groups) and _hold_constants(call, bias=8):
        sum_of_reals = f"result = Conv {attributes} (x_real, w_real{', b_real' if call.has(8) else ''})"
        return _between_conversions(sum_of_reals, axis=0)
    by_filter, by_channel = [-1, *[1] * (rank - 1)], [1, -1, *[1] * (rank - 2)]
    lines = [_centered(call, "x", 2, "x_zero", [1] * rank), _centered(call, "w", 5, "w_zero", by_filter)]
    if call.has(8):
        lines.append(cast("b", _FLOAT, "bias"))
    operands = "x_centered, w_centered, bias" if call.has(8) else "x_centered, w_centered"
    lines.append(f"sum = Conv {attributes} ({operands})")
    return _requantized(call, lines, "w", by_channel)


def qlinear_matmul(call: Call) -> str:
    """A product in one of the forms of a QLinearConv."""
    if len(_weight_shape(call)) == _MATRIX_RANK and _hold_constants(call):
        return _between_conversions("result = MatMul (x_real, w_real)", axis=1)
    call.require(call.shape(1) in ((), (1,)), "scales of the rows of its first input are not supported")
    lines = [_centered(call, "x", 2, "x_zero", [1]), _centered(call, "w", 5, "w_zero", [-1])]
    lines.append("sum = MatMul (x_centered, w_centered)")
    return _requantized(call, lines, "w", [-1])


_QLINEAR = "(x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, b) => (y)\n"
_SCALARS = ((1, "x_scale"), (2, "x_zero"), (6, "y_scale"), (7, "y_zero"))  # inputs that are one number, by place


def _weight_shape(call: Call) -> tuple[int, ...]:
    """Returns the shape of a constant weight; () for another one."""
    weight = constant(data_input(call.node, 3))
    return () if weight is None else weight.shape


def _between_conversions(sum_of_reals: str, axis: int) -> str:
    return f"""{_QLINEAR.strip()}
    x_real = DequantizeLinear (x, x_scale_number, x_zero_number)
    w_real = DequantizeLinear <axis = {axis}> (w_signed, w_scales)
    {sum_of_reals}
    y = QuantizeLinear (result, y_scale_number, y_zero_number)"""


def _hold_constants(call: Call, bias: int | None = None) -> bool:
    """Prepares the constants of a layer of 8-bit integers. Returns False, without effect, if it is not one.

    Its weight is constant, with its zero point in the middle of its type; scales are those of
    ``graph_passes.patterns.conversions``.
    """
    if call.opset < _FIRST_WITH_AXIS:
        return False
    places = [*(place for place, _ in _SCALARS), 3, 4, 5, *([bias] if bias is not None and call.has(bias) else [])]
    arrays = {place: constant(data_input(call.node, place)) for place in places}
    found = {place: array for place, array in arrays.items() if array is not None}
    if len(found) < len(arrays) or any(found[place].size != 1 for place, _ in _SCALARS):
        return False
    weight, scales = signed_weight(found[3], found[5]), found[4].reshape(-1)
    if weight is None or any(not are_scales(found[place]) for place in (1, 4, 6)):
        return False
    channels = weight.shape[0 if bias is not None else -1]
    if found[2].dtype.name not in ("int8", "uint8") or weight.size > channels * LONGEST_SUM:
        return False
    call.held.update({f"{name}_number": found[place].reshape(()) for place, name in _SCALARS})
    call.held.update({"w_signed": weight, "w_scales": np.ascontiguousarray(np.broadcast_to(scales, (channels,)))})
    if bias in found:
        call.held["b_real"] = (found[bias] * (found[1].reshape(()) * scales)).astype(np.float32)
    return True


def _centered(call: Call, x: str, index: int, zero: str, along: list[int]) -> str:
    """Returns the statements of an operand without its zero point, which is one number or one along an axis."""
    shape = call.shape(index)
    call.require(len(shape) <= 1, f"its input {index} has {len(shape)} dimensions")
    sizes = along if shape not in ((), (1,)) else []
    number = cast(x, _FLOAT, f"{x}_number")
    offset = f"{cast(zero, _FLOAT, f'{x}_zero_number')}\n{reshaped(f'{x}_zero_number', sizes, f'{x}_offset')}"
    return f"{number}\n{offset}\n{x}_centered = Sub ({x}_number, {x}_offset)"


def _requantized(call: Call, lines: list[str], weight: str, along: list[int]) -> str:
    """Returns a definition from the statements of ``sum``: it is rounded, multiplied by the scales and quantized.

    Round makes sums of convolution algorithms exact that are not, such as Winograd's.
    """
    for index in (6, 7):
        call.require(call.shape(index) in ((), (1,)), "scales of the output's channels are not supported")
    single = [] if call.shape(4) in ((), (1,)) else along
    lines += [
        "whole = Round (sum)",
        f"products = Mul (x_scale, {weight}_scale)",
        reshaped("products", single, "factors"),
        reshaped("y_scale", [], "step"),
        "steps = Div (factors, step)",
        "scaled = Mul (whole, steps)",
        "one = 1.0",
        reshaped("y_zero", [], "start"),
        "y = QuantizeLinear (scaled, one, start)",
    ]
    call.remarks.append(f"{IN_FLOAT}: its weight or its scales are not those of layers of 8-bit integers")
    return _QLINEAR + "\n".join(lines)
