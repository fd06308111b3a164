from __future__ import annotations

import dataclasses

import pytest

from autotune.searches.model_tasks import least_secs, tasks_of
from compiler.measure.roofline import Roofline, Traffic
from compiler.workloads.layer import Layer
from compiler.workloads.workload import Workload
from tests.autotune.synthetic import TARGET
from tests.autotune.tiny_model import dense_layer

SQUARE, SMALL = Workload.dense(64, 64, 64), Workload.dense(1, 2, 3, epilogue=("bias",))


def roofline(workload: Workload, bandwidth_gbs: float = 10.0) -> Roofline:
    return Roofline(1, workload.flops, 100.0, (Traffic(workload.bytes, bandwidth_gbs),))


def test_layers_of_one_workload_are_one_task_in_the_order_of_the_first() -> None:
    targets = {count: dataclasses.replace(TARGET, num_cores=count) for count in (1, 2)}
    softmax = Layer("s", "softmax", (2, 3), {"sizes": [2, 3]}, stages=(Workload("softmax", (2, 3)),))
    layers = [dense_layer("a", SQUARE, 2), softmax, dense_layer("b", SMALL, 1), dense_layer("c", SQUARE, 2)]
    first, second = tasks_of(layers, targets)
    assert (first.workload, first.layers, first.count, first.target) == (SQUARE, ("a", "c"), 2, targets[2])
    assert (second.workload, second.layers, second.count, second.target) == (SMALL, ("b",), 1, targets[1])


def test_nothing_is_faster_than_its_arithmetic_and_its_bytes() -> None:
    assert least_secs(SQUARE, roofline(SQUARE), fast_algorithms=False) == pytest.approx(2 * 64**3 / 100e9)
    wide = Workload.dense(1, 1000, 1000)
    assert least_secs(wide, roofline(wide)) == pytest.approx(4 * (1000 * 1000 + 2000) / 10e9)


@pytest.mark.parametrize(
    ("workload", "saving"),
    [
        (Workload.conv2d(1, 56, 56, 64, 64, 3, padding=1), 9 * 16 / 36),  # F(4×4, 3×3): Lavin and Gray 2016
        (Workload.conv2d(1, 56, 56, 64, 64, 7, stride=2, padding=3), 49 * 9 / (4 * 36)),
        (Workload.conv2d(1, 56, 56, 64, 64, 3, stride=2, padding=1), 1),
        (Workload.conv2d(1, 56, 56, 64, 64, 5, padding=2), 1),
        (Workload.conv2d(1, 56, 56, 64, 64, 1), 8 / 7),  # Strassen 1969
        (SQUARE, 8 / 7),
    ],
    ids=str,
)
def test_winograds_and_strassens_algorithms_multiply_less(workload: Workload, saving: float) -> None:
    endless = roofline(workload, bandwidth_gbs=1e9)
    assert least_secs(workload, endless) == pytest.approx(workload.flops / saving / 100e9)
    assert least_secs(workload, endless, fast_algorithms=False) == pytest.approx(workload.flops / 100e9)
