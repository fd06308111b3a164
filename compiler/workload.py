"""What is to be computed, without any word on how: the key of the records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DTYPE_BYTES: Mapping[str, int] = {"float32": 4}
ACTIVATIONS = ("relu", "relu6", "gelu", "sigmoid", "tanh", "silu", "hard_swish")

# Dimensions of each operator, in the order in which a shape is written on the command line.
OPERATOR_DIMS: Mapping[str, tuple[str, ...]] = {"dense": ("m", "n", "k")}


@dataclass(frozen=True)
class Workload:
    """One operator on one shape.

    Attributes:
        op: a key of ``OPERATOR_DIMS``.
        dims: sizes in the order of ``OPERATOR_DIMS[op]``; for dense ``(m, n, k)``: x (m, k) · weight (n, k)ᵀ -> (m, n).
        dtype: element type of inputs, weights and output.
        epilogue: what follows the sum, in order: ``"bias"``, ``"residual"``, then at most one of ``ACTIVATIONS``.
    """

    op: str
    dims: tuple[int, ...]
    dtype: str = "float32"
    epilogue: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.op not in OPERATOR_DIMS:
            raise ValueError(f"unknown op {self.op!r}; choose from: {', '.join(OPERATOR_DIMS)}")
        if self.dtype not in DTYPE_BYTES:
            raise ValueError(f"unknown dtype {self.dtype!r} for {self.op}; choose from: {', '.join(DTYPE_BYTES)}")
        names = OPERATOR_DIMS[self.op]
        if len(self.dims) != len(names) or not all(type(d) is int and d >= 1 for d in self.dims):
            raise ValueError(f"{self.op} takes {len(names)} sizes >= 1 ({'x'.join(names)}), got {self.dims}")
        order = [
            *(e for e in ("bias", "residual") if e in self.epilogue),
            *(e for e in self.epilogue if e in ACTIVATIONS),
        ]
        if list(self.epilogue) != order or sum(e in ACTIVATIONS for e in order) > 1:
            raise ValueError(
                f"epilogue {self.epilogue} is not bias, residual, one of {', '.join(ACTIVATIONS)}, in this order"
            )

    @classmethod
    def dense(cls, m: int, n: int, k: int, dtype: str = "float32", epilogue: tuple[str, ...] = ()) -> Workload:
        return cls("dense", (m, n, k), dtype, epilogue)

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes by the name of their dimension."""
        return dict(zip(OPERATOR_DIMS[self.op], self.dims, strict=True))

    @property
    def activation(self) -> str | None:
        return next((e for e in self.epilogue if e in ACTIVATIONS), None)

    @property
    def flops(self) -> int:
        """Floating-point operations of the sum; an FMA counts as two, the epilogue as none."""
        m, n, k = self.dims
        return 2 * m * n * k

    @property
    def bytes(self) -> int:
        """Bytes that must cross memory at least once: each input, each weight and the output."""
        m, n, k = self.dims
        elements = m * k + n * k + m * n
        elements += n if "bias" in self.epilogue else 0
        elements += m * n if "residual" in self.epilogue else 0
        return elements * DTYPE_BYTES[self.dtype]

    def roofline_secs(self, peak_gflops: float, bandwidth_gbs: float) -> float:
        """Least seconds a run can take: the larger of its arithmetic at the peak and its bytes at the bandwidth.

        Williams, Waterman, Patterson: Roofline (CACM 2009).
        """
        return max(self.flops / (peak_gflops * 1e9), self.bytes / (bandwidth_gbs * 1e9))

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "dims": list(self.dims), "dtype": self.dtype, "epilogue": list(self.epilogue)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Workload:
        return cls(fields["op"], tuple(fields["dims"]), fields["dtype"], tuple(fields["epilogue"]))

    def __str__(self) -> str:
        shape = "x".join(map(str, self.dims))
        return " ".join([self.op, shape, self.dtype, *self.epilogue])
