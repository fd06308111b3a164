from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

class Attention:
    def __init__(
        self,
        heads: int,
        head_dim: int,
        scale: float | None,
        isa: str | None,
        threads: int,
        schedule: Mapping[str, Any] | None,
        or_zero: bool,
        machine: MachineModel | None,
        dtype: str,
    ) -> None: ...
    def __call__(
        self, q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None, out: np.ndarray | None
    ) -> np.ndarray: ...
    def time(
        self,
        q: np.ndarray,
        k: np.ndarray,
        v: np.ndarray,
        mask: np.ndarray | None,
        out: np.ndarray | None,
        number: int,
        repeat: int,
    ) -> list[float]: ...
    def schedule(self, batch: int, queries: int, keys: int) -> dict[str, Any]: ...

class Recurrent:
    def __init__(
        self,
        cell: str,
        w: np.ndarray,
        r: np.ndarray,
        b: np.ndarray | None,
        p: np.ndarray | None,
        reverse: Sequence[bool],
        activations: Sequence[tuple[str, float, float]],
        clip: float,
        input_forget: bool,
        linear_before_reset: bool,
        batch_first: bool,
        isa: str | None,
        threads: int,
    ) -> None: ...
    def __call__(
        self,
        x: np.ndarray,
        sequence_lens: np.ndarray | None,
        initial_h: np.ndarray | None,
        initial_c: np.ndarray | None,
        out: np.ndarray | None,
    ) -> tuple[np.ndarray, ...]: ...
    def time(
        self,
        x: np.ndarray,
        sequence_lens: np.ndarray | None,
        initial_h: np.ndarray | None,
        initial_c: np.ndarray | None,
        out: np.ndarray | None,
        number: int,
        repeat: int,
    ) -> list[float]: ...

class FunctionCall:
    def run(self) -> np.ndarray: ...
    def time(self, number: int, repeat: int) -> list[float]: ...

class _PackedLayer:  # only here: what the classes of layers with packed weights have in common
    def __call__(self, x: np.ndarray, out: np.ndarray | None, residual: np.ndarray | None) -> np.ndarray: ...
    def time(
        self, x: np.ndarray, out: np.ndarray | None, residual: np.ndarray | None, number: int, repeat: int
    ) -> list[float]: ...

class Dense(_PackedLayer):
    def __init__(
        self,
        weight: np.ndarray,
        bias: np.ndarray | None,
        activation: str | None,
        slopes: np.ndarray | None,
        quantization: tuple[Any, ...] | None,
        isa: str | None,
        threads: int,
        schedule: Mapping[str, Any] | None,
        machine: MachineModel | None,
    ) -> None: ...
    def schedule(self, m: int) -> dict[str, Any]: ...

class BlockDense(_PackedLayer):
    def __init__(
        self,
        numbers: np.ndarray,
        scales: np.ndarray,
        k: int,
        bits: int,
        block: int,
        zero_points: np.ndarray | None,
        bias: np.ndarray | None,
        activation: str | None,
        slopes: np.ndarray | None,
        isa: str | None,
        threads: int,
    ) -> None: ...

class Conv2d(_PackedLayer):
    def __init__(
        self,
        weight: np.ndarray,
        bias: np.ndarray | None,
        stride: tuple[int, int],
        padding: tuple[int, int, int, int],
        dilation: tuple[int, int],
        groups: int,
        activation: str | None,
        slopes: np.ndarray | None,
        quantization: tuple[Any, ...] | None,
        isa: str | None,
        threads: int,
        schedule: Mapping[str, Any] | None,
        machine: MachineModel | None,
    ) -> None: ...
    def evict_weights(self, n: int, h: int, w: int) -> None: ...
    def schedule(self, n: int, h: int, w: int) -> dict[str, Any]: ...

class ConvTranspose2d(_PackedLayer):
    def __init__(
        self,
        weight: np.ndarray,
        bias: np.ndarray | None,
        stride: tuple[int, int],
        padding: tuple[int, int, int, int],
        dilation: tuple[int, int],
        groups: int,
        output_padding: tuple[int, int],
        activation: str | None,
        slopes: np.ndarray | None,
        isa: str | None,
        threads: int,
        width: int,
        machine: MachineModel | None,
    ) -> None: ...
    def evict_weights(self) -> None: ...

class MachineModel:
    cpu: str
    measured: bool
    cores: int
    ghz: float
    cache_bytes: tuple[int, int, int]
    @staticmethod
    def parse(text: str) -> MachineModel: ...
    @staticmethod
    def interpolated(cores: int) -> MachineModel: ...
    @staticmethod
    def host() -> MachineModel: ...
    @staticmethod
    def built_in() -> list[MachineModel]: ...
    def bandwidth_per_thread(self, level: int, threads: int) -> float: ...
    def fork_join_cycles(self, threads: int) -> float: ...
    def barrier_cycles(self, threads: int) -> float: ...
    def tile_cycles(self, isa: str, dtype: str, rows: int, halves: int, k: float, level: int) -> float: ...
    def id(self) -> str: ...
    def text(self) -> str: ...

class Topology:
    cpus: list[tuple[int, int, int, bool]]
    quota: float | None
    @staticmethod
    def read(root: str, mask: Sequence[int] | None) -> Topology: ...
    def most_threads(self) -> int: ...
    def default_threads(self) -> int: ...
    def order(self) -> list[int]: ...
    def cpus_for(self, threads: int) -> list[int]: ...
    def description(self, threads: int) -> str: ...

def usable_cores() -> int: ...
def cpu_key() -> str: ...
def lanes(isa: str, dtype: str) -> int: ...
def tile_k(isa: str, dtype: str) -> int: ...
def has_half_tile(isa: str, dtype: str, rows: int, vectors: int) -> bool: ...
def host_model_file() -> str: ...
def host_model_error() -> str: ...
def clock_ghz() -> float: ...
def tile_secs(
    isa: str, dtype: str, rows: int, halves: int, k: int, level: int, prefetch_bytes: int, series: int
) -> float: ...
def transform_secs(isa: str, which: int, vectors: int) -> tuple[float, float]: ...
def strassen_sum_secs(isa: str) -> float: ...
def cell_secs(isa: str) -> float: ...
def fork_join_secs(threads: int) -> float: ...
def barrier_secs(threads: int) -> float: ...
def available_isas() -> tuple[str, ...]: ...
def cpu_name() -> str: ...
def cache_bytes() -> tuple[int, int, int]: ...
def available_dtypes(isa: str | None) -> tuple[str, ...]: ...
def multiplies_bfloat16(isa: str | None) -> bool: ...
def narrow_tiles(isa: str, dtype: str) -> list[tuple[int, int]]: ...
def register_tiles(isa: str, dtype: str) -> list[tuple[int, int]]: ...
def thread_splits(threads: int) -> list[tuple[int, int]]: ...
def peak_gflops(isa: str | None, threads: int, dtype: str) -> float: ...
def distribute(array: np.ndarray, threads: int) -> None: ...
def evict(array: np.ndarray, threads: int) -> None: ...
def memory_bandwidth(threads: int, working_set_bytes: int) -> float: ...
def default_dense_schedule(
    m: int, n: int, k: int, isa: str, threads: int, dtype: str, fast: bool, machine: MachineModel | None
) -> dict[str, Any]: ...
def default_conv2d_schedule(
    n: int,
    h: int,
    w: int,
    c: int,
    o: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
    isa: str,
    threads: int,
    dtype: str,
    fast: bool,
    machine: MachineModel | None,
) -> dict[str, Any]: ...
def default_convolution_cycles(
    n: int,
    h: int,
    w: int,
    c: int,
    o: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
    isa: str,
    threads: int,
    dtype: str,
    fast: bool,
    machine: MachineModel | None,
) -> float: ...
def channels_last(
    x: np.ndarray,
    integers: tuple[str, float, int] | None,
    out: np.ndarray | None,
    isa: str | None,
    threads: int,
) -> FunctionCall: ...
def max_pool2d(
    x: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    ceil_mode: bool,
    out: np.ndarray | None,
    isa: str | None,
    threads: int,
) -> FunctionCall: ...
def avg_pool2d(
    x: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    ceil_mode: bool,
    count_include_pad: bool,
    out: np.ndarray | None,
    isa: str | None,
    threads: int,
) -> FunctionCall: ...
def global_avg_pool2d(x: np.ndarray, out: np.ndarray | None, isa: str | None, threads: int) -> FunctionCall: ...
def add(
    a: np.ndarray, b: np.ndarray, activation: str | None, out: np.ndarray | None, isa: str | None, threads: int
) -> FunctionCall: ...
def activation(x: np.ndarray, name: str, out: np.ndarray | None, isa: str | None, threads: int) -> FunctionCall: ...
def group_norm(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    groups: int,
    epsilon: float,
    out: np.ndarray | None,
    isa: str | None,
    threads: int,
) -> FunctionCall: ...

class Simulation:
    def __init__(self, only: int) -> None: ...
    def enter(self) -> None: ...
    def leave(self) -> list[tuple[int, list[float]]]: ...

def row_operator(
    name: str,
    x: np.ndarray,
    residual: np.ndarray | None,
    gamma: np.ndarray | None,
    beta: np.ndarray | None,
    epsilon: float,
    out: np.ndarray | None,
    isa: str | None,
    threads: int,
) -> FunctionCall: ...
