"""The measuring core on contenders of known behaviour, and the comparison of answers; nothing here checks a time."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compiler.measure.sampling import Samples, agree, measure, speedup
from compiler.runtimes.inputs import random_inputs


def samples(median: float, rounds: int = 20, runs: int = 5, seed: int = 0) -> Samples:
    """Runs of a round are alike; rounds differ by a tenth or so."""
    rng = np.random.default_rng(seed)
    return Samples(tuple((median * float(rng.normal(1, 0.1)),) * runs for _ in range(rounds)))


def test_each_contender_has_a_slice_in_each_round_and_untimed_runs_before_it() -> None:
    calls: list[str] = []
    measured = measure({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, duration=0.02, rounds=4)
    assert list(measured) == ["a", "b"]
    slices = [name for name, before in zip(calls, [None, *calls], strict=False) if name != before]
    assert slices.count("a") + slices.count("b") <= 8  # neighbours of one name are one here
    for name, of_one in measured.items():
        assert len(of_one.rounds) == 4
        assert all(len(secs) >= 1 for secs in of_one.rounds)
        assert of_one.latencies.duration >= 0.02
        assert calls.count(name) >= of_one.latencies.count + 4


def test_the_order_of_a_round_is_random_and_seeded() -> None:
    def order(seed: int) -> list[str]:
        calls: list[str] = []
        measure({name: lambda name=name: calls.append(name) for name in "abc"}, 0, rounds=6, seed=seed)
        return [name for name, before in zip(calls, [None, *calls], strict=False) if name != before]

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_a_contender_runs_once_a_round_however_short_the_duration() -> None:
    assert measure({"a": lambda: None}, duration=0, rounds=10)["a"].latencies.count == 10


def test_progress_ends_at_one() -> None:
    told: list[float] = []
    measure({"a": lambda: None, "b": lambda: None}, duration=0, rounds=2, progress=told.append)
    assert told == [0.25, 0.5, 0.75, 1.0]


def test_an_error_of_a_contender_is_raised() -> None:
    def fails() -> None:
        raise RuntimeError("no answer")

    with pytest.raises(RuntimeError, match="no answer"):
        measure({"a": fails}, duration=0)


@pytest.mark.parametrize(
    ("duration", "rounds", "message"),
    [(1.0, 0, "rounds"), (-1.0, 1, "duration"), (math.inf, 1, "duration"), (math.nan, 1, "duration")],
)
def test_what_cannot_be_measured_is_refused(duration: float, rounds: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure({"a": lambda: None}, duration, rounds)
    with pytest.raises(ValueError, match="nothing to measure"):
        measure({}, 1.0)


def test_latencies_of_known_samples() -> None:
    latencies = Samples(((1.0, 2.0), (3.0, 4.0, 10.0))).latencies
    assert (latencies.count, latencies.duration, latencies.median) == (5, 20.0, 3.0)
    assert (latencies.average, latencies.min, latencies.throughput) == (4.0, 1.0, 0.25)
    assert latencies.p90 == pytest.approx(7.6)
    assert latencies.median < latencies.p90 < latencies.p99 < 10.0


def test_speedup_is_the_ratio_of_medians_within_its_interval() -> None:
    ours, peer = samples(1.0, seed=1), samples(2.0, seed=2)
    ratio = speedup(ours, peer)
    assert ratio.value == peer.latencies.median / ours.latencies.median
    assert ratio.low < ratio.value < ratio.high
    assert ratio.low > 1.7
    assert ratio.high < 2.3
    assert speedup(ours, peer) == ratio


def test_more_runs_of_the_same_rounds_are_no_more_certain() -> None:
    few = speedup(samples(1.0, runs=2, seed=1), samples(2.0, runs=2, seed=2))
    many = speedup(samples(1.0, runs=2000, seed=1), samples(2.0, runs=2000, seed=2))
    assert (many.low, many.high) == pytest.approx((few.low, few.high))


def test_noise_that_both_have_in_a_round_is_no_uncertainty() -> None:
    ours = samples(1.0)
    ratio = speedup(ours, Samples(tuple(tuple(3 * secs for secs in of_round) for of_round in ours.rounds)))
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((3.0, 3.0, 3.0))


def test_speedup_of_other_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="rounds differ: 20 of ours, 19 of the peer"):
        speedup(samples(1.0), samples(1.0, rounds=19))


def test_answers_agree_relative_to_the_scale_of_theirs() -> None:
    theirs = {"y": np.array([[0.0, -4.0]], np.float32), "z": np.array([1, 2])}
    assert agree(theirs, theirs) == 0
    assert agree({"y": np.array([[1.0, -4.0]], np.float32), "z": np.array([1, 2])}, theirs) == 0.25
    assert agree({"y": np.array([[0.0, -4.0]], np.float32), "z": np.array([1, 1])}, theirs) == 0.5


def test_answers_without_a_scale() -> None:
    assert agree({"y": np.array([0.5])}, {"y": np.zeros(1)}) == 0.5
    assert agree({"y": np.zeros((0, 3))}, {"y": np.zeros((0, 3))}) == 0
    assert agree({"y": np.array([-np.inf, 1.0])}, {"y": np.array([-np.inf, 2.0])}) == 0.5
    assert agree({"y": np.array([np.inf])}, {"y": np.array([-np.inf])}) == np.inf


@pytest.mark.parametrize(
    ("ours", "message"),
    [
        ({}, "outputs differ"),
        ({"x": np.zeros(2)}, "outputs differ: x and y"),
        ({"y": np.zeros((2, 1))}, r"shapes of output y differ: \(2, 1\) and \(2,\)"),
        ({"y": np.array([0, np.nan])}, "output y has elements that are not a number"),
    ],
)
def test_answers_that_cannot_be_compared_are_refused(ours: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agree(ours, {"y": np.zeros(2)})


def graph_model(shape: tuple[int | str, ...]) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    mask = helper.make_tensor_value_info("mask", TensorProto.INT64, (1, 5))
    bias = helper.make_tensor_value_info("bias", TensorProto.FLOAT, (1,))  # a weight that is an input too
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    weight = helper.make_tensor("bias", TensorProto.FLOAT, (1,), [1.0])
    return helper.make_model(
        helper.make_graph([helper.make_node("Add", ["x", "bias"], ["y"])], "g", [x, mask, bias], [y], [weight])
    )


def test_random_inputs_of_a_model_are_those_of_its_list() -> None:
    inputs = random_inputs(graph_model((1, 2, 3)))
    assert {name: (x.shape, x.dtype) for name, x in inputs.items()} == {
        "x": ((1, 2, 3), np.float32),
        "mask": ((1, 5), np.int64),
    }
    assert set(np.unique(inputs["mask"])) <= {0, 1}
    listed = random_inputs([("x", (1, 2, 3), "float32"), ("mask", (1, 5), np.int64)])
    assert agree(listed, inputs) == 0
    assert agree(random_inputs(graph_model((1, 2, 3)), seed=1), inputs) > 0


def test_an_input_of_dynamic_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="input x has a dynamic shape"):
        random_inputs(graph_model(("n", 2, 3)))
