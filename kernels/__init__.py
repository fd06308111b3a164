"""SIMD kernels, and measurements of the CPU that are their limits. Independent of graphs, TVM and searches."""

from kernels.attention import Attention
from kernels.block_dense import BlockDense, packed_numbers
from kernels.conv2d import Conv2d, default_conv2d_schedule, default_convolution_cycles
from kernels.conv_transpose2d import ConvTranspose2d
from kernels.dense import Dense, default_dense_schedule, narrow_tiles, register_tiles, tile_k
from kernels.images import channels_last
from kernels.installation import check_names
from kernels.machine import (
    available_dtypes,
    available_isas,
    cache_bytes,
    cpu_name,
    detect_isa,
    distribute,
    evict,
    memory_bandwidth,
    multiplies_bfloat16,
    peak_gflops,
)
from kernels.machine_model import MachineModel
from kernels.normalization import group_norm
from kernels.pooling import avg_pool2d, global_avg_pool2d, max_pool2d
from kernels.quantization import Integers, Quantization
from kernels.recurrent import Recurrent
from kernels.rowwise import activation, add, layer_norm, rms_norm, softmax
from kernels.schedule import thread_splits
from kernels.topology import Topology, usable_cores

__all__ = [
    "Attention",
    "BlockDense",
    "Conv2d",
    "ConvTranspose2d",
    "Dense",
    "Integers",
    "MachineModel",
    "Quantization",
    "Recurrent",
    "Topology",
    "activation",
    "add",
    "available_dtypes",
    "available_isas",
    "avg_pool2d",
    "cache_bytes",
    "channels_last",
    "cpu_name",
    "default_conv2d_schedule",
    "default_convolution_cycles",
    "default_dense_schedule",
    "detect_isa",
    "distribute",
    "evict",
    "global_avg_pool2d",
    "group_norm",
    "layer_norm",
    "max_pool2d",
    "memory_bandwidth",
    "multiplies_bfloat16",
    "narrow_tiles",
    "packed_numbers",
    "peak_gflops",
    "register_tiles",
    "rms_norm",
    "softmax",
    "thread_splits",
    "tile_k",
    "usable_cores",
]

check_names(__name__)
