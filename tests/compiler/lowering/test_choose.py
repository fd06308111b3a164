"""The choice of threads and schedules, and the merging of equal layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

import graph_passes
from compiler.lowering.choose import Options, Plan, choose
from compiler.lowering.recognize import recognize
from compiler.lowering.schedule_source import FunctionSchedules
from compiler.workloads.records import ModelChoice
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from tests.compiler.models import graph

TARGET = Target.from_host(num_cores=1)
ALONE, IN_MODEL = Schedule("kernel", {"mr": 1}), Schedule("kernel", {"mr": 2})
TWO = graph(
    "float[64,256] x", "float[256,256] w, float[256,2] v", {"y": "a = MatMul (x, w) b = Relu (a) @ = MatMul (b, v)"}
)


@dataclass(frozen=True)
class Recorded:
    """Schedules for the first layer of a model, and for every workload."""

    first: Schedule | None = None
    every: Schedule | None = None

    def for_model(self, workloads: Sequence[Workload], _target: Target, /) -> Mapping[Workload, ModelChoice]:
        return {workloads[0]: ModelChoice(workloads[0], self.first, 3)} if self.first else {}

    def for_workload(self, _workload: Workload, _target: Target, /) -> Schedule | None:
        return self.every


def plan(original: onnx.ModelProto, options: Options, target: Target = TARGET) -> Plan:
    model = graph_passes.optimize(original, passes=(*graph_passes.DEFAULT_PASSES, "channels_last")).ir_model
    before = [(node.op_type, [value.name for value in node.inputs if value]) for node in model.graph]
    found = choose(recognize(model.graph, target, options.chains), target, options)
    after = [(node.op_type, [value.name for value in node.inputs if value]) for node in model.graph]
    assert after == before, "only rewriting changes the graph"
    return found


def schedules(options: Options, original: onnx.ModelProto = TWO) -> list[Schedule | None]:
    return [layer.schedule for layer in plan(original, options).layers]


def test_a_choice_for_the_model_takes_precedence() -> None:
    found = plan(TWO, Options(Recorded(IN_MODEL, ALONE))).layers
    assert [(layer.schedule, layer.threads) for layer in found] == [(IN_MODEL, 3), (ALONE, 1)]


def test_schedules_of_other_backends_are_ignored() -> None:
    other = Schedule("tvm", {"trace": "of another backend"})
    assert schedules(Options(FunctionSchedules(lambda _workload, _target: other))) == [None, None]


def test_fast_algorithms_are_ignored_unless_allowed() -> None:
    original = graph("float[1,8,16,16] x", "float[8,8,3,3] w", {"y": "@ = Conv (x, w)"})
    fast, direct = (Schedule("kernel", {"algorithm": name}) for name in ("winograd4", "direct"))
    for first, every, allowed, forbidden in (
        (fast, None, fast, None),
        (fast, direct, fast, direct),
        (direct, fast, direct, direct),
        (None, fast, fast, None),
    ):
        source = Recorded(first, every)
        assert schedules(Options(source), original) == [allowed]
        assert schedules(Options(source, fast_algorithms=False), original) == [forbidden]


def test_equal_calls_are_one_layer() -> None:
    """Two calls with equal weights, another with other weights, and one whose weight is equal but whose rows differ."""
    weight = np.arange(16.0).reshape(4, 4)
    original = graph(
        "float[3,4] x, float[5,4] z",
        "float[4,4] w, float[4,4] equal, float[4,4] other",
        {"y": "a = MatMul (x, w) b = MatMul (a, equal) @ = MatMul (b, other)", "t": "@ = MatMul (z, equal)"},
        w=weight,
        equal=weight,
    )
    found = plan(original, Options())
    assert found.places == (0, 0, 1, 2)
    assert [layer.calls for layer in found.layers] == [2, 1, 1]
    first, other, taller = (layer.weights["weight"] for layer in found.layers)
    assert taller is first
    assert other is not first
