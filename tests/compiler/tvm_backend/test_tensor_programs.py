"""Activations over their entire range, and the padding of products."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.workloads.reference import make_inputs, reference, tolerance
from compiler.workloads.target import ISAS, Target
from compiler.workloads.workload import ACTIVATIONS, Workload

tensor_programs = pytest.importorskip("compiler.tvm_backend.tensor_programs", exc_type=ImportError)
spaces_tvm = pytest.importorskip("compiler.tvm_backend.space")

pytestmark = pytest.mark.tvm


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_is_right_over_its_whole_range(activation: str) -> None:
    values = np.concatenate([np.linspace(-9, 9, 4001), [-1e30, -200, -89, -1e-30, 0, 1e-30, 89, 200, 1e30]])
    weight = values.astype(np.float32)[:, None]
    workload = Workload.dense(1, len(weight), 1, epilogue=(activation,))
    space = spaces_tvm.TvmSpace(workload, Target.from_host(num_cores=1))
    program = space.build(space.default())
    inputs = make_inputs(workload) | {"x": np.ones((1, 1), np.float32), "weight": weight}
    program.load(inputs)
    errors = np.abs(program.run() - reference(workload, inputs))
    assert np.all(errors <= tolerance(workload, inputs))


@pytest.mark.parametrize(
    ("isa", "dims", "padded"),
    [
        ("avx512", (512, 512, 64), (512, 512)),
        ("avx512", (197, 1001, 64), (198, 1008)),
        ("avx512", (577, 16, 64), (580, 16)),
        ("avx512", (23, 3, 64), (23, 16)),
        ("avx2", (197, 1001, 64), (198, 1008)),
        ("avx2", (23, 3, 64), (24, 8)),
        ("reference", (7, 3, 64), (7, 3)),
    ],
)
def test_products_are_padded_to_what_can_be_tiled(
    isa: str, dims: tuple[int, int, int], padded: tuple[int, int]
) -> None:
    features = ISAS[isa]
    target = Target("a CPU", isa, features.vector_bits, features.num_vector_registers, (1 << 15, 1 << 20), 1)
    space = spaces_tvm.TvmSpace(Workload("dense", dims), target)
    sizes = tuple(int(np.prod(d.choices[0])) for d in space.decisions)
    assert sizes == (*padded, dims[2])


@pytest.mark.parametrize(
    ("workload", "spatial"),
    [
        (Workload.conv2d(2, 14, 14, 64, 64, 3, padding=1), (2, 14, 14, 64)),
        (Workload.conv2d(1, 149, 149, 8, 33, 3, padding=1), (1, 149, 150, 48)),  # 149 is a prime
        (
            Workload.conv2d(1, 14, 14, 24, 24, 3, padding=1, groups=24),
            (1, 14, 14, 24),
        ),  # another group would have no input
    ],
    ids=str,
)
def test_columns_and_channels_of_a_convolution_are_padded(workload: Workload, spatial: tuple[int, ...]) -> None:
    features = ISAS["avx512"]
    target = Target("a CPU", "avx512", features.vector_bits, features.num_vector_registers, (1 << 15, 1 << 20), 1)
    extents = {d.name: int(np.prod(d.choices[0])) for d in spaces_tvm.TvmSpace(workload, target).decisions}
    assert tuple(extents[f"tile_{axis}"] for axis in "nhwo") == spatial
