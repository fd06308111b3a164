"""TVM by itself: its ONNX importer, its default pipeline and no tuned schedule.

An untuned operator is its plain loop nest, on one thread, so this is slow (ResNet-50: seconds) and shows where a search
begins. Its code uses the kernels' threads, as all that TVM generates does in this process: TVM's own pool would pin the
calling thread to a core, and with it the threads that other contenders start later.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.program import tvm_pair
from compiler.runtimes.base import PeerUnavailable, Run

if TYPE_CHECKING:
    import onnx

PACKAGES = tuple(tvm_pair.REQUIRED)


def prepare(model: onnx.ModelProto, threads: int) -> Run:
    try:
        importlib.import_module("compiler.tvm_backend")  # checks the pair and shares the threads
    except ImportError as error:
        raise PeerUnavailable(str(error)) from None
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    from compiler.tvm_backend.thread_pool import generated_code_threads

    importer: Any = from_onnx  # its annotations are wrong
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an initializer that is no input, as in every model of the last years
        module = importer(model, keep_params_in_input=False)
    cpu = tvm.target.codegen.llvm_get_system_cpu()
    target = tvm.target.Target({"kind": "llvm", "mcpu": cpu, "num-cores": threads})
    device: Any = tvm.cpu()
    main = relax.VirtualMachine(tvm.compile(module, target=target), device)["main"]
    inputs_in_order = [value.name for value in model.graph.input]
    names = [output.name for output in model.graph.output]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with generated_code_threads(threads):
            answers = main(*(tvm.runtime.tensor(np.ascontiguousarray(inputs[name])) for name in inputs_in_order))
        answers = [answers] if len(names) == 1 else answers
        return {name: answer.numpy() for name, answer in zip(names, answers, strict=True)}

    return run
