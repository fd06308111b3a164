"""One seed of the experiment: a trained network, and what pruning, distillation and quantization make of it.

All latencies are of whole compiled models that take turns, one image at once.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

import compiler
from benchmarks.optimizer.network import Network, initialized
from benchmarks.optimizer.settings import Settings
from compiler.convert.torch_to_onnx import export
from compiler.measure.idle import OthersWatch
from compiler.measure.sampling import measure
from compiler.program.random_inputs import random_inputs
from optimizer import Plan, Training, distill, prune, quantize
from optimizer.session import Session

CALIBRATION, TAYLOR = 64, 512  # samples
MEASURE_SECS = 1.0
OTHER_SEED = 1000  # between the seeds of a network and of others that belong to it
Samples = Mapping[str, np.ndarray]

DENSE, DENSE_INT8, HALF = "dense", "dense, int8", "half the widths, from scratch"
FAST, FAST_INT8 = "pruned by latency", "pruned by latency, int8"
FAST_BY_MACS, FAST_UNTAUGHT = "pruned by multiply-adds", "pruned by latency, labels alone"
FAST_SCRATCH = "its widths from scratch"
SMALL, SMALL_INT8 = "small, two teachers", "small, two teachers, int8"
SMALL_FIRST, SMALL_SECOND = "small, teacher 1", "small, teacher 2"
SMALL_UNTAUGHT, SMALL_SCRATCH = "small, labels alone", "small, from scratch"


@dataclass(frozen=True)
class Experiment:
    """One seed.

    Attributes:
        train, test: ``x`` and ``labels``.
        seed: of weights, of the order of images, and of their changes.
        folder: keeps trainings and plans, so that an interrupted experiment goes on.
        report: is called with the name of what begins.
    """

    train: Samples
    test: Samples
    seed: int
    settings: Settings
    folder: Path
    report: Callable[[str], None]

    def run(self) -> dict[str, Any]:
        """Returns accuracy, latency and size of each model as plain JSON, with whether each test image is right."""
        models = {name: export(module, self._example) for name, module in self._modules()}
        calibration = {"x": self._some(CALIBRATION)["x"]}
        for name, of in ((DENSE_INT8, DENSE), (FAST_INT8, FAST), (SMALL_INT8, SMALL)):
            if of in models:
                models[name] = quantize(models[of], calibration, threads=self.settings.threads).model
        self.report(f"seed {self.seed}: measuring")
        return {
            "seed": self.seed,
            **_measured(models, self.test),
        }

    def _modules(self) -> Iterator[tuple[str, torch.nn.Module]]:
        dense = self._dense
        yield DENSE, dense
        for name, cost in ((FAST, "kernels"), (FAST_BY_MACS, "macs")):
            smaller = self._pruned(name, cost=cost, share=1 / self.settings.speedup)
            if name == FAST:
                yield FAST_UNTAUGHT, self._tuned(FAST_UNTAUGHT, smaller, [])
                yield FAST_SCRATCH, self._from_scratch(FAST_SCRATCH, smaller)
            yield name, self._tuned(name, smaller, [dense])
        if self.settings.removed:
            yield from self._small(dense)

    def _small(self, first: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
        other = self.seed + OTHER_SEED  # not one of the experiment, whose results shall not depend on each other
        second = replace(self, seed=other, folder=self.folder.parent / str(other))._dense
        half = Network(tuple(width // 2 for width in self.settings.widths), self._classes)
        yield HALF, self._from_scratch(HALF, half)
        smaller = self._pruned(SMALL, cost="parameters", ratio=self.settings.removed)
        yield SMALL_SCRATCH, self._from_scratch(SMALL_SCRATCH, smaller)
        teachers = {SMALL_UNTAUGHT: [], SMALL_FIRST: [first], SMALL_SECOND: [second], SMALL: [first, second]}
        for name, taught_by in teachers.items():
            yield name, self._tuned(name, smaller, taught_by)

    @cached_property
    def _dense(self) -> torch.nn.Module:
        module = initialized(Network(self.settings.widths, self._classes), self.seed)
        return self._learned(DENSE, module, [], self.settings.epochs)

    def _pruned(self, name: str, **limit: Any) -> torch.nn.Module:
        """Returns the dense network without channels, not trained."""
        path = self.folder / f"{_file_name(name)}.json"
        if not path.exists():
            self.report(f"seed {self.seed}: {name}: widths")
            plan = prune(self._dense, data=self._some(TAYLOR), example_inputs=self._example, **limit)
            plan.save(partial_path := path.with_suffix(".partial"))
            os.replace(partial_path, path)
        return Plan.load(path).apply(self._dense, self._example)

    def _from_scratch(self, name: str, module: torch.nn.Module) -> torch.nn.Module:
        return self._learned(name, initialized(copy.deepcopy(module), self.seed + OTHER_SEED), [], self.settings.epochs)

    def _tuned(self, name: str, module: torch.nn.Module, teachers: list[torch.nn.Module]) -> torch.nn.Module:
        return self._learned(name, module, teachers, self.settings.tuning)

    def _learned(
        self, name: str, module: torch.nn.Module, teachers: list[torch.nn.Module], epochs: int
    ) -> torch.nn.Module:
        """Returns a trained copy of a module."""
        self.report(f"seed {self.seed}: {name}")
        # Weights as (out, height, width, in): CPUs train these networks 1.2 times as fast.
        student: Any = copy.deepcopy(module)
        student.to(memory_format=torch.channels_last)
        distill(
            student,
            teachers,
            self.train,
            validation=self.test,
            training=Training(epochs, learning_rate=self.settings.rate, seed=self.seed),
            augment=self.settings.augment,
            threads=self.settings.threads,
            checkpoint=self.folder / _file_name(name),
        )
        return student

    def _some(self, count: int) -> Samples:
        """Returns random samples to train on: they may be in the order of their classes."""
        chosen = np.random.default_rng(self.seed).permutation(len(self.train["labels"]))[:count]
        return {name: array[chosen] for name, array in self.train.items()}

    @property
    def _example(self) -> tuple[torch.Tensor]:
        return (torch.from_numpy(self.train["x"][:1].copy()),)

    @property
    def _classes(self) -> int:
        return int(self.train["labels"].max()) + 1


def _file_name(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "-")


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
