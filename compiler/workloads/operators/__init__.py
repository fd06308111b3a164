"""The operators: one definition each, in one file, and one line in ``OPERATORS``."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.workloads.operators.add import ADD
from compiler.workloads.operators.attention import ATTENTION
from compiler.workloads.operators.block_dense import BLOCK_DENSE
from compiler.workloads.operators.channels_last import CHANNELS_LAST
from compiler.workloads.operators.conv2d import CONV2D
from compiler.workloads.operators.conv_transpose2d import CONV_TRANSPOSE2D
from compiler.workloads.operators.dense import DENSE
from compiler.workloads.operators.group_norm import GROUP_NORM
from compiler.workloads.operators.layer_norm import LAYER_NORM
from compiler.workloads.operators.operator import LayerSchema, OperatorDef
from compiler.workloads.operators.pooling import AVG_POOL2D, AVG_POOL2D_WITH_PADS, MAX_POOL2D
from compiler.workloads.operators.recurrent import GRU, LSTM, RNN
from compiler.workloads.operators.rms_norm import RMS_NORM
from compiler.workloads.operators.softmax import SOFTMAX
from compiler.workloads.operators.user_operator import USER_OPERATOR

OPERATORS: Mapping[str, OperatorDef] = {
    definition.name: definition
    for definition in (
        DENSE,
        BLOCK_DENSE,
        CONV2D,
        CONV_TRANSPOSE2D,
        ATTENTION,
        SOFTMAX,
        LAYER_NORM,
        RMS_NORM,
        GROUP_NORM,
        ADD,
        MAX_POOL2D,
        AVG_POOL2D,
        AVG_POOL2D_WITH_PADS,
        CHANNELS_LAST,
        RNN,
        GRU,
        LSTM,
    )
}
LAYER_SCHEMAS: Mapping[str, LayerSchema] = {
    schema.name: schema for definition in OPERATORS.values() for schema in definition.layers
} | {USER_OPERATOR.name: USER_OPERATOR}

__all__ = ["LAYER_SCHEMAS", "OPERATORS", "LayerSchema", "OperatorDef"]
