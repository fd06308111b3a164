"""``compiler.build`` uses the schedules that searches store."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from autotune import backends
from compiler.workloads.database import Records
from compiler.workloads.records import Measurement, ModelChoice, Record, model_key
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target, usable_cores
from tests.autotune.tiny_model import CLASSIFIER, CONVOLUTION, WORKLOADS, tiny_model


def reference_answer(x: np.ndarray) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(tiny_model().SerializeToString()).run(None, {"x": x})[0]


@pytest.mark.tvm
def test_a_model_uses_its_own_choices_first(tmp_path: Path) -> None:
    """Then it uses the fastest record. Both give ONNX Runtime's answer."""
    import compiler

    path, target = tmp_path / "r.sqlite", Target.from_host(num_cores=1)
    space = backends.space("kernel", CONVOLUTION, target, fast_algorithms=False)
    if not space.decisions:
        pytest.skip("this CPU's kernels have no schedules to choose from")
    alone, other = [neighbor for *_, neighbor in space.neighbors(space.default())][:2]
    with Records(path) as records:
        for workload in WORKLOADS:
            best = alone if workload == CONVOLUTION else backends.space("kernel", workload, target).default()
            records.add(Record(workload, target, best, Measurement((1e-9,))))
        records.choose(model_key(WORKLOADS), target, [ModelChoice(CONVOLUTION, other, 1)])
        records.choose(model_key(WORKLOADS[1:]), target, [ModelChoice(CLASSIFIER, other, 1)])  # of another model
    x = np.random.default_rng(1).standard_normal((1, 16, 8, 8)).astype(np.float32)
    for wanted in (other, alone):
        model = compiler.build(tiny_model(), threads=1, schedules=path)
        of_workload = {layer.workload: layer.schedule for layer in model.layers if layer.workload}
        assert of_workload[CONVOLUTION] == wanted
        assert of_workload[CLASSIFIER] == backends.space("kernel", CLASSIFIER, target).default()
        # Sums of 144, 144 and 16 products: 304 roundings of numbers near 1 are far below this.
        np.testing.assert_allclose(model.run({"x": x})["y"], reference_answer(x), rtol=1e-4, atol=1e-5)
        with Records(path) as records:
            records.choose(model_key(WORKLOADS), target, [])


@pytest.mark.tvm
def test_a_choice_decides_on_threads_but_not_on_fast_algorithms(tmp_path: Path) -> None:
    import compiler

    if usable_cores() < 2:
        pytest.skip("one core")
    path, target = tmp_path / "r.sqlite", Target.from_host(num_cores=2)
    chosen_schedule = Schedule("kernel", {"algorithm": "winograd4"})
    default = compiler.build(tiny_model(), threads=2)
    (classifier,) = [place for place, layer in enumerate(default.layers) if layer.workload == CLASSIFIER]
    assert default.layers[classifier].threads == 1
    spelled_out = default.with_layers({classifier: dataclasses.replace(default.layers[classifier], threads=2)})
    explicit = spelled_out.schedules()[classifier]
    assert explicit
    with Records(path) as records:
        records.choose(
            model_key(WORKLOADS),
            target,
            [ModelChoice(CLASSIFIER, explicit, 2), ModelChoice(CONVOLUTION, chosen_schedule, 1)],
        )
    model = compiler.build(tiny_model(), threads=2, schedules=path, fast_algorithms=False)
    assert (model.layers[classifier].threads, model.layers[classifier].schedule) == (2, explicit)
    assert all(layer.schedule is None for layer in model.layers if layer.workload == CONVOLUTION)
    x = np.random.default_rng(1).standard_normal((1, 16, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(model.run({"x": x})["y"], reference_answer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.tvm
def test_a_model_uses_the_winner_of_a_search(tmp_path: Path) -> None:
    import compiler

    path, target = tmp_path / "r.sqlite", Target.from_host(num_cores=1)
    space = backends.space("kernel", CONVOLUTION, target)
    lucky = next((neighbor for *_, neighbor in space.neighbors(space.default())), None)
    if lucky is None:
        pytest.skip("this CPU's kernels have no schedules to choose from")
    with Records(path) as records:
        for schedule, secs in [(space.default(), 1e-3), (lucky, 1e-9)]:
            records.add(Record(CONVOLUTION, target, schedule, Measurement((secs,))))
    for winner in (None, space.default(), lucky):
        if winner is not None:
            with Records(path) as records:
                records.set_winner(CONVOLUTION, target, winner)
        model = compiler.build(tiny_model(), threads=1, schedules=path)
        used = {layer.schedule for layer in model.layers if layer.workload == CONVOLUTION}
        assert used == {winner or lucky}, "without a winner, the fastest record"
