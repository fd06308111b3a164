"""One seed of the experiment: a trained network, and what pruning, distillation and quantization make of it.

All latencies are of whole compiled models that take turns, one image at once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
import torch

import compiler
import kernels
from benchmarks.optimizer.network import Network, initialized
from compiler.convert.torch_to_onnx import export
from compiler.measure.idle import OthersWatch
from compiler.measure.sampling import measure
from compiler.program.random_inputs import random_inputs
from optimizer import Training, distill, prune, quantize
from optimizer.session import Session

AUGMENT = "flip,shift:2"
CALIBRATION, TAYLOR = 64, 512  # samples
MEASURE_SECS = 1.0
Samples = Mapping[str, np.ndarray]

DENSE, DENSE_INT8 = "dense", "dense, int8"
LATENCY, LATENCY_INT8 = "pruned by latency", "pruned by latency, int8"
UNTAUGHT, MACS, SCRATCH = "pruned by latency, labels alone", "pruned by multiply-adds", "same widths from scratch"


@dataclass(frozen=True)
class Plan:
    """How an experiment runs.

    Attributes:
        epochs: of each training.
        speedup: how many times as fast pruned models are.
        rate: the highest rate.
        widths: channels of the dense network.
        threads: of trainings; latencies are on one thread.
    """

    epochs: int = 12
    speedup: float = 1.5
    rate: float = 2e-3
    widths: tuple[int, ...] = (16, 32, 64)
    threads: int | None = None


def run(train: Samples, test: Samples, seed: int, plan: Plan, report: Callable[[str], None]) -> dict[str, Any]:
    """Returns accuracy, latency and size of each model as plain JSON, with whether each test image is right."""
    example = (torch.from_numpy(train["x"][:1].copy()),)
    settings = Training(plan.epochs, 128, plan.rate, seed=seed)
    learn = partial(distill, data=train, validation=test, training=settings, augment=AUGMENT, threads=plan.threads)
    classes = int(train["labels"].max()) + 1

    report(f"seed {seed}: {DENSE}")
    dense = initialized(Network(plan.widths, classes), seed)
    learn(dense, [])
    modules = {DENSE: dense}
    scores = {name: array[:TAYLOR] for name, array in train.items()}
    for name, cost in ((LATENCY, "kernels"), (MACS, "macs")):
        report(f"seed {seed}: {name}")
        found = prune(dense, data=scores, cost=cost, example_inputs=example, share=1 / plan.speedup)
        smaller = found.apply(dense, example)
        if name == LATENCY:
            modules[UNTAUGHT] = copy.deepcopy(smaller)
            modules[SCRATCH] = initialized(copy.deepcopy(smaller), seed + 1000)
        learn(smaller, [dense])
        modules[name] = smaller
    for name in (UNTAUGHT, SCRATCH):
        report(f"seed {seed}: {name}")
        learn(modules[name], [])
    models = {name: export(module, example) for name, module in modules.items()}
    calibration = {"x": train["x"][:CALIBRATION]}
    for name, of in ((DENSE_INT8, DENSE), (LATENCY_INT8, LATENCY)):
        models[name] = quantize(models[of], calibration, threads=plan.threads).model
    return {
        "seed": seed,
        "epochs": plan.epochs,
        "speedup": plan.speedup,
        "widths": list(plan.widths),
        "cpu": kernels.cpu_name(),
        **_measured(models, test),
    }


def _measured(models: Mapping[str, onnx.ModelProto], test: Samples) -> dict[str, Any]:
    programs = {name: compiler.build(model, threads=1) for name, model in models.items()}
    runs = {name: partial(program.run, random_inputs(program.inputs)) for name, program in programs.items()}
    others = OthersWatch()
    samples = measure(runs, MEASURE_SECS)
    busy = others.busy_cores()
    rows = {}
    for name, model in models.items():
        right = _right(model, test)
        rows[name] = {
            "accuracy": float(right.mean()),
            "right": np.packbits(right).tolist(),
            "latency": samples[name].latencies.median,
            "parameters": sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer),
            "bytes": model.ByteSize(),
        }
    return {"isa": next(iter(programs.values())).target.isa, "cores_busy_with_others": busy, "rows": rows}


def _right(model: onnx.ModelProto, test: Samples) -> np.ndarray:
    """Returns whether the largest score is the label's, for each image."""
    session = Session(model)
    name = model.graph.input[0].name
    answers = [next(iter(session({name: image[None]}).values())).argmax() for image in test["x"]]
    return np.array(answers) == test["labels"]
