"""The groups of layers. Each has a table, a picture and a geometric mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from benchmarks.layers.networks import NETWORKS
from benchmarks.layers.shapes import DENSE_SHAPES, FEW_BITS, FEW_CHANNELS, ONE_AXIS, TRANSPOSED_SHAPES, Shape
from compiler.workloads.workload import Workload

# At batch sizes above 1, only this many layers of each network in a group are measured: those with the most arithmetic.
HEAVIEST = 4
BATCHES = (1, 8)


@dataclass(frozen=True)
class Group:
    """Layers with one summary.

    Attributes:
        name: the name for ``--bench-group`` and of its files.
        title: the title of its table and its picture.
        holds: returns whether a float32 layer of a network belongs to it.
        peers: the baselines; keys of ``benchmarks.peers.PEERS``.
        cold: whether weights come from memory, as in a network, and not from the cache.
        dtype: the data type of its layers.
        networks: the networks with its layers; keys of ``NETWORKS``.
        extra: more shapes, at batch 1.
        note: how to read the results.
    """

    name: str
    title: str
    holds: Callable[[Workload], bool]
    peers: tuple[str, ...] = ("oneDNN",)
    cold: bool = False
    dtype: str = "float32"
    networks: tuple[str, ...] = tuple(NETWORKS)
    extra: tuple[Shape, ...] = ()
    note: str = ""

    def shapes(self, batch: int) -> list[Shape]:
        """Returns the distinct layers: all of them at batch 1, the heaviest of each network at larger batches."""
        shapes = [*(self.extra if batch == 1 else ()), *self._of_networks(batch)]
        distinct = {shape.workload: shape for shape in reversed(shapes)}  # the first of equal ones stays
        return [shape for shape in shapes if distinct[shape.workload] is shape]

    def _of_networks(self, batch: int) -> Iterator[Shape]:
        suffix = _SUFFIXES.get(self.dtype, "") + (f"-batch{batch}" if batch > 1 else "")
        names: dict[Workload, str] = {}
        counts: dict[str, Counter[Workload]] = {}
        for network in self.networks:
            layers = [(name, layer) for name, layer in NETWORKS[network](batch) if self.holds(layer)]
            counts[network] = of_network = Counter(layer for _, layer in layers)
            by_work = sorted(of_network, key=lambda layer: -of_network[layer] * (layer.flops or layer.bytes))
            chosen = by_work if batch == 1 else by_work[:HEAVIEST]
            for name, layer in layers:
                if layer in chosen:
                    names.setdefault(layer, name)
        for layer, name in names.items():
            occurrences = tuple((network, counts[network][layer]) for network in counts if layer in counts[network])
            yield Shape(name + suffix, replace(layer, dtype=self.dtype), occurrences)


def _is_dense(layer: Workload) -> bool:
    return layer.op == "dense"


def _is_conv1x1(layer: Workload) -> bool:
    return _is_inner_conv(layer) and _kernel(layer) == 1 and _stride(layer) == 1


def _is_conv3x3(layer: Workload) -> bool:
    return _is_inner_conv(layer) and _kernel(layer) == 3 and _stride(layer) == 1


def _is_strided(layer: Workload) -> bool:
    return _is_inner_conv(layer) and _stride(layer) > 1


def _is_first(layer: Workload) -> bool:
    return layer.op == "conv2d" and layer.sizes["c"] == 3


def _is_depthwise(layer: Workload) -> bool:
    return layer.op == "conv2d" and layer.sizes["groups"] > 1


def _is_convolution(layer: Workload) -> bool:
    return layer.op == "conv2d" and not _is_depthwise(layer)


def _is_inner_conv(layer: Workload) -> bool:
    return _is_convolution(layer) and not _is_first(layer)


def _is_transposed(layer: Workload) -> bool:
    return layer.op == "conv_transpose2d"


def _is_attention(layer: Workload) -> bool:
    return layer.op == "attention"


def _is_rowwise(layer: Workload) -> bool:
    return layer.operator.space is None and not _is_transposed(layer)


def _of_integers(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    return tuple(
        Shape(shape.name + _SUFFIXES["int8"], replace(shape.workload, dtype="int8"), shape.occurrences)
        for shape in shapes
    )


def _never(_layer: Workload) -> bool:
    """For groups that have only extra layers."""
    return False


def _kernel(layer: Workload) -> int:
    return layer.sizes["kh"]


def _stride(layer: Workload) -> int:
    return layer.sizes["stride_h"]


_WINOGRAD = "GFLOP/s count the products of the definition; Winograd's algorithm needs fewer and may exceed the FMA peak"

_BYTES = "speeds are in GB/s: the bytes of inputs and output divided by the time"

_SUFFIXES = {"bfloat16": "-bf16", "int8": "-int8"}

# Residual additions that are not fused: of ResNet-50's stages 2 and 3, and of BERT-base.
_ADDITIONS = tuple(
    Shape(f"add-{rows}x{columns}", Workload("add", (rows, columns)))
    for rows, columns in ((3136, 256), (784, 512), (128, 768))
)

GROUPS: Mapping[str, Group] = {
    group.name: group
    for group in (
        Group("dense", "Dense layers", _is_dense, peers=("oneDNN", "torch"), extra=DENSE_SHAPES),
        Group(
            "few-bits", "Dense layers with weights of few bits", _never, ("ONNX Runtime",), cold=True, extra=FEW_BITS
        ),
        Group("conv1x1", "Convolutions 1x1", _is_conv1x1, cold=True),
        Group("conv3x3", "Convolutions 3x3", _is_conv3x3, cold=True, note=_WINOGRAD),
        Group("strided", "Convolutions with a stride", _is_strided, cold=True),
        Group("first", "First layers", _is_first, cold=True),
        Group("depthwise", "Depthwise convolutions", _is_depthwise, cold=True),
        Group("transposed", "Transposed convolutions", _is_transposed, cold=True, extra=TRANSPOSED_SHAPES),
        Group("few", "Convolutions of few channels", _never, cold=True, extra=FEW_CHANNELS),
        Group("one-axis", "Convolutions over one axis", _never, cold=True, extra=ONE_AXIS),
        Group("dense-bf16", "Dense layers", _is_dense, dtype="bfloat16"),
        Group("conv-bf16", "Convolutions", _is_convolution, cold=True, dtype="bfloat16", networks=("resnet50",)),
        Group("dense-int8", "Dense layers", _is_dense, dtype="int8", extra=_of_integers(DENSE_SHAPES)),
        Group("conv1x1-int8", "Convolutions 1x1", _is_conv1x1, cold=True, dtype="int8"),
        Group("attention", "Attention", _is_attention),
        Group("rowwise", "Row kernels and pooling", _is_rowwise, extra=_ADDITIONS, note=_BYTES),
    )
}


def find(name: str) -> tuple[Group, int, Shape]:
    """Returns the group, the batch and the shape of a name.

    Raises:
        ValueError: there is no such shape.
    """
    for group in GROUPS.values():
        for batch in BATCHES:
            for shape in group.shapes(batch):
                if shape.name == name:
                    return group, batch, shape
    raise ValueError(f"unknown shape {name!r}; pytest benchmarks --benchmark --bench-all --collect-only lists them")
