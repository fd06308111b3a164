"""Operators that move elements, create ranges and select triangles."""

from __future__ import annotations

from graph_passes.definitions.call import Call, cast, reshaped
from graph_passes.lazy import ir


def expand_dims(call: Call) -> str:
    shape = list(call.shape(0))
    axis = int(call.constant(1).reshape(-1)[0])
    call.require(-len(shape) - 1 <= axis <= len(shape), f"its axis {axis} is not one of {len(shape) + 1}")
    place = axis % (len(shape) + 1)
    return f"(x, axis) => (y)\n{reshaped('x', [*shape[:place], 1, *shape[place:]], 'y')}"


def pad(call: Call) -> str:
    value = f"{reshaped('value', [], 'number')}\n" if call.has(2) else ""
    inputs = "x, flat_pads, number" if call.has(2) else "x, flat_pads"
    return f"""(x, pads, value) => (y)
    {reshaped("pads", [-1], "flat_pads")}
    {value}
    y = Pad {call.copied("mode")} ({inputs})"""


def range_of(call: Call) -> str:
    lines = [reshaped(name, [], f"{name}_number") for name in ("start", "limit")]
    if call.has(2):
        lines.append(reshaped("delta", [], "delta_number"))
    else:
        lines.append(f"one = Constant <value = float {{1.0}}> ()\n{cast('one', call.dtype(), 'delta_number')}")
    return "(start, limit, delta) => (y)\n" + "\n".join(
        [*lines, "y = Range (start_number, limit_number, delta_number)"]
    )


def trilu(call: Call) -> str:
    """The upper or lower triangles of matrices, from the diagonal k on."""
    rows, columns = call.shape(0)[-2:]
    k = reshaped("k", [], "diagonal") if call.has(1) else "diagonal = 0"
    keeps = "y = Where (beyond, zero, x)" if call.integer("upper", 1) else "y = Where (beyond, x, zero)"
    # upper keeps column - row >= k, lower keeps column - row <= k, so that "beyond" is one below or one above.
    border = "border = Identity (diagonal)"
    if not call.integer("upper", 1):
        border = "one = 1\nborder = Add (diagonal, one)"
    return f"""(x, k) => (y)
    {k}
    {border}
    column_numbers = [{", ".join(map(str, range(columns)))}]
    row_numbers = [{", ".join(map(str, range(rows)))}]
    {reshaped("row_numbers", [rows, 1], "rows")}
    offsets = Sub (column_numbers, rows)
    beyond = Less (offsets, border)
    nothing = Constant <value = float {{0.0}}> ()
    {cast("nothing", call.dtype(), "zero")}
    {keeps}"""


def gather_nd(call: Call) -> str:
    call.dtype(1)
    return f"(x, indices) => (y)\n{cast('indices', ir.DataType.INT64, 'whole')}\ny = GatherND (x, whole)"


def crop(call: Call) -> str:
    """Cuts borders (left, top, right, bottom) off images, or a part of a given height and width."""
    border, scale, shape = call.integers("border"), call.integers("scale"), call.shape(0)
    call.require(len(border) == 4 and len(shape) == 4, "it needs four borders and images (batch, channels, h, w)")
    left, top, right, bottom = border
    height, width = shape[2:]
    end = [top + scale[0], left + scale[1]] if scale else [height - bottom, width - right]
    # The form of Slice before opset 10, which the last opset with Crop has.
    return f"(x) => (y)\ny = Slice <axes = [2, 3], starts = [{top}, {left}], ends = {end}> (x)"
