"""docs/graph_passes.md has a section for every pass, and its example models show what the text describes."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import onnx
import onnx.parser
import pytest

import graph_passes
from graph_passes.patterns.activations import ACTIVATIONS
from graph_passes.patterns.layers import OPERATORS, FusedLayer
from tests.graph_passes import oracle

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "graph_passes.md").read_text(encoding="utf-8")


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look up their types there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load(DOCS / "draw_passes.py")


def section(name: str) -> str:
    found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"docs/graph_passes.md has no section {name}"
    return found.group(1)


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("name", graph_passes.PASSES)
def test_every_pass_has_a_section_and_a_picture(name: str, script: ModuleType) -> None:
    text = section(name)
    assert f"](graph_passes/{name}.svg)" in text
    assert (DOCS / "graph_passes" / f"{name}.svg").is_file()
    assert name in script.EXAMPLES
    assert "**Limits" in text
    assert "**Parameters.**" in text


# Without float32_layers, whose answers are closer to float64 than before: its own test compares them.
@pytest.mark.parametrize("name", [name for name in graph_passes.PASSES if name != "float32_layers"])
def test_the_models_that_are_drawn_answer_as_before(name: str, script: ModuleType) -> None:
    example = script.outcome(name)
    onnx.checker.check_model(example.after, full_check=True)
    oracle.assert_same(example.before, example.after, oracle.random_inputs(example.after, 0))


def test_freeze_shapes_is_shown_with_all_shapes_known(script: ModuleType) -> None:
    example = script.outcome("freeze_shapes")
    assert example.report.macs_before is None
    assert example.report.macs_after is not None
    assert [value.name for value in example.before.graph.input] == ["x", "weight"]
    assert [value.name for value in example.after.graph.input] == ["x"]
    assert operators(example.before) - operators(example.after) == {"ConstantOfShape": 1}
    values = [*example.after.graph.value_info, *example.after.graph.output]
    assert all(d.HasField("dim_value") for value in values for d in value.type.tensor_type.shape.dim)


def test_fold_constants_is_shown_with_eight_nodes_that_become_three(script: ModuleType) -> None:
    example = script.outcome("fold_constants")
    assert (example.report.nodes_before, example.report.nodes_after) == (8, 3)
    assert operators(example.after) == {"GlobalAveragePool": 1, "Reshape": 1, "Gemm": 1}


def test_fold_batch_norm_is_shown_with_two_folds_and_one_scale_and_shift(script: ModuleType) -> None:
    example = script.outcome("fold_batch_norm")
    assert operators(example.before)["BatchNormalization"] == 2
    assert [n.op_type for n in example.after.graph.node] == ["Conv", "Relu", "Conv", "Add", "Mul", "Add", "Relu"]


def test_optimize_strides_is_shown_with_fewer_multiply_adds(script: ModuleType) -> None:
    example = script.outcome("optimize_strides")
    assert example.report.macs_after < example.report.macs_before
    assert operators(example.after) - operators(example.before) == {"MaxPool": 1}


def test_fuse_layers_is_shown_with_one_node_a_layer(script: ModuleType) -> None:
    example = script.outcome("fuse_layers")
    assert operators(example.after) == {"Conv_bias_residual_relu": 1, "MatMul_bias_gelu": 1}


def test_channels_last_is_shown_with_a_transpose_at_the_edge_alone(script: ModuleType) -> None:
    example = script.outcome("channels_last")
    assert [n.op_type for n in example.after.graph.node if n.op_type == "Transpose"] == ["Transpose"]
    assert example.after.graph.node[0].op_type == "Transpose"
    assert example.report.macs_after == example.report.macs_before


@pytest.mark.parametrize("name", graph_passes.PASSES)
def test_pictures_fit_on_a_page(name: str, script: ModuleType, tmp_path: Path) -> None:
    script.draw(name, tmp_path / "drawn.svg")  # raises if they do not
    assert (tmp_path / "drawn.svg").stat().st_size > 10_000


def test_pictures_are_the_same_every_time(script: ModuleType, tmp_path: Path) -> None:
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    for path in (first, second):
        script.draw("optimize_strides", path)
    assert first.read_bytes() == second.read_bytes()


def test_the_tables_of_layers_are_complete() -> None:
    text = section("fuse_layers")
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\|([^|]*)\|$", text, re.MULTILINE))
    for name, activation in ACTIVATIONS.items():
        assert rows[name].replace(",", " ").split() == list(activation.attributes)
        at_a_call = FusedLayer("Conv", activation=name).activation_attributes
        assert at_a_call == [f"activation_{attribute}" for attribute in activation.attributes]
    assert set(rows) >= {*OPERATORS, *ACTIVATIONS}
    for operator, attributes in OPERATORS.items():
        assert all(attribute.partition(":")[0] in rows[operator] for attribute in attributes)


def test_the_function_that_is_shown_is_the_one_that_is_made() -> None:
    layer = FusedLayer.named("Conv_bias_residual_relu")
    assert layer is not None
    shown = section("fuse_layers").split("```")[1]
    assert all(line in re.sub(r"\s+", " ", shown) for line in layer.body())
    assert f"({', '.join(layer.inputs)}) => (y)" in shown


def test_the_pass_that_is_shown_works(tmp_path: Path) -> None:
    file = tmp_path / "drop_double_negation.py"
    file.write_text(section("Add a pass").split("```python")[1].split("```")[0], encoding="utf-8")
    shown = load(file)
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        g (float[2] x) => (float[2] y, float[2] z) {
            a = Relu (x)  b = Neg (a)  y = Neg (b)
            c = Neg (x)  z = Neg (c)
        }"""
    )
    optimized = graph_passes.optimize(model, passes=[shown.DropDoubleNegation()])
    assert operators(optimized.model) == {"Relu": 1, "Neg": 2}
    assert len(optimized.reports[0].remarks) == 1
    oracle.assert_same(model, optimized.model, oracle.random_inputs(model, 0))
