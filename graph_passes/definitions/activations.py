"""Activations, some with a bias before them."""

from __future__ import annotations

import math

from graph_passes.definitions.call import Call, Undefined, sliced

# Statements from x to y. The passes recognize these forms.
_GELU = """
root = 1.4142135623730951
half = 0.5
one = 1.0
scaled = Div (x, root)
bent = Erf (scaled)
raised = Add (bent, one)
halved = Mul (x, half)
y = Mul (halved, raised)"""
_FAST_GELU = f"""
cubic = 0.044715
rate = {math.sqrt(2 / math.pi)!r}
half = 0.5
one = 1.0
squared = Mul (x, x)
cubed = Mul (squared, x)
bend = Mul (cubed, cubic)
sum = Add (x, bend)
scaled = Mul (sum, rate)
bent = Tanh (scaled)
raised = Add (bent, one)
halved = Mul (x, half)
y = Mul (halved, raised)"""


def activated(call: Call, name: str, parameters: dict[str, float], x: str, y: str) -> str:
    """Returns the statement of an activation of a fused operator.

    Raises:
        Undefined: the activation is unknown.
    """
    names = {"Elu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "LeakyRelu": ("alpha",), "Relu": (), "Sigmoid": ()}
    names |= {"Softplus": (), "Softsign": (), "Tanh": (), "ThresholdedRelu": ("alpha",), "HardSwish": ()}
    if not name:
        return f"{y} = Identity ({x})"
    if name == "Clip":
        call.since(11, "Clip with bounds as inputs")
        return f"low = {parameters['min']!r}\nhigh = {parameters['max']!r}\n{y} = Clip ({x}, low, high)"
    if name not in names:
        raise Undefined(f"its activation {name} is not supported; supported are Clip, {', '.join(names)}")
    given = ", ".join(f"{key} = {parameters[key]!r}" for key in names[name] if key in parameters)
    return f"{y} = {name} {f'<{given}>' if given else ''} ({x})"


def gelu(_call: Call) -> str:
    return f"(x) => (y){_GELU}"


def bias_gelu(_call: Call) -> str:
    return f"(a, b) => (y)\nx = Add (a, b){_GELU}"


def fast_gelu(call: Call) -> str:
    return f"(a, b) => (y)\nx = Add (a, b){_FAST_GELU}" if call.has(1) else f"(x) => (y){_FAST_GELU}"


def quick_gelu(call: Call) -> str:
    return f"""(x) => (y)
    alpha = {call.number("alpha", 1.702)!r}
    scaled = Mul (x, alpha)
    gate = Sigmoid (scaled)
    y = Mul (x, gate)"""


def bias_split_gelu(call: Call) -> str:
    size = call.shape(0)[-1]
    call.require(size % 2 == 0, f"its last axis has {size} elements, which cannot be halved")
    return f"""(a, b) => (z)
    sum = Add (a, b)
    {sliced("sum", 0, size // 2, -1, "left")}
    {sliced("sum", size // 2, None, -1, "x")}
    {_GELU}
    z = Mul (left, y)"""


def bias_add(_call: Call) -> str:
    return "(x, b, skip) => (y)\nsum = Add (x, b)\ny = Add (sum, skip)"


def affine(call: Call) -> str:
    return f"""(x) => (y)
    alpha = {call.number("alpha", 1.0)!r}
    beta = {call.number("beta", 0.0)!r}
    scaled = Mul (x, alpha)
    y = Add (scaled, beta)"""


def scaled_tanh(call: Call) -> str:
    return f"""(x) => (y)
    alpha = {call.number("alpha", 0.0)!r}
    beta = {call.number("beta", 0.0)!r}
    scaled = Mul (x, beta)
    bent = Tanh (scaled)
    y = Mul (bent, alpha)"""


def parametric_softplus(call: Call) -> str:
    return f"""(x) => (y)
    alpha = {call.number("alpha", 0.0)!r}
    beta = {call.number("beta", 0.0)!r}
    scaled = Mul (x, beta)
    bent = Softplus (scaled)
    y = Mul (bent, alpha)"""


def image_scaler(call: Call) -> str:
    bias = call.numbers("bias")
    parts = [f"b{place} = Constant <value = float[1] {{{value!r}}}> ()" for place, value in enumerate(bias)]
    joined = ", ".join(f"b{place}" for place in range(len(bias)))
    return f"""(x) => (y)
    {chr(10).join(parts)}
    vector = Concat <axis = 0> ({joined})
    bias_shape = [1, -1, 1, 1]
    bias = Reshape (vector, bias_shape)
    scale = {call.number("scale", 1.0)!r}
    scaled = Mul (x, scale)
    y = Add (scaled, bias)"""
