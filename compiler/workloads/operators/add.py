"""add: a + b, both (rows, columns)."""

from __future__ import annotations

import numpy as np

import kernels
from compiler.workloads.operators.bounds import gamma
from compiler.workloads.operators.function import function_kernel
from compiler.workloads.operators.operator import Notation, OperatorDef

ADD = OperatorDef(
    name="add",
    dims=("rows", "columns"),
    inputs=lambda s: {"a": (s["rows"], s["columns"]), "b": (s["rows"], s["columns"])},
    output=lambda s: (s["rows"], s["columns"]),
    reference=lambda _, inputs: inputs["a"] + inputs["b"],
    tolerance=lambda _, inputs, _algorithm: gamma(1) * np.abs(inputs["a"] + inputs["b"]),
    kernel=function_kernel(kernels.add),
    notation=Notation("784x512", "{rows}x{columns} add".format_map),
    arguments=("a", "b"),
    networks={(3136, 256): "ResNet-50 stage 1", (784, 512): "ResNet-50 stage 2", (128, 768): "BERT-base"},
)
