"""Einsum as products of matrices: the operators that remain, and the outputs of ONNX Runtime."""

from __future__ import annotations

import onnx
import pytest

import graph_passes
from tests.graph_passes import oracle
from tests.graph_passes.models import model, operators, remarks

SIZES = {"b": 2, "h": 3, "q": 5, "k": 7, "d": 4, "e": 6}


def einsum(equation: str, **weights: bool) -> onnx.ModelProto:
    operands = equation.partition("->")[0].replace(" ", "").split(",")
    shapes = [",".join(str(SIZES[letter]) for letter in letters) for letters in operands]
    inputs = [f"float[{shape}] x{i}" for i, shape in enumerate(shapes) if not weights.get(f"x{i}")]
    held = [f"float[{shape}] x{i}" for i, shape in enumerate(shapes) if weights.get(f"x{i}")]
    names = ", ".join(f"x{i}" for i in range(len(operands)))
    shape = f"<{', '.join(held)}>" if held else ""
    text = f"g ({', '.join(inputs)}) => (float[{','.join('ABCDEF'[: _rank(equation)])}] y) {shape}"
    return model(f'{text} {{ y = Einsum <equation = "{equation}"> ({names}) }}')


def _rank(equation: str) -> int:
    left, arrow, right = equation.replace(" ", "").partition("->")
    letters = left.replace(",", "")
    return len(right) if arrow else sum(letters.count(letter) == 1 for letter in set(letters))


@pytest.mark.parametrize(
    "equation",
    [
        *("bhqd,bhkd->bhqk", "bqhd,bkhd->bhqk", "bhqk,bhkd->bhqd", "bhqk,bkhd->bqhd", "bqd,bkd->bqk", "qbd,kbd->bqk"),
        *(
            "bqd,dhe->bqhe",
            "bqhe,hed->bqd",
            "bqd,de->bqe",
            "de,bqd->bqe",
            "qd,kd",
            "bq,bq->b",
            "q,k->qk",
            "bhq,bhk->bhqk",
        ),
        *("bhqd->bqhd", "bq, qd -> bd"),
    ],
)
def test_the_outputs_are_those_of_einsum(equation: str) -> None:
    original = einsum(equation)
    found = graph_passes.optimize(original, passes=["expand_functions"]).model
    onnx.checker.check_model(found, full_check=True)
    assert "Einsum" not in operators(found)
    oracle.assert_same(original, found, oracle.random_inputs(original, seed=1))


@pytest.mark.parametrize("equation", ["de,bqd->bqe", "bqd,dhe->bqhe"])
def test_a_constant_becomes_the_second_operand(equation: str) -> None:
    place = 0 if equation.startswith("de") else 1
    original = einsum(equation, **{f"x{place}": True})
    found = graph_passes.optimize(original, passes=["expand_functions", "fold_constants"]).model
    oracle.assert_same(original, found, oracle.random_inputs(original, seed=1))
    (product,) = (node for node in found.graph.node if node.op_type == "MatMul")
    assert product.input[1] in {tensor.name for tensor in found.graph.initializer}


@pytest.mark.parametrize(
    ("equation", "reason"),
    [
        ("bqq->bq", "a diagonal"),
        ("bqd->bq", "of one operand that sums"),
        ("bqd,qk->bk", "sums over axes of one operand"),
        ("bq,bd,bk->qdk", "of 3 operands"),
    ],
)
def test_other_equations_stay(equation: str, reason: str) -> None:
    original = einsum(equation)
    found = graph_passes.optimize(original, passes=["expand_functions"])
    assert operators(found.model) == operators(original)
    assert reason in remarks(found)
