"""Every operator definition is complete, and its kernel gives the answers of its reference."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np
import pytest

import kernels
from compiler import spaces
from compiler.workloads.operators import LAYER_SCHEMAS, OPERATORS
from compiler.workloads.reference import make_inputs, reference, tolerance
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

# Small shapes that no vector length divides, in addition to the smallest sizes.
SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "dense": ((5, 19, 13),),
    "block_dense": ((5, 19, 45, 4, 16), (1, 37, 64, 8, 64), (3, 9, 40, 2, 16)),
    "conv2d": (Workload.conv2d(2, 9, 7, 6, 10, 3, stride=2, padding=1, groups=2).dims,),
    "conv_transpose2d": (
        (2, 5, 4, 6, 10, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 2),
        (1, 5, 7, 13, 3, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 1, 1, 1),
        (1, 4, 3, 5, 7, 4, 3, 3, 1, 0, 1, 2, 0, 0, 0, 1, 2, 1),
    ),
    "attention": ((2, 3, 5, 7, 8),),
    "channels_last": ((2, 3, 5, 37), (1, 4, 3, 1)),
    "softmax": ((5, 37), (3, 1)),
    "layer_norm": ((5, 37), (3, 2)),
    "rms_norm": ((5, 37), (3, 1), (2, 513)),
    "group_norm": ((2, 9, 7, 34, 17), (1, 1, 1, 3, 3)),
    "add": ((5, 37),),
    "rnn": ((1, 5, 2, 13, 37), (2, 3, 1, 1, 1)),
    "gru": ((1, 5, 2, 13, 37), (2, 3, 1, 1, 1)),
    "lstm": ((1, 5, 2, 13, 37), (2, 3, 1, 1, 1)),
    "max_pool2d": (
        Workload.max_pool2d((2, 9, 7, 19), 3, stride=2, padding=1).dims,
        (1, 9, 9, 5, 2, 3, 2, 2, 0, 1, 1, 0, 2, 1, 1),  # dilation, uneven padding and ceil_mode
    ),
    "avg_pool2d": (
        Workload.avg_pool2d((2, 9, 7, 19), 3, stride=2, padding=1).dims,
        Workload.avg_pool2d((1, 7, 5, 33), (7, 5)).dims,
        (1, 8, 8, 5, 3, 3, 2, 2, 0, 1, 1, 0, 1, 1, 1),
    ),
    "avg_pool2d_with_pads": (
        (2, 9, 7, 19, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 0),
        (1, 8, 8, 5, 3, 3, 2, 2, 0, 1, 1, 0, 1, 1, 1),
    ),
}
CASES = [(op, dims) for op, shapes in SHAPES.items() for dims in shapes]


def test_every_operator_has_cases() -> None:
    assert SHAPES.keys() == OPERATORS.keys()


@pytest.mark.parametrize("isa", kernels.available_isas())
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("op", "dims"), CASES, ids=str)
def test_the_kernel_agrees_with_the_reference(op: str, dims: tuple[int, ...], isa: str, threads: int) -> None:
    workload = Workload(op, dims)
    inputs = make_inputs(workload, seed=3)
    out = np.full(workload.output_shape, np.nan, np.float32)
    kernel = workload.operator.kernel(workload, inputs, isa=isa, threads=threads, schedule=None)
    kernel(**{name: inputs[name] for name in workload.operator.arguments}, out=out)
    assert np.all(np.abs(out - reference(workload, inputs)) <= tolerance(workload, inputs))


@pytest.mark.parametrize("op", OPERATORS)
def test_the_default_schedule_can_be_built_and_timed(op: str) -> None:
    workload = Workload(op, SHAPES[op][0])
    space = spaces.space(workload, Target.from_host(num_cores=1))
    program = space.build(space.default())
    inputs = make_inputs(workload)
    program.load(inputs)
    assert np.all(np.abs(program.run() - reference(workload, inputs)) <= tolerance(workload, inputs))
    assert len(program.time(number=1, repeat=3)) == 3
    assert (space.decisions == ()) == (workload.operator.space is None or not kernels.register_tiles(space.target.isa))


@pytest.mark.parametrize("op", OPERATORS)
def test_a_definition_is_complete(op: str) -> None:
    definition = OPERATORS[op]
    assert definition.name == op
    assert definition.dtypes
    smallest = Workload(op, SHAPES[op][0])
    assert definition.notation.describe(smallest.sizes)
    assert set(definition.notation.options) == set(definition.notation.defaults)
    assert set(definition.arguments) <= set(smallest.input_shapes)
    assert set(definition.schedule_sizes) <= set(definition.dims)
    assert set(definition.networks)
    if definition.space is not None:
        assert importlib.util.find_spec(f"compiler.spaces.{definition.space}")
    if definition.onnx:
        recognizer: Any = importlib.import_module(f"compiler.lowering.{definition.recognizer or op}")
        assert callable(recognizer.recognize)
        assert definition.layers
    for schema in definition.layers:
        assert LAYER_SCHEMAS[schema.name] is schema


def test_a_schema_rejects_what_it_does_not_list() -> None:
    schema = LAYER_SCHEMAS["dense"]
    attributes = dict.fromkeys(schema.attributes)
    schema.check(attributes, ["weight"])
    schema.check(attributes, ["weight", "bias"])
    for weights in ([], ["bias"], ["weight", "gamma"]):
        with pytest.raises(
            ValueError,
            match=r"^dense takes the weights weight, bias \(optional\), slopes \(optional\), scales \(optional\); got ",
        ):
            schema.check(attributes, weights)
    with pytest.raises(ValueError, match=r"^dense takes the attributes activation, .*; got sizes$"):
        schema.check({"sizes": []}, ["weight"])


@pytest.mark.parametrize("op", [name for name, definition in OPERATORS.items() if definition.space is None])
def test_an_operator_without_a_space_takes_no_schedule(op: str) -> None:
    workload = Workload(op, SHAPES[op][0])
    with pytest.raises(ValueError, match="has no schedule"):
        workload.operator.kernel(workload, make_inputs(workload), isa="reference", threads=1, schedule={"mr": 8})
