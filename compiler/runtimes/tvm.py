"""Plain TVM: its ONNX importer, its default pipeline and no tuned schedules.

An untuned operator is a plain loop nest on one thread, so this is slow: ResNet-50 takes seconds. It shows where a
search begins. The generated code uses the kernels' threads, like all code of TVM in this process. TVM's own pool would
pin the calling thread to a core, and with it the threads that other runtimes start later.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.program import tvm_pair
from compiler.runtimes.base import Runtime, RuntimeUnavailable, version
from compiler.runtimes.onnx_model import inlined, input_specs, output_specs, threads_or_default

if TYPE_CHECKING:
    from compiler.runtimes.base import Model

PACKAGES = tuple(tvm_pair.REQUIRED)


def load(model: Model, threads: int | None, _operators: Sequence[Path] = ()) -> Runtime:
    try:
        importlib.import_module("compiler.tvm_backend")  # checks the pair of packages and shares the threads
    except ImportError as error:
        raise RuntimeUnavailable(str(error)) from None
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    from compiler.tvm_backend.thread_pool import generated_code_threads

    importer: Any = from_onnx  # its annotations are wrong
    found, cores = inlined(model), threads_or_default(threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about initializers that are not inputs, as in every current model
        module = importer(found, keep_params_in_input=False)
    cpu = tvm.target.codegen.llvm_get_system_cpu()
    target = tvm.target.Target({"kind": "llvm", "mcpu": cpu, "num-cores": cores})
    device: Any = tvm.cpu()
    main = relax.VirtualMachine(tvm.compile(module, target=target), device)["main"]
    input_names, output_names = ([spec.name for spec in specs(found)] for specs in (input_specs, output_specs))

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with generated_code_threads(cores):
            answers = main(*(tvm.runtime.tensor(np.ascontiguousarray(inputs[name])) for name in input_names))
        answers = [answers] if len(output_names) == 1 else answers
        return {name: answer.numpy() for name, answer in zip(output_names, answers, strict=True)}

    return Runtime("tvm", version(PACKAGES[0]), input_specs(found), output_specs(found), run)
