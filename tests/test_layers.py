"""Layers know only what lies beneath them, and a command answers before anything heavy is imported."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {"autotune", "benchmarks", "compiler", "graph_passes", "kernels"}
HEAVY = set(
    "matplotlib ncnn onnxruntime onnxscript openvino pandas sb3_contrib stable_baselines3 torch tvm xgboost".split()
)

# What each package may import, besides itself and the standard library.
MAY_IMPORT = {
    "kernels": {"numpy"},
    "graph_passes": {"numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript"},
    "compiler": {"graph_passes", "kernels", "ml_dtypes", "ncnn", "numpy", "onnx", "onnx_ir", "psutil"}
    | {"onnxruntime", "openvino", "rich", "torch", "tvm", "tvm_ffi"},
    "autotune": (OURS - {"benchmarks"}) | HEAVY | {"gymnasium", "numpy", "psutil", "rich"},
}
# These modules, or all in a folder, are about one heavy library, and are themselves imported only when it is wanted.
MAY_LOAD_AT_ONCE = {
    "autotune/cost_models/xgboost.py": {"xgboost"},
    "autotune/strategies/rl.py": {"sb3_contrib", "stable_baselines3", "torch"},
    "compiler/tvm_backend": {"tvm"},
}


def may_load_at_once(path: Path) -> set[str]:
    return {name for place, names in MAY_LOAD_AT_ONCE.items() if path.is_relative_to(ROOT / place) for name in names}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Top-level packages that the statements of a tree import, wherever they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield (node.module or "").partition(".")[0]


class LoadedAtOnce(ast.NodeVisitor):
    """Collects what importing a module itself imports: no function's body, and nothing for type checkers only."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        pass

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        pass

    def visit_If(self, node: ast.If) -> None:
        for statement in node.orelse if ast.unparse(node.test) == "TYPE_CHECKING" else [*node.body, *node.orelse]:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        self.names.update(imported(node))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.names.update(imported(node))


def loaded_at_once(tree: ast.Module) -> set[str]:
    visitor = LoadedAtOnce()
    visitor.visit(tree)
    return visitor.names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_lies_beneath_it(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package} | sys.stdlib_module_names
    strangers = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources(package)
        for name in set(imported(ast.parse(path.read_text()))) - allowed
    }
    assert not strangers


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_nothing_heavy_is_imported_at_once(package: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources(package)
        for name in loaded_at_once(ast.parse(path.read_text())) & HEAVY
        if name not in may_load_at_once(path)
    }
    assert not found


def test_the_check_sees_an_import_wherever_it_stands() -> None:
    tree = ast.parse(
        """
if TYPE_CHECKING:
    import torch
try:
    import tvm.relax
except ImportError:
    pass
class A:
    from xgboost import Booster
    def method(self):
        import matplotlib.figure
"""
    )
    assert set(imported(tree)) == {"torch", "tvm", "xgboost", "matplotlib"}
    assert loaded_at_once(tree) == {"tvm", "xgboost"}


@pytest.mark.parametrize(
    "statement",
    ["import autotune", "import compiler", "import graph_passes", "import kernels", "import autotune.search"],
)
def test_importing_loads_nothing_heavy(statement: str) -> None:
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert not HEAVY & set(loaded)
    assert "rich" not in loaded


@pytest.mark.parametrize("command", ["autotune.search", "compiler", "graph_passes"])
def test_help_loads_nothing_heavy(command: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", command, "--help"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert answer.stdout.startswith(f"usage: python -m {command}")
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in answer.stderr.splitlines()}
    assert "numpy" in loaded, "the list of imports was not understood"
    assert not (HEAVY | {"onnx", "rich"}) & loaded
