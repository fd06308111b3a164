"""Chains of convolutions: which convolutions form one, and its results."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compiler
import graph_passes
from compiler.lowering import precision
from compiler.lowering.choose import Options
from compiler.lowering.lower import put_kernels
from compiler.program import native, saved_model
from compiler.workloads.layer import Layer
from compiler.workloads.operators.conv2d import is_depthwise
from compiler.workloads.reference import make_inputs, reference
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target, usable_cores
from compiler.workloads.workload import Workload
from tests.compiler.models import assert_answers, graph
from tests.graph_passes import oracle

pytestmark = pytest.mark.tvm

THREADS = min(2, usable_cores())
# With a small L2, which small images exceed.
TARGET = dataclasses.replace(Target.from_host(num_cores=THREADS), cache_bytes=(4096, 16384, 65536))

WIDEN, DEPTHWISE, NARROW = (
    "e = Conv (x, w) a = Relu (e)",
    "d = Conv <pads = [1,1,1,1], group = 16> (a, v)",
    "p = Conv (d, u)",
)
WEIGHTS = "float[16,8,1,1] w, float[16,1,3,3] v, float[8,16,1,1] u"
BLOCK = f"{WIDEN} {DEPTHWISE} {NARROW} @ = Add (p, x)"


def layers(original: onnx.ModelProto, chains: bool = True, target: Target = TARGET) -> tuple[Layer, ...]:
    model = graph_passes.optimize(original, passes=(*graph_passes.DEFAULT_PASSES, "channels_last")).ir_model
    return put_kernels(model, target, Options(chains=chains))


def stages(statement: str, weights: str = WEIGHTS, side: int = 24) -> list[int]:
    """Returns the number of convolutions in each layer that is a chain, and 0 for other layers."""
    return [len(layer.stages) for layer in layers(graph(f"float[1,8,{side},{side}] x", weights, {"y": statement}))]


# Recognition


def test_a_block_of_three() -> None:
    (chain,) = layers(graph("float[1,8,20,20] x", WEIGHTS, {"y": BLOCK}))
    assert (chain.op, chain.function) == ("conv2d_chain", "loopwright.conv2d_chain")
    assert [workload.sizes["o"] for workload in chain.stages] == [16, 16, 8]
    assert [workload.epilogue for workload in chain.stages] == [("relu",), (), ("residual",)]
    assert {name: weight.shape for name, weight in chain.weights.items()} == {
        "weight0": (16, 8, 1, 1),
        "weight1": (16, 1, 3, 3),
        "weight2": (8, 16, 1, 1),
    }
    assert (chain.output_shape, chain.threads, chain.workload) == ((1, 20, 20, 8), THREADS, None)


def test_chains_can_be_disabled() -> None:
    found = layers(graph("float[1,8,20,20] x", WEIGHTS, {"y": BLOCK}), chains=False)
    assert [layer.op for layer in found] == ["conv2d"] * 3


NARROWER = "d = Conv <pads = [1,1,1,1], group = 8> (a, v)"
OTHERS = {
    "two, without a convolution after": (f"{WIDEN} @ = Conv <pads = [1,1,1,1], group = 16> (a, v)", WEIGHTS, [2]),
    "two, without a convolution before": (
        "d = Conv <pads = [1,1,1,1], group = 8> (x, v) @ = Conv (d, u)",
        "float[8,1,3,3] v, float[8,8,1,1] u",
        [2],
    ),
    "the first has a stride": (
        f"a = Conv <pads = [1,1,1,1], strides = [2,1]> (x, w) {NARROWER} @ = Conv (d, u)",
        "float[8,8,3,3] w, float[8,1,3,3] v, float[8,8,1,1] u",
        [3],
    ),
    "the first may use Winograd's algorithm": (
        f"a = Conv <pads = [1,1,1,1]> (x, w) {NARROWER} @ = Conv (d, u)",
        "float[8,8,3,3] w, float[8,1,3,3] v, float[8,8,1,1] u",
        [0, 2],
    ),
    "the last is not 1x1": (
        f"{WIDEN} {DEPTHWISE} @ = Conv <pads = [1,1,1,1]> (d, u)",
        "float[16,8,1,1] w, float[16,1,3,3] v, float[8,16,3,3] u",
        [2, 0],
    ),
    "the widened image is used twice": (
        f"{WIDEN} {DEPTHWISE} {NARROW} r = ReduceMax (a) @ = Add (p, r)",
        WEIGHTS,
        [0, 2],
    ),
    "the depthwise convolution has a residual": (
        f"{WIDEN} {DEPTHWISE} s = Add (d, a) @ = Conv (s, u)",
        WEIGHTS,
        [0, 0, 0],
    ),
}


@pytest.mark.parametrize(("statement", "weights", "expected"), OTHERS.values(), ids=OTHERS.keys())
def test_other_chains(statement: str, weights: str, expected: list[int]) -> None:
    assert stages(statement, weights) == expected


def test_images_that_fit_l2_form_no_chain() -> None:
    assert stages(BLOCK, side=11) == [0, 0, 0]


def test_weights_that_exceed_l2_form_no_chain() -> None:
    assert stages(BLOCK, "float[64,8,1,1] w, float[64,1,3,3] v, float[8,64,1,1] u".replace("64", "16"), 20) == [3]
    wide = BLOCK.replace("group = 16", "group = 64")
    assert stages(wide, "float[64,8,1,1] w, float[64,1,3,3] v, float[8,64,1,1] u") == [0, 0, 0]


# Results


def chain_of(workloads: Sequence[Workload], inputs: Sequence[dict[str, np.ndarray]]) -> Layer:
    attributes, weights = [], {}
    for place, (workload, given_) in enumerate(zip(workloads, inputs, strict=True)):
        s = workload.sizes
        pads = [s[f"pad_{side}"] for side in ("top", "left", "bottom", "right")]
        attributes.append(
            {
                "x": [s["n"], s["h"], s["w"], s["c"]],
                "weight_shape": list(given_["weight"].shape),
                "stride": [s["stride_h"], s["stride_w"]],
                "padding": pads,
                "dilation": [s["dilation_h"], s["dilation_w"]],
                "groups": s["groups"],
                "residual": "residual" in workload.epilogue,
                "activation": workload.activation,
            }
        )
        weights[f"weight{place}"] = given_["weight"]
        if "bias" in given_:
            weights[f"bias{place}"] = given_["bias"]
    stages, shape = tuple(workloads), workloads[-1].output_shape
    return Layer("chain", "conv2d_chain", shape, {"stages": attributes}, weights, stages=stages)


def run(layer: Layer, tensors: Sequence[np.ndarray], isa: str) -> np.ndarray:
    import tvm_ffi

    objects, weights = saved_model.described([layer])
    made = native.function("make_layers")(
        json.dumps(objects), [tvm_ffi.from_dlpack(weight) for weight in weights], isa, layer.threads, [], None, None
    )
    out = np.full(layer.output_shape, np.nan, np.float32)
    native.function("conv2d_chain")(made, 0, *map(tvm_ffi.from_dlpack, (*tensors, out)))
    return out


@st.composite
def chains(draw: st.DrawFn) -> list[Workload]:
    """One to three convolutions of a chain with any padding and stride; the last may have a residual."""
    sizes = st.integers(1, 9)
    n, h, w, c = draw(st.integers(1, 2)), draw(st.integers(5, 17)), draw(st.integers(5, 17)), draw(sizes)
    found: list[Workload] = []
    count = draw(st.integers(1, 3))
    for place in range(count):
        kind = draw(st.sampled_from(["pointwise", "depthwise", "any"]))
        kernel, stride, pads, dilation = (1, 1), (1, 1), (0, 0, 0, 0), (1, 1)
        o = c if kind == "depthwise" else draw(st.integers(1, 35))
        if kind != "pointwise":
            kernel = draw(st.sampled_from([(3, 3), (5, 5), (1, 3), (2, 4)]))
            stride, dilation = draw(st.sampled_from([(1, 1), (2, 2), (3, 1)])), draw(st.sampled_from([(1, 1), (2, 1)]))
            top, left, bottom, right = (draw(st.integers(0, 2)) for _ in range(4))
            pads = (top, left, bottom, right)
        epilogue = tuple(step for step in ("bias",) if draw(st.booleans()))
        epilogue += ("residual",) if place == count - 1 and draw(st.booleans()) else ()
        epilogue += draw(st.sampled_from([(), ("relu",), ("relu6",)]))
        groups = c if kind == "depthwise" else 1
        try:
            workload = Workload.conv2d(n, h, w, c, o, kernel, stride, pads, dilation, groups, epilogue=epilogue)
        except ValueError:  # the window does not fit the image
            workload = Workload.conv2d(n, h, w, c, o if groups == 1 else c, 1, epilogue=epilogue)
        found.append(workload)
        n, h, w, c = workload.output_shape
    return found


def narrowed(layer: Layer) -> Layer:
    """The chain in bfloat16: weights but those of depthwise stages, and images between stages."""
    attributes = [dict(stage) for stage in layer.attributes["stages"]]
    weights = dict(layer.weights)
    for place, workload in enumerate(layer.stages):
        if not is_depthwise(workload):
            attributes[place]["dtype"] = "bfloat16"
            weights[f"weight{place}"] = precision.bits(weights[f"weight{place}"])
    for before, after in pairwise(attributes):
        before["out_dtype"] = after["x_dtype"] = "bfloat16"
    return dataclasses.replace(layer, attributes={"stages": attributes}, weights=weights)


ISAS = [*dict.fromkeys([Target.from_host().isa, "avx2", "reference"])]
CASES = [(isa, dtype) for isa in ISAS for dtype in ("float32", "bfloat16") if (isa, dtype) != ("reference", "bfloat16")]


@pytest.mark.parametrize(("isa", "dtype"), CASES)
@settings(max_examples=150, deadline=None)
@given(workloads=chains(), rows=st.one_of(st.none(), st.integers(1, 6)), threads=st.integers(1, THREADS))
def test_agrees_with_float64(isa: str, dtype: str, workloads: list[Workload], rows: int | None, threads: int) -> None:
    try:
        Target.named(isa)
    except ValueError as error:
        pytest.skip(str(error))
    inputs = [make_inputs(workload, seed) for seed, workload in enumerate(workloads)]
    layer = dataclasses.replace(
        chain_of(workloads, inputs), threads=threads, schedule=Schedule("kernel", {"rows": rows}) if rows else None
    )
    x, roundings = inputs[0]["x"], 0
    factors = [given_["weight"] for given_ in inputs]
    if dtype == "bfloat16":
        layer, roundings = narrowed(layer), len(workloads)  # of x, and of the images between stages
        factors = [
            w if is_depthwise(workload) else w.astype(ml_dtypes.bfloat16).astype(np.float32)
            for w, workload in zip(factors, workloads, strict=True)
        ]
    residual = [inputs[-1]["residual"]] if "residual" in inputs[-1] else []
    got = run(layer, [x, *residual], isa)

    wide, magnitude, terms = x.astype(np.float64), np.abs(x).astype(np.float64), 0
    for workload, unrounded, weight in zip(workloads, inputs, factors, strict=True):
        given_ = {**unrounded, "weight": weight}
        wide = reference(workload, {**given_, "x": wide})
        # The slope of these activations is at most 1, so they do not increase the sum of magnitudes.
        linear = dataclasses.replace(
            workload, epilogue=tuple(e for e in workload.epilogue if e in ("bias", "residual"))
        )
        magnitude = reference(linear, {**{name: np.abs(value) for name, value in given_.items()}, "x": magnitude})
        terms += workload.reduction + 2
    unit = float(np.finfo(np.float32).eps) / 2
    assert got.shape == wide.shape
    assert np.all(np.abs(got - wide) <= 1.01 * (terms * unit + roundings * 2.0**-8) * magnitude)


def test_a_model_in_bfloat16() -> None:
    """The images between the layers are bfloat16, too; those of the input and the output are not."""
    target = dataclasses.replace(TARGET, cache_bytes=(4096, 1 << 14, 65536))
    model = graph("float[1,8,30,33] x", WEIGHTS, {"y": f"{BLOCK.replace('@ =', 'b =')} @ = Conv (b, w)"})
    built = compiler.build(model, target=target, precision="bfloat16")
    wanted = "bfloat16" if target.multiplies_bfloat16 else "float32"
    chain, last = built.layers
    assert (chain.op, chain.dtype, last.dtype) == ("conv2d_chain", wanted, wanted)
    assert (chain.output_dtypes, last.output_dtypes) == ((wanted,), ("float32",))
    assert [workload.dtype for workload in chain.stages] == [wanted, "float32", wanted]
    inputs = oracle.random_inputs(model, seed=2)
    want = compiler.build(model, target=target).run(inputs)["y"]
    np.testing.assert_allclose(built.run(inputs)["y"], want, rtol=0, atol=2.0**-6 * np.abs(want).max())


def test_stages_of_other_types_than_their_neighbors_make_no_sense() -> None:
    import tvm_ffi

    (chain,) = layers(graph("float[1,8,20,20] x", WEIGHTS, {"y": BLOCK}))
    stages = [dict(stage) for stage in chain.attributes["stages"]]
    for changed, message in (
        ({"out_dtype": "bfloat16"}, "this layer of float32 has no tensors of bfloat16"),
        ({"dtype": "int8"}, "dtype of stages must be float32 or bfloat16"),
    ):
        edited = {"stages": [*stages[:-1], {**stages[-1], **changed}]}
        objects, weights = saved_model.described([dataclasses.replace(chain, attributes=edited)])
        with pytest.raises(ValueError, match=message):
            native.function("make_layers")(
                json.dumps(objects),
                [tvm_ffi.from_dlpack(saved_model.writable(weight)) for weight in weights],
                TARGET.isa,
                THREADS,
                [],
                None,
                None,
            )


@pytest.mark.parametrize("rows", [1, 3, 7, 1000])
def test_in_a_model(rows: int) -> None:
    original = graph("float[2,8,30,33] x", WEIGHTS, {"y": BLOCK})
    built = compiler.build(original, target=TARGET)
    (chain,) = built.layers
    assert chain.op == "conv2d_chain"
    inputs = oracle.random_inputs(original, seed=2)
    assert_answers(built, original, inputs)
    other = built.with_schedules({0: Schedule("kernel", {"rows": rows})})
    (schedule,) = other.schedules()
    assert schedule is not None
    assert schedule.values == {"rows": min(rows, 30)}
    np.testing.assert_array_equal(other.run(inputs)["y"], built.run(inputs)["y"])


def test_in_a_profile() -> None:
    original = graph("float[1,8,30,33] x", WEIGHTS, {"y": BLOCK})
    built = compiler.build(original, target=TARGET)
    row = next(row for row in built.profile(oracle.random_inputs(original, seed=2), runs=1) if row.backend == "kernel")
    assert row.op == "conv2d_chain 1x30x33x8 -> 1x30x33x8, 3 convolutions"
    assert None not in (row.gflops, row.roofline)


def test_as_json_and_back() -> None:
    (chain,) = layers(graph("float[1,8,20,20] x", WEIGHTS, {"y": BLOCK}))
    back = Layer.from_json(json.loads(json.dumps(chain.to_json(dict.fromkeys(chain.weights, 0)))), chain.weights)
    assert back == chain


STAGE = {"x": [1, 20, 20, 8], "weight_shape": [16, 8, 1, 1], "stride": [1, 1], "padding": [0, 0, 0, 0]}
STAGE |= {"dilation": [1, 1], "groups": 1, "residual": False, "activation": None}
NEXT = {**STAGE, "x": [1, 20, 20, 16], "weight_shape": [16, 1, 3, 3], "groups": 16}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"stages": []}, "there must be at least one stage"),
        ({"stages": [3]}, "stages must be a list of objects"),
        ({"stages": 3}, "stages must be a list"),
        ({"stages": [STAGE, STAGE]}, "weight1 must be a contiguous float32 weight"),
        ({"stages": [{**STAGE, "residual": True}, NEXT]}, "and only the last may have a residual"),
        ({"schedule": {"rows": 0}}, "schedule: rows must be at least 1"),
        ({"schedule": {"lines": 2}}, "schedule lacks 'rows'"),
    ],
)  # fmt: skip
def test_descriptions_that_make_no_sense(entries: dict[str, Any], message: str) -> None:
    import tvm_ffi

    (description,), weights = saved_model.described(layers(graph("float[1,8,20,20] x", WEIGHTS, {"y": BLOCK})))
    objects = [description | entries]
    with pytest.raises(ValueError, match=message):
        native.function("make_layers")(
            json.dumps(objects),
            [tvm_ffi.from_dlpack(saved_model.writable(weight)) for weight in weights],
            TARGET.isa,
            THREADS,
            [],
            None,
            None,
        )
