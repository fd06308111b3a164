"""The schedule space of ``kernels.Conv2d`` for depthwise convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from compiler.spaces.base import KernelSpace, even_part, merged, parts
from compiler.spaces.default_conv2d import default_conv2d_schedule
from compiler.workloads.schedule import Decision

_MIN_COLUMNS = 4  # a narrower strip has too few sums to hide the latency of FMA


class DepthwiseKernelSpace(KernelSpace):
    """``columns channels threads``.

    Choices for ``columns`` go up to the widest strip, which is the kernel's default. They include only widths that
    divide the image evenly. The same holds for ``channels`` and the channels of one thread.
    """

    def _decisions(self) -> tuple[Decision, ...]:
        _, _, ow, _ = self.workload.output_shape
        widest = self._kernel_schedule["columns"]
        columns = {even_part(ow, most) for most in range(min(_MIN_COLUMNS, widest), widest + 1)}
        threads = self._thread_decision()
        shares = {self._share(split) for split in threads.choices}
        vectors = merged(*(self._passes(share) for share in shares))
        channels = Decision("channels", tuple(count * self.target.lanes for count in vectors))
        return Decision("columns", merged(tuple(columns))), channels, threads

    def _share(self, threads: Any) -> int:
        """Returns the vectors of channels of the busiest thread."""
        vectors = -(-self.workload.sizes["c"] // self.target.lanes)
        return -(-vectors // threads[1])

    def _passes(self, share: int) -> tuple[int, ...]:
        """Returns the numbers of vectors of a thread to compute at a time, including the kernel's default."""
        usual = self._kernel_schedule["channels"] // self.target.lanes
        return merged(parts(share, at_least=1), (even_part(share, usual),))

    def _is_worth_building(self, values: Mapping[str, Any]) -> bool:
        vectors, share = values["channels"] // self.target.lanes, self._share(values["threads"])
        return vectors in self._passes(share) and even_part(share, vectors) == vectors

    def _default_values(self) -> Mapping[str, Any]:
        values = self._kernel_schedule
        vectors = even_part(self._share(values["threads"]), values["channels"] // self.target.lanes)
        return values | {"channels": vectors * self.target.lanes}

    @cached_property
    def _kernel_schedule(self) -> dict[str, Any]:
        return default_conv2d_schedule(self.workload, self.target, False)
