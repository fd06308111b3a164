"""ONNX operators in PyTorch.

A function takes a :class:`~optimizer.training.operators.call.Call`, and returns the output, or a tuple of outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch

from optimizer.training.operators.call import Call
from optimizer.training.operators.elementwise import ELEMENTWISE
from optimizer.training.operators.images import IMAGES
from optimizer.training.operators.normalization import NORMALIZATION
from optimizer.training.operators.products import PRODUCTS
from optimizer.training.operators.reductions import REDUCTIONS
from optimizer.training.operators.shapes import SHAPES

Function: TypeAlias = Callable[[Call], torch.Tensor | tuple[torch.Tensor, ...]]

OPERATORS: Mapping[str, Function] = {**ELEMENTWISE, **IMAGES, **NORMALIZATION, **PRODUCTS, **REDUCTIONS, **SHAPES}

# The inputs of an operator that are trained if they are constants.
TRAINED_INPUTS: Mapping[str, tuple[int, ...]] = {
    "Add": (0, 1),
    "BatchNormalization": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gather": (0,),
    "Gemm": (0, 1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "MatMul": (0, 1),
    "Mul": (0, 1),
    "PRelu": (1,),
}
