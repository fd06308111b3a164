"""Which dimensions of the inputs are one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
import pytest
from onnx import TensorProto, helper

from compiler.ranged.names import has_ranges, named_sizes

A, B = range(1, 9), range(1, 513)


def model(**inputs: Sequence[int | str | None]) -> onnx.ModelProto:
    """A model of these inputs, each of which has an Identity."""
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in inputs]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in inputs.items()]
    outputs = [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None) for name in inputs]
    graph = helper.make_graph(nodes, "g", values, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


Given = Mapping[str, Sequence["int | range"]]


def names(of: onnx.ModelProto, shapes: Given) -> tuple[dict[str, range], dict[str, tuple[int | str, ...]]]:
    sizes, named = named_sizes(of, shapes)
    return {size.name: size.values for size in sizes}, named


def test_one_name_is_one_size() -> None:
    found = names(model(ids=["batch", "length"], mask=["batch", "length"]), {"ids": (A, B), "mask": (A, B)})
    assert found == ({"batch": A, "length": B}, {"ids": ("batch", "length"), "mask": ("batch", "length")})


def test_numbers_stay() -> None:
    assert names(model(x=["batch", 3]), {"x": (A, 3)}) == ({"batch": A}, {"x": ("batch", 3)})
    assert not has_ranges({"x": (1, 3)})
    assert not has_ranges(None)
    assert has_ranges({"x": (1, 3), "z": (1, A)})


def test_dimensions_without_names() -> None:
    """Those of one axis and one range are one size."""
    found = names(model(x=[None, None], z=[None, None]), {"x": (A, B), "z": (A, A)})
    sizes = {"dimension_0": A, "dimension_1": B, "z_1": A}
    assert found == (sizes, {"x": ("dimension_0", "dimension_1"), "z": ("dimension_0", "z_1")})


def test_names_become_identifiers() -> None:
    sizes, named = names(model(x=["batch size", "2*n", "größe"]), {"x": (A, B, A)})
    assert all(name.isascii() and name.isidentifier() for name in sizes)
    assert len(sizes) == 3
    assert named["x"] == tuple(sizes)


def test_two_ranges_of_one_size() -> None:
    both = {"ids": (A, B), "mask": (A, range(1, 257))}
    with pytest.raises(ValueError, match=r"^length is given as 1 to 512 and as 1 to 256$"):
        named_sizes(model(ids=["batch", "length"], mask=["batch", "length"]), both)


@pytest.mark.parametrize("values", [range(5), range(4, 5), range(9, 1, -1)], ids=str)
def test_invalid_ranges(values: range) -> None:
    with pytest.raises(
        ValueError, match=r"^size batch: a range must have at least two values, ascending from 1 or more$"
    ):
        named_sizes(model(x=["batch", 3]), {"x": (values, 3)})


def test_different_names_that_become_one_identifier() -> None:
    """They are two sizes."""
    sizes, named = names(model(x=["a b", "a-b"]), {"x": (A, A)})
    assert len(sizes) == 2
    assert len(set(named["x"])) == 2


def test_a_size_and_a_number_for_one_name() -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*length[^\n]*$"):
        named_sizes(model(ids=["batch", "length"], mask=["batch", "length"]), {"ids": (A, B), "mask": (A, 5)})
