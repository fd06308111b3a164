"""The kind of layer that an operator of a user computes. It has no workload: what it computes is not known."""

from __future__ import annotations

from compiler.workloads.operators.operator import LayerSchema

# attributes: (name, kind in ONNX's numbers, value); inputs and outputs: dtype and shape, None for an omitted input.
USER_OPERATOR = LayerSchema(
    "user_operator",
    ("domain", "operator", "attributes", "inputs", "outputs"),
    outputs=lambda attributes, _: tuple(tuple(output["shape"]) for output in attributes["outputs"]),
    dtypes=lambda attributes: tuple(output["dtype"] for output in attributes["outputs"]),
    has_workload=False,
)
