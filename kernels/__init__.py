"""Hand-written SIMD kernels and what they can be measured against. Knows nothing of graphs, TVM or search."""

from kernels.conv2d import Conv2d
from kernels.dense import Dense, default_dense_schedule, register_tiles
from kernels.machine import available_isas, cache_bytes, cpu_name, detect_isa, memory_bandwidth, peak_gflops

__all__ = [
    "Conv2d",
    "Dense",
    "available_isas",
    "cache_bytes",
    "cpu_name",
    "default_dense_schedule",
    "detect_isa",
    "memory_bandwidth",
    "peak_gflops",
    "register_tiles",
]
