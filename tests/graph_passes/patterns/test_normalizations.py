"""Normalizations in the forms that exporters write become one node, and other functions stay."""

from __future__ import annotations

import onnx
import pytest

from tests.graph_passes.models import model, operators, run_pass

CONSTANTS = """int64[1] last, float two, float epsilon, float zero, float one, float half, float minus, float share,
    float[8] gamma, float[8] beta, int64[3] kept, int64[3] all"""
NUMBERS = {
    "last": -1, "two": 2, "epsilon": 1e-3, "zero": 0, "one": 1, "half": 0.5, "minus": -0.5, "share": 1 / 8,
    "kept": [2, 3, 1], "all": [2, 3, 8],
}  # fmt: skip


def normalized(statements: str, opset: int = 18) -> onnx.ModelProto:
    names = [part.split()[-1] for part in CONSTANTS.replace("\n", " ").split(",")]
    used = [
        part
        for part, name in zip(CONSTANTS.replace("\n", " ").split(","), names, strict=True)
        if _reads(statements, name)
    ]
    numbers = {name: number for name, number in NUMBERS.items() if _reads(statements, name)}
    text = f"g (float[2,3,8] x) => (float[2,3,8] y) <{', '.join(used)}> {{ {statements} }}"
    return model(text, opset, **numbers)


def _reads(statements: str, name: str) -> bool:
    return name in statements.replace("(", " ").replace(")", " ").replace(",", " ").split()


LAYER_NORM = {
    "torch": """m = ReduceMean (x, last) d = Sub (x, m) p = Pow (d, two) v = ReduceMean (p, last) e = Add (v, epsilon)
        s = Sqrt (e) n = Div (d, s) o = Mul (n, gamma) y = Add (o, beta)""",
    "constants first": """m = ReduceMean (x, last) d = Sub (x, m) p = Mul (d, d) v = ReduceMean (p, last)
        e = Add (epsilon, v) s = Sqrt (e) q = Div (one, s) n = Mul (q, d) o = Mul (gamma, n) y = Add (beta, o)""",
    "a negative power": """m = ReduceMean (x, last) d = Sub (x, m) p = Mul (d, d) v = ReduceMean (p, last)
        e = Add (v, epsilon) q = Pow (e, minus) n = Mul (d, q) o = Mul (n, gamma) y = Add (o, beta)""",
    "keras": """m = ReduceMean (x, last) d = Sub (x, m) p = Mul (d, d) v = ReduceMean (p, last) e = Add (v, epsilon)
        s = Sqrt (e) r = Reciprocal (s) q = Mul (r, gamma) a = Mul (x, q) b = Mul (m, q) c = Sub (beta, b)
        y = Add (a, c)""",
    "jax": """t = ReduceSum <keepdims = 0> (x, last) u = Mul (x, x) w = ReduceSum <keepdims = 0> (u, last)
        m = Mul (t, share) k = Mul (w, share) g = Mul (m, m) v = Sub (k, g) z = Max (zero, v)
        f = Reshape (z, kept) e = Add (f, epsilon) s = Sqrt (e) r = Reciprocal (s) q = Mul (r, gamma)
        h = Reshape (m, kept) d = Sub (x, h) o = Mul (d, q) y = Add (o, beta)""",
    "sums": """t = ReduceSum (x, last) m = Mul (t, share) d = Sub (x, m) w = ReduceSumSquare (d, last)
        v = Mul (w, share) e = Add (v, epsilon) s = Sqrt (e) n = Div (d, s) o = Mul (n, gamma) y = Add (o, beta)""",
}


@pytest.mark.parametrize("form", LAYER_NORM)
def test_layer_normalization(form: str) -> None:
    assert operators(run_pass(normalized(LAYER_NORM[form]), "fuse_layers").model) == {"LayerNormalization": 1}


RMS_NORM = {
    "llama": """p = Pow (x, two) v = ReduceMean (p, last) e = Add (v, epsilon) s = Sqrt (e) q = Div (one, s)
        n = Mul (x, q) y = Mul (gamma, n)""",
    "reciprocal": """p = Mul (x, x) v = ReduceMean (p, last) e = Add (v, epsilon) s = Sqrt (e) q = Reciprocal (s)
        n = Mul (q, x) y = Mul (n, gamma)""",
    "quotient": """p = Mul (x, x) v = ReduceMean (p, last) e = Add (v, epsilon) s = Sqrt (e) n = Div (x, s)
        y = Mul (n, gamma)""",
    "a power": """p = Pow (x, two) v = ReduceMean (p, last) e = Add (v, epsilon) q = Pow (e, minus) n = Mul (x, q)
        y = Mul (n, gamma)""",
    "no scale": """p = Pow (x, two) v = ReduceMean (p, last) e = Add (v, epsilon) s = Sqrt (e) y = Div (x, s)""",
}


@pytest.mark.parametrize("form", RMS_NORM)
@pytest.mark.parametrize("opset", [17, 18])
def test_root_mean_square_normalization(form: str, opset: int) -> None:
    statements = RMS_NORM[form]
    if opset == 17:
        statements = statements.replace("ReduceMean (p, last)", "ReduceMean <axes = [-1]> (p)")
    found = run_pass(normalized(statements, opset), "fuse_layers")
    assert operators(found.model) == {"RMSNormalization": 1}


def test_what_is_read_elsewhere_is_computed_separately() -> None:
    """The residual connection reads x, and the mean is an output."""
    found = run_pass(
        model(
            """g (float[2,3,8] x) => (float[2,3,8] y, float[2,3,1] m) <int64[1] last, float epsilon> {
                m = ReduceMean (x, last) d = Sub (x, m) p = Mul (d, d) v = ReduceMean (p, last) e = Add (v, epsilon)
                s = Sqrt (e) n = Div (d, s) y = Add (x, n)
            }""",
            last=-1, epsilon=1e-3,
        ),
        "fuse_layers",
    )  # fmt: skip
    # d has a mean of 0, and its normalization is one of root mean squares.
    assert operators(found.model) == {"ReduceMean": 1, "Sub": 1, "RMSNormalization": 1, "Add": 1}


@pytest.mark.parametrize(
    ("shape", "axes", "gamma", "wanted"),
    [
        ("2,8,6", [1], "8,1", {"Transpose": 2, "LayerNormalization": 1}),
        ("2,8,5,6", [1], "8,1,1", {"Transpose": 2, "LayerNormalization": 1}),
        ("2,8,5,6", [2, 3], "8,1,1", {"InstanceNormalization": 1}),
        ("2,5,6,8", [1, 2], "8", {"Transpose": 2, "InstanceNormalization": 1}),
        ("2,5,6,8", [-2, -1], "8", {"InstanceNormalization": 1, "Mul": 1, "Add": 1}),
        ("2,5,6,8", [1, 2, 3], "6,8", {"LayerNormalization": 1}),
        ("2,4,2,5,6", [2, 3, 4], "4,2,1,1", {"InstanceNormalization": 1, "Mul": 1, "Add": 1}),
    ],
)
def test_other_axes(shape: str, axes: list[int], gamma: str, wanted: dict[str, int]) -> None:
    original = model(
        f"""g (float[{shape}] x) => (float[{shape}] y) <int64[{len(axes)}] axes, float epsilon, float[{gamma}] gamma,
            float[{gamma}] beta> {{
            m = ReduceMean (x, axes) d = Sub (x, m) p = Mul (d, d) v = ReduceMean (p, axes) e = Add (v, epsilon)
            s = Sqrt (e) n = Div (d, s) o = Mul (n, gamma) y = Add (o, beta)
        }}""",
        axes=axes, epsilon=1e-3,
    )  # fmt: skip
    assert operators(run_pass(original, "fuse_layers").model) == wanted


@pytest.mark.parametrize(
    "statements",
    [
        # a standard deviation plus epsilon
        """m = ReduceMean (x, last) d = Sub (x, m) p = Mul (d, d) v = ReduceMean (p, last) s = Sqrt (v)
        e = Add (s, epsilon) y = Div (d, e)""",
        # not the root
        """m = ReduceMean (x, last) d = Sub (x, m) p = Mul (d, d) v = ReduceMean (p, last) e = Add (v, epsilon)
        y = Div (d, e)""",
        # a sum in place of a mean
        """p = Mul (x, x) v = ReduceSum (p, last) e = Add (v, epsilon) s = Sqrt (e) y = Div (x, s)""",
        # a softmax-like quotient
        "v = ReduceSum (x, last) e = Add (v, epsilon) y = Div (x, e)",
        # the normalization of another value
        """p = Mul (x, x) v = ReduceMean (p, last) e = Add (v, epsilon) s = Sqrt (e) a = Abs (x) y = Div (a, s)""",
    ],
)
def test_other_functions_are_not_normalizations(statements: str) -> None:
    original = normalized(statements)
    assert operators(run_pass(original, "fuse_layers").model) == operators(original)


def test_scales_that_are_not_constant_stay() -> None:
    original = model(
        """g (float[2,3,8] x, float[8] gamma) => (float[2,3,8] y) <int64[1] last, float epsilon> {
            p = Mul (x, x) v = ReduceMean (p, last) e = Add (v, epsilon) s = Sqrt (e) n = Div (x, s) y = Mul (n, gamma)
        }""",
        last=-1, epsilon=1e-3,
    )  # fmt: skip
    assert operators(run_pass(original, "fuse_layers").model) == {"RMSNormalization": 1, "Mul": 1}
