"""``kernels.Recurrent`` against float64, for all forms of ONNX's RNN, GRU and LSTM."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from tests.kernels.recurrences import DIRECTIONS, FUNCTIONS, GATES, USUAL, Form, Weights, oracle

Array = np.ndarray


class Sizes(NamedTuple):
    steps: int
    batch: int
    inputs: int
    units: int


UNITS = st.one_of(st.sampled_from([1, 16, 32, 33, 64]), st.integers(1, 80))
SIZES = st.builds(Sizes, st.integers(1, 12), st.one_of(st.integers(1, 5), st.just(17)), st.integers(1, 40), UNITS)
FUNCTION = st.tuples(st.sampled_from(sorted(FUNCTIONS)), st.sampled_from([0.2, 1.0]), st.sampled_from([0.5, 0.9]))


@st.composite
def forms(draw: st.DrawFn) -> Form:
    cell = draw(st.sampled_from(sorted(GATES)))
    direction = draw(st.sampled_from(sorted(DIRECTIONS)))
    count = len(USUAL[cell]) * len(DIRECTIONS[direction])
    return Form(
        cell,
        direction,
        draw(st.none() | st.tuples(*[FUNCTION] * count)),
        draw(st.sampled_from([None, None, 0.5])),
        draw(st.booleans()) and cell == "lstm",
        draw(st.booleans()) and cell == "gru",
        draw(st.booleans()),
    )


def make_weights(form: Form, sizes: Sizes, bias: bool = True, peepholes: bool = False, seed: int = 0) -> Weights:
    """Weights for which the sums of gates are near one."""
    rng = np.random.default_rng(seed)
    directions, rows = len(DIRECTIONS[form.direction]), GATES[form.cell] * sizes.units

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[-1]))

    return Weights(
        normal(directions, rows, sizes.inputs),
        normal(directions, rows, sizes.units),
        rng.standard_normal((directions, 2 * rows), np.float32) / 2 if bias else None,
        rng.standard_normal((directions, 3 * sizes.units), np.float32) / 2 if peepholes else None,
    )


def make_inputs(
    form: Form, sizes: Sizes, states: bool = True, lengths: bool = False, seed: int = 0
) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    directions = len(DIRECTIONS[form.direction])
    shapes = {"x": (sizes.steps, sizes.batch, sizes.inputs)}
    if states:
        shapes["initial_h"] = (directions, sizes.batch, sizes.units)
    if states and form.cell == "lstm":
        shapes["initial_c"] = shapes["initial_h"]
    if form.batch_first:
        shapes = {name: (shape[1], shape[0], shape[2]) for name, shape in shapes.items()}
    inputs = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    if lengths:
        inputs["sequence_lens"] = rng.integers(0, sizes.steps + 1, sizes.batch, np.int32)
    return inputs


def assert_right(answers: tuple[Array, ...], form: Form, weights: Weights, inputs: dict[str, Array]) -> None:
    expected = oracle(form, weights, **inputs)
    assert len(answers) == len(expected)
    for got, want in zip(answers, expected, strict=True):
        assert got.shape == want.value.shape
        assert np.all(np.abs(got - want.value) <= want.tolerance)


def made(form: Form, weights: Weights, **options: Any) -> kernels.Recurrent:
    return kernels.Recurrent(form.cell, *weights, *form[1:], **options)


@settings(max_examples=60, deadline=None)
@given(
    form=forms(),
    sizes=SIZES,
    given_parts=st.tuples(*[st.booleans()] * 4),
    threads=st.integers(1, 5),
    seed=st.integers(0, 999),
)
def test_agrees_with_float64(
    isa: str, form: Form, sizes: Sizes, given_parts: tuple[bool, ...], threads: int, seed: int
) -> None:
    bias, peepholes, states, lengths = given_parts
    if form.activations:  # unbounded ones grow fast, those of an LSTM to the power of 2 in each step
        sizes = sizes._replace(steps=min(sizes.steps, 2 if form.cell == "lstm" else 4))
    weights = make_weights(form, sizes, bias, peepholes and form.cell == "lstm", seed)
    inputs = make_inputs(form, sizes, states, lengths, seed)
    assert_right(made(form, weights, isa=isa, threads=threads)(**inputs), form, weights, inputs)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize(
    ("cell", "linear_before_reset"), [("rnn", False), ("gru", False), ("gru", True), ("lstm", False)]
)
def test_large_layers_on_several_threads(
    isa: str, cell: str, batch: int, threads: int, linear_before_reset: bool
) -> None:
    """Layers that threads share by units, by sequences or by directions, and whose inputs come in several chunks."""
    for direction in DIRECTIONS:
        form = Form(cell, direction, linear_before_reset=linear_before_reset)
        sizes = Sizes(130 if batch == 1 else 30, batch, 20, 200)
        weights, inputs = make_weights(form, sizes), make_inputs(form, sizes)
        assert_right(made(form, weights, isa=isa, threads=threads)(**inputs), form, weights, inputs)


@pytest.mark.parametrize("cell", GATES)
def test_steps_after_the_end_of_a_sequence_do_not_exist(isa: str, cell: str) -> None:
    form, sizes = Form(cell, "bidirectional"), Sizes(6, 3, 5, 7)
    weights, inputs = make_weights(form, sizes), make_inputs(form, sizes)
    inputs["sequence_lens"] = np.array([2, 6, 0], np.int32)
    expected = oracle(form, weights, **inputs)
    inputs["x"][2:, 0], inputs["x"][:, 2] = np.nan, np.nan
    answers = made(form, weights, isa=isa)(**inputs)
    for got, want in zip(answers, expected, strict=True):
        assert np.all(np.abs(got - want.value) <= want.tolerance)
    assert not answers[0][2:, :, 0].any()
    assert not answers[1][:, 2].any()


@pytest.mark.parametrize("cell", GATES)
def test_a_sequence_of_nan_spoils_no_other(isa: str, cell: str) -> None:
    form, sizes = Form(cell), Sizes(4, 5, 3, 20)
    weights, inputs = make_weights(form, sizes), make_inputs(form, sizes)
    op = made(form, weights, isa=isa)
    expected = op(**inputs)
    inputs["x"][1, 2, 0] = np.nan
    answers = op(**inputs)
    assert np.isnan(answers[0][1:, :, 2]).all()
    for got, want in zip(answers, expected, strict=True):
        others = np.arange(sizes.batch) != 2
        np.testing.assert_array_equal(got[..., others, :], want[..., others, :])


def test_large_gates_saturate(isa: str) -> None:
    form, sizes = Form("lstm"), Sizes(3, 2, 4, 17)
    weights, inputs = make_weights(form, sizes), make_inputs(form, sizes)
    inputs["x"] *= 1e30
    y, h, c = made(form, weights, isa=isa)(**inputs)
    assert np.all(np.abs(y) <= 1)
    assert np.isfinite(h).all()
    assert np.isfinite(c).all()


def test_results_do_not_depend_on_the_number_of_threads_beyond_rounding_order(isa: str) -> None:
    form, sizes = Form("lstm"), Sizes(20, 1, 24, 300)
    weights, inputs = make_weights(form, sizes), make_inputs(form, sizes)
    one, two = (made(form, weights, isa=isa, threads=threads)(**inputs) for threads in (1, 2))
    for got, want in zip(two, one, strict=True):
        np.testing.assert_array_equal(got, want)


def test_writes_to_out_alone(isa: str) -> None:
    canary = np.float32(-12345)
    for form in (Form("gru"), Form("lstm", "bidirectional", batch_first=True)):
        sizes = Sizes(3, 2, 5, 19)
        weights, inputs = make_weights(form, sizes), make_inputs(form, sizes)
        op = made(form, weights, isa=isa)
        expected = op(**inputs)[0]
        memory = np.full(expected.size + 64, canary)
        out = memory[32:-32].reshape(expected.shape)
        assert op(**inputs, out=out)[0] is out
        np.testing.assert_array_equal(out, expected)
        assert np.all(memory[:32] == canary)
        assert np.all(memory[-32:] == canary)


def test_one_object_in_two_threads(isa: str) -> None:
    form = Form("lstm")
    weights = make_weights(form, Sizes(1, 1, 30, 200))
    op = made(form, weights, isa=isa, threads=2)

    def run(sizes: Sizes) -> None:
        inputs = make_inputs(form, sizes)
        for _ in range(3):
            assert_right(op(**inputs), form, weights, inputs)

    with ThreadPoolExecutor(2) as executor:
        list(executor.map(run, [Sizes(40, 1, 30, 200), Sizes(20, 4, 30, 200)]))


def test_samples() -> None:
    form, sizes = Form("gru"), Sizes(3, 1, 4, 8)
    samples = made(form, make_weights(form, sizes)).time(**make_inputs(form, sizes), number=2, repeat=3)
    assert len(samples) == 3
    assert min(samples) > 0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": np.ones((3, 2, 6), np.float32)}, ValueError, r"x must have shape \(>=1, >=1, 5\), got \(3, 2, 6\)"),
        ({"x": np.ones((3, 2, 5))}, TypeError, "x must be float32, got float64"),
        ({"initial_h": np.ones((2, 2, 7), np.float32)}, ValueError, r"initial_h must have shape \(1, 2, 7\)"),
        ({"sequence_lens": np.ones(3, np.int32)}, ValueError, r"sequence_lens must have shape \(2,\)"),
        ({"sequence_lens": np.ones(2, np.int64)}, TypeError, "sequence_lens must be an int32 array, got int64"),
        (
            {"sequence_lens": np.array([3, 4], np.int32)},
            ValueError,
            "length of sequence 1 is 4; .* between 0 and the 3",
        ),
        ({"sequence_lens": np.array([-1, 3], np.int32)}, ValueError, "length of sequence 0 is -1"),
        ({"out": np.ones((3, 2, 7), np.float32)}, ValueError, r"out must have shape \(3, 1, 2, 7\)"),
    ],
)
def test_rejects_wrong_calls(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    form, sizes = Form("lstm"), Sizes(3, 2, 5, 7)
    with pytest.raises(error, match=message):
        made(form, make_weights(form, sizes))(**{**make_inputs(form, sizes), **changes})


@pytest.mark.parametrize(
    ("cell", "changes", "message"),
    [
        ("lstm", {"cell": "rnn2"}, "unknown cell 'rnn2'"),
        ("lstm", {"direction": "both"}, "unknown direction 'both'; choose from: forward, reverse, bidirectional"),
        ("lstm", {"activations": ("tanh",)}, "3 activations for each direction"),
        ("rnn", {"activations": ("sine",)}, "unknown activation 'sine'; choose from: sigmoid, "),
        ("rnn", {"clip": -1.0}, "clip must be positive"),
        ("gru", {"input_forget": True}, "for lstm only"),
        ("lstm", {"linear_before_reset": True}, "for gru only"),
        ("lstm", {"threads": 0}, "threads must be between 1 and 1024"),
        ("lstm", {"isa": "mmx"}, "mmx"),
        ("lstm", {"w": np.ones((1, 27, 5), np.float32)}, r"w must have shape \(1, 28, >=1\)"),
        ("lstm", {"r": np.ones((1, 27, 7), np.float32)}, r"r must have shape \(directions, 4 \* units, units\)"),
        ("lstm", {"b": np.ones((1, 28), np.float32)}, r"b must have shape \(1, 56\)"),
        ("gru", {"p": np.ones((1, 21), np.float32)}, "for lstm only"),
    ],
)
def test_rejects_wrong_arguments(cell: str, changes: dict[str, Any], message: str) -> None:
    weights = make_weights(Form(cell), Sizes(1, 1, 5, 7))
    with pytest.raises(ValueError, match=message):
        kernels.Recurrent(**{"cell": cell, **weights._asdict(), **changes})
