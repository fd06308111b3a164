"""Packages import only what docs/packages.py allows, and commands answer before heavy imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from docs.packages import PACKAGES, Package, package_of, table

ROOT = Path(__file__).resolve().parent.parent
TOP_LEVEL = ("kernels", "graph_passes", "compiler", "optimizer", "serving", "autotune")
HEAVY = set(
    "matplotlib ncnn onnxruntime onnxscript openvino pandas sb3_contrib stable_baselines3 torch tvm xgboost".split()
)

# Modules, or folders of modules, that use one heavy library. They are imported only when it is needed.
MAY_LOAD_AT_ONCE = {
    "autotune/cost_models/xgboost.py": {"xgboost"},
    "autotune/strategies/rl.py": {"sb3_contrib", "stable_baselines3", "torch"},
    "compiler/tvm_backend": {"tvm"},
    "optimizer/adaround.py": {"torch"},
    "optimizer/calibration.py": {"onnxruntime"},
    "optimizer/pruning/taylor.py": {"torch"},
    "optimizer/pruning/torch_module.py": {"torch"},
    "optimizer/training": {"torch"},
}


def may_load_at_once(path: Path) -> set[str]:
    return {name for place, names in MAY_LOAD_AT_ONCE.items() if path.is_relative_to(ROOT / place) for name in names}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Yields the top-level packages that any statement of a tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield (node.module or "").partition(".")[0]


def imported_modules(tree: ast.AST, known: Collection[str]) -> Iterator[str]:
    """Yields the modules that any statement of a tree imports; ``known`` lists the modules of this project."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in known else node.module


class LoadedAtOnce(ast.NodeVisitor):
    """Collects the imports that run when a module is imported, without function bodies and TYPE_CHECKING blocks."""

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


def modules() -> dict[str, Path]:
    """Returns all modules of the packages in the table by dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for top in TOP_LEVEL
        for path in sources(top)
    }


def violations(package: Package, known: Collection[str], tree: ast.AST) -> set[str]:
    """Returns the forbidden imports of a module of ``package``: packages of this project, and distributions."""
    found = set()
    for name in imported_modules(tree, known):
        top = name.partition(".")[0]
        if top in TOP_LEVEL or top == "benchmarks":
            owner = package_of(name) or top
            if owner != package.name and owner not in package.ours:
                found.add(owner)
        elif top not in sys.stdlib_module_names and top not in package.others:
            found.add(top)
    return found


def test_the_table_is_in_import_order() -> None:
    for place, package in enumerate(PACKAGES):
        before = {earlier.name for earlier in PACKAGES[:place]}
        assert set(package.ours) <= before, package.name


def test_the_readme_has_the_table() -> None:
    assert table() in (ROOT / "README.md").read_text()


def test_every_module_belongs_to_a_package() -> None:
    assert {name for name in modules() if not package_of(name)} == set()
    assert {path.name for path in (ROOT / "compiler").glob("*.py")} == {"__init__.py", "__main__.py", "build.py"}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_package_imports_only_what_it_may(package: Package) -> None:
    known = modules()
    found = {
        (str(path.relative_to(ROOT)), name)
        for module, path in known.items()
        if package_of(module) == package.name
        for name in violations(package, known, ast.parse(path.read_text()))
    }
    assert not found


def test_a_violation_is_found() -> None:
    package = next(package for package in PACKAGES if package.name == "compiler.measure")
    known = {"compiler.workloads.target", "compiler.program", "compiler.program.native"}
    program = """
from compiler.workloads.target import Target
from compiler.program import native
def late():
    import torch
    from autotune.searches import tuning
"""
    assert violations(package, known, ast.parse(program)) == {"compiler.program", "torch", "autotune.searches"}


@pytest.mark.parametrize("package", TOP_LEVEL)
def test_nothing_heavy_is_imported_at_once(package: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources(package)
        for name in loaded_at_once(ast.parse(path.read_text())) & HEAVY
        if name not in may_load_at_once(path)
    }
    assert not found


def test_the_check_finds_imports_in_any_statement() -> None:
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
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert not HEAVY & set(loaded)
    assert "rich" not in loaded


@pytest.mark.parametrize("command", ["autotune", "autotune.search", "compiler", "graph_passes", "optimizer", "serving"])
def test_help_loads_nothing_heavy(command: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", command, "--help"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert answer.stdout.startswith(f"usage: python -m {command}")
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in answer.stderr.splitlines()}
    assert "numpy" in loaded, "the list of imports could not be parsed"
    assert not (HEAVY | {"onnx", "rich"}) & loaded
