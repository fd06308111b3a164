"""Products of matrices and convolutions, with what was fused to them."""

from __future__ import annotations

from graph_passes.definitions.activations import activated
from graph_passes.definitions.call import Call

_CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_PARAMETERS = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Clip": ("min", "max"), "Elu": ("alpha",)}


def fused_matmul(call: Call) -> str:
    a, b = (_transposed(call, index, name) for index, name in enumerate("ab"))
    return f"""(a, b) => (y)
    {a}
    {b}
    product = MatMul (at, bt)
    {_scaled(call.number("alpha", 1.0), "product", "y")}"""


def _transposed(call: Call, index: int, name: str) -> str:
    """Returns the statement of ``at`` or ``bt``: the operand with its batch axes first, and its matrices transposed."""
    swap = call.integer(f"trans{name.upper()}", 0)
    batch = call.integer(f"transBatch{name.upper()}", 0)
    if not (swap or batch) or (not batch and call.rank(index) < 2):
        return f"{name}t = Identity ({name})"
    axes = list(range(call.rank(index)))
    if batch:
        call.require(len(axes) >= 3, f"transBatch{name.upper()} needs 3 dimensions, its input {index} has {len(axes)}")
        axes = [*axes[1:-1], 0, axes[-1]]
    if swap:
        axes[-2:] = [axes[-1], axes[-2]]
    return f"{name}t = Transpose <perm = {axes}> ({name})"


def _scaled(factor: float, x: str, y: str) -> str:
    return f"{y} = Identity ({x})" if factor == 1 else f"{y}_factor = {factor!r}\n{y} = Mul ({x}, {y}_factor)"


def fused_gemm(call: Call) -> str:
    name = call.text("activation")
    given = {key: call.number(f"activation_{key}", 0.0) for key in ("alpha", "beta", "gamma")}
    given = {key: value for key, value in given.items() if f"activation_{key}" in call.node.attributes}
    inputs = "a, b, c" if call.has(2) else "a, b"
    return f"""({inputs}) => (y)
    product = Gemm {call.copied("alpha", "beta", "transA", "transB")} ({inputs})
    {activated(call, name, given, "product", "y")}"""


def fused_conv(call: Call) -> str:
    name = call.text("activation")
    given = dict(zip(_PARAMETERS.get(name, ()), call.numbers("activation_params"), strict=False))
    inputs = "x, w, b" if call.has(2) else "x, w"
    residual = "sum = Add (product, z)" if call.has(3) else "sum = Identity (product)"
    return f"""(x, w, b, z) => (y)
    product = Conv {call.copied(*_CONV)} ({inputs})
    {residual}
    {activated(call, name, given, "sum", "y")}"""


def cdist(call: Call) -> str:
    """Distances of the rows of two matrices: |a - b|² = a a + b b - 2 a b, as ONNX Runtime computes it."""
    metric = call.text("metric", "sqeuclidean")
    call.require(metric in ("euclidean", "sqeuclidean"), f"its metric is {metric}")
    last = "y = Sqrt (positive)" if metric == "euclidean" else "y = Identity (positive)"
    return f"""(a, b) => (y)
    aa = Mul (a, a)
    {call.reduced("ReduceSum", "aa", [1], "of_a")}
    bb = Mul (b, b)
    {call.reduced("ReduceSum", "bb", [1], "column")}
    of_b = Transpose <perm = [1, 0]> (column)
    bt = Transpose <perm = [1, 0]> (b)
    product = MatMul (a, bt)
    two = 2.0
    twice = Mul (product, two)
    sum = Add (of_a, of_b)
    square = Sub (sum, twice)
    zero = 0.0
    positive = Max (square, zero)
    {last}"""
