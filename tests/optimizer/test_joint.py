"""Choices of widths and precisions together."""

from __future__ import annotations

import onnx
import pytest

from optimizer.divergence import Divergence
from optimizer.joint import Joint
from optimizer.prune import Problem, problem_of
from optimizer.pruning import fitting
from optimizer.pruning.kernel_times import FLOAT_BITS, INTEGER_BITS, KernelTimes
from optimizer.pruning.prepared import prepared
from optimizer.pruning.solver import Solver
from optimizer.pruning.widths import Width
from optimizer.quantize import quantize
from optimizer.samples import fitting as samples_of
from tests.optimizer.networks import classifier, samples


@pytest.fixture(scope="module")
def problem() -> Problem:
    return problem_of(prepared(classifier()), samples(), "activations", 1, 8, 0.1)


@pytest.fixture(scope="module")
def joint(problem: Problem) -> Joint:
    return Joint.of(problem, samples(), 1)


def operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


def test_the_harm_of_a_width_is_a_divergence(joint: Joint, problem: Problem) -> None:
    divergence = Divergence(problem.model, samples_of(samples(), problem.model), len(samples()["x"]), 1)
    (widest,) = problem.starts
    for group, choice in enumerate(joint.harm_of_widths):
        found = [divergence(problem.variant((*widest[:group], w, *widest[group + 1 :]))) for w in choice.widths]
        close = [
            lost == pytest.approx(max(each, 1e-9), rel=1e-6) for lost, each in zip(choice.lost, found, strict=True)
        ]
        assert any(close[:-1]) or len(close) == 1
        for lost, each in zip(choice.lost[:-1], found, strict=False):
            assert 0.1 * each < lost < 10 * each  # importance gives the other widths
        assert list(choice.lost) == sorted(choice.lost, reverse=True)
        assert choice.lost[-1] == 0


def test_the_harm_of_integers_is_that_of_quantization(joint: Joint, problem: Problem) -> None:
    errors = quantize(problem.model, samples(), threads=1, errors=True).errors
    assert joint.harm_of_integers == {error.layer: max(error.divergence, 1e-9) for error in errors}


def test_variants(joint: Joint, problem: Problem) -> None:
    in_float, in_integers = joint.starts
    assert joint.variant(in_float) == problem.variant(problem.starts[0])
    assert "QuantizeLinear" in operators(joint.variant(in_integers))
    layers = list(joint.harm_of_integers)
    one = joint.variant((*in_integers[: len(problem.choices)], FLOAT_BITS, *[INTEGER_BITS] * (len(layers) - 1)))
    made_by = {output: node.op_type for node in one.graph.node for output in node.output}
    weights = {node.name: made_by.get(node.input[1]) for node in one.graph.node if node.name in layers}
    assert weights == {name: None if name == layers[0] else "DequantizeLinear" for name in layers}


@pytest.mark.tvm
def test_times_of_both_precisions(joint: Joint, problem: Problem) -> None:
    """The cost of each measured model is what was measured, and the solver takes what is cheaper."""
    first = len(problem.choices)
    precisions = {name: Width(0, ((first + place, 1),)) for place, name in enumerate(joint.harm_of_integers)}
    narrowest = tuple(choice.widths[0] for choice in joint.choices)
    times = KernelTimes(problem.layers, narrowest, joint.starts[0], precisions)
    for start, share in zip(joint.starts, (1.0, 0.5), strict=True):
        model = joint.variant(start)
        times.correct(model, fitting.compiled(model, 1), start, share)
    price = times.cost()
    in_float, in_integers = joint.starts
    assert price(in_float) == pytest.approx(1.0)
    assert price(in_integers) == pytest.approx(0.5)
    found = Solver(joint.choices, price, price).solve(0.8)
    assert found is not None
    assert price(found) <= 0.8
    assert {FLOAT_BITS, INTEGER_BITS} == set(found[first:]), "some layers are quantized, and no more than needed"
