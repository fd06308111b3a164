"""The packages and what each may import: the table that the test, the README and the architecture picture share.

``python docs/packages.py`` prints the table of the README.
"""

from __future__ import annotations

from dataclasses import dataclass

HEAVY_SEARCH = ("gymnasium", "sb3_contrib", "stable_baselines3", "torch", "xgboost")
ONNX = ("onnx", "onnx_ir")


@dataclass(frozen=True)
class Package:
    """One package, a folder or a single file.

    Attributes:
        name: dotted; the longest name that is a prefix of a module's name is the module's package.
        purpose: one phrase, for the README and the picture.
        ours: names of the packages of this project that it may import.
        others: distributions that it may import, by import name; the standard library always may be.
    """

    name: str
    purpose: str
    ours: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


# In import order: a package may only import packages that are listed before it.
PACKAGES: tuple[Package, ...] = (
    Package("kernels", "SIMD kernels in C++ and CPU measurements; an independent library", (), ("numpy",)),
    Package(
        "graph_passes",
        "rewrites ONNX models to do less work; an independent library",
        (),
        ("numpy", *ONNX, "onnxruntime", "onnxscript"),
    ),
    Package("compiler.installation", "the optional dependencies, and the check of import names", ("kernels",)),
    Package(
        "compiler.workloads",
        "operator definitions, workloads, targets, schedules, layers, records",
        ("kernels",),
        ("ml_dtypes", "numpy"),
    ),
    Package(
        "compiler.sizes",
        "sizes that vary from run to run: expressions, and what depends on them",
        ("compiler.workloads",),
        ("numpy",),
    ),
    Package(
        "compiler.measure",
        "sampling, interleaved comparison, idle detection, core affinity, rooflines",
        ("kernels", "compiler.workloads"),
        ("mlperf_loadgen", "numpy", "psutil"),
    ),
    Package(
        "compiler.spaces",
        "schedule spaces of our kernels",
        ("kernels", "compiler.workloads"),
        ("numpy",),
    ),
    Package(
        "compiler.program",
        "compiled models: run, profile, save, load; needs neither onnx nor TVM's compiler",
        ("kernels", "compiler.installation", "compiler.workloads", "compiler.sizes", "compiler.measure"),
        ("numpy", "onnxruntime", "tvm_ffi"),
    ),
    Package(
        "compiler.partition",
        "divides a model into what is compiled and segments that ONNX Runtime runs",
        ("compiler.workloads", "compiler.program"),
        ("numpy", "onnx"),
    ),
    Package(
        "compiler.tvm_backend",
        "everything that uses TVM's compiler: importer, generic schedules, TVM's schedule space",
        (
            "kernels",
            "compiler.workloads",
            "compiler.sizes",
            "compiler.measure",
            "compiler.program",
            "compiler.partition",
        ),
        ("numpy", "onnx", "tvm", "tvm_ffi"),
    ),
    Package(
        "compiler.lowering",
        "recognize what a kernel computes, choose its schedule, rewrite the graph",
        ("graph_passes", "compiler.workloads", "compiler.spaces"),
        ("numpy", *ONNX),
    ),
    Package(
        "compiler.check",
        "compares a compiled model with ONNX Runtime; finds the pass or layer that is wrong",
        (
            *("graph_passes", "compiler.installation", "compiler.workloads", "compiler.program", "compiler.partition"),
            "compiler.lowering",
        ),
        ("numpy", "onnx"),
    ),
    Package("compiler.convert", "other formats to ONNX", (), ("numpy", "onnx", "torch")),
    Package(
        "compiler.ranged",
        "builds one program for ranges of sizes",
        (
            *("graph_passes", "compiler.workloads", "compiler.sizes", "compiler.program", "compiler.tvm_backend"),
            "compiler.lowering",
        ),
        ("numpy", *ONNX),
    ),
    Package(
        "compiler.tuning",
        "measures a program next to ONNX Runtime, and takes the faster one",
        ("graph_passes", "compiler.workloads", "compiler.measure", "compiler.program", "compiler.tvm_backend"),
        ("numpy", *ONNX),
    ),
    Package(
        "compiler.build",
        "`compiler.build`: passes, lowering, schedules, compiled model",
        (
            *("graph_passes", "compiler.installation", "compiler.workloads", "compiler.program"),
            *("compiler.tvm_backend", "compiler.lowering", "compiler.check", "compiler.convert"),
            *("compiler.ranged", "compiler.tuning"),
        ),
        ("numpy", *ONNX, "torch"),
    ),
    Package(
        "compiler.runtimes",
        "one protocol, one file per engine: ours, ONNX Runtime, OpenVINO, ncnn, TVM",
        ("graph_passes", "compiler.workloads", "compiler.program", "compiler.tvm_backend", "compiler.build"),
        ("ncnn", "numpy", *ONNX, "onnxruntime", "openvino", "tvm"),
    ),
    Package(
        "compiler",
        "the public names",
        ("compiler.installation", "compiler.workloads", "compiler.program", "compiler.check", "compiler.build"),
    ),
    Package(
        "compiler.commands",
        "`python -m compiler build | run | bench | profile`",
        (
            *("graph_passes", "compiler", "compiler.installation", "compiler.workloads", "compiler.sizes"),
            "compiler.measure",
            *("compiler.program", "compiler.build", "compiler.runtimes"),
        ),
        ("numpy", *ONNX, "rich"),
    ),
    Package("compiler.__main__", "the command line", ("compiler.commands",)),
    Package(
        "optimizer",
        "`python -m optimizer prune | distill | quantize | search`: fewer channels, training, 8-bit integers",
        (
            *("graph_passes", "compiler.installation", "compiler.workloads", "compiler.measure", "compiler.spaces"),
            *("compiler.program", "compiler.convert", "compiler", "compiler.commands"),
        ),
        ("matplotlib", "numpy", "onnx", "onnxruntime", "torch", "torch_pruning"),
    ),
    Package(
        "serving.worker",
        "the process in which the server runs models in Python",
        (),
        ("lightgbm", "ml_dtypes", "numpy", "sklearn", "skops", "xgboost"),
    ),
    Package(
        "serving",
        "`python -m serving serve | validate | infer | upload | promote | bench`: an inference server in C++",
        ("compiler.installation", "compiler.program", "compiler.commands", "serving.worker"),
        ("lightgbm", "numpy", "onnxmltools", "onnxruntime", "skl2onnx", "xgboost"),
    ),
    Package(
        "autotune.backends",
        "the schedule spaces by backend",
        ("compiler.workloads", "compiler.spaces", "compiler.tvm_backend"),
    ),
    Package(
        "autotune.cost_models",
        "predicted seconds of schedules",
        ("compiler.workloads",),
        ("numpy", "xgboost"),
    ),
    Package(
        "autotune.strategies",
        "what proposes schedules: random, evolutionary, reinforcement learning",
        ("compiler.installation", "compiler.workloads", "autotune.cost_models"),
        ("numpy", *HEAVY_SEARCH),
    ),
    Package(
        "autotune.runners",
        "measure candidates, verified first, in isolated worker processes",
        ("compiler.workloads", "compiler.measure", "autotune.backends"),
        ("numpy", "psutil"),
    ),
    Package(
        "autotune.searches",
        "searches: one workload, all layers of a model, a running model",
        (
            *("compiler.workloads", "compiler.measure"),
            *("autotune.cost_models", "autotune.strategies", "autotune.runners"),
        ),
        ("numpy",),
    ),
    Package(
        "autotune.commands",
        "options, progress, tables and reports of the search",
        (
            *("compiler", "compiler.installation", "compiler.workloads", "compiler.measure"),
            *("compiler.program", "compiler.build", "compiler.runtimes", "compiler.commands"),
            *("autotune.backends", "autotune.strategies", "autotune.runners", "autotune.searches"),
        ),
        ("matplotlib", "numpy", "psutil", "rich"),
    ),
    Package(
        "autotune",
        "`python -m autotune.search` and `autotune.tune`",
        (
            *("compiler.installation", "compiler.workloads", "autotune.backends", "autotune.strategies"),
            *("autotune.runners", "autotune.searches", "autotune.commands"),
        ),
    ),
)


def package_of(module: str) -> str:
    """Returns the package of a module: the longest listed name that is a prefix; empty if no package matches."""
    names = [p.name for p in PACKAGES if module == p.name or module.startswith(p.name + ".")]
    return max(names, key=len, default="")


def table() -> str:
    """The README's table: every package, its purpose, and what it may import."""
    rows = ["| package | purpose | imports |", "| --- | --- | --- |"]
    for package in PACKAGES:
        imports = [*(f"`{name}`" for name in package.ours), *package.others]
        purpose = package.purpose.replace("|", "\\|")
        rows.append(f"| `{package.name}` | {purpose} | {', '.join(imports)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
