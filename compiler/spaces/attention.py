"""The schedule space of ``kernels.Attention``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compiler.spaces.base import KernelSpace, even_part, merged, parts
from compiler.workloads.schedule import Decision
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload


class AttentionKernelSpace(KernelSpace):
    """``scores_mr scores_nr values_mr values_nr rows threads``.

    A schedule is legal if both products have a useful register tile, and the scores of ``rows`` queries stay in L2
    between the products.
    """

    def _decisions(self) -> tuple[Decision, ...]:
        s, cores = self.workload.sizes, self.target.num_cores
        self._keys, self._columns = self._packed_columns(s["keys"]), self._packed_columns(s["head_dim"])
        scores_mr, scores_nr = self._tile_decisions(s["queries"], self._keys, prefix="scores_")
        values_mr, values_nr = self._tile_decisions(s["queries"], self._columns, prefix="values_")
        self._rows = merged(parts(s["queries"], at_least=1), (self._default_values()["rows"],))
        return (
            scores_mr,
            scores_nr,
            values_mr,
            values_nr,
            Decision("rows", self._rows),
            Decision("threads", tuple(d for d in range(1, cores + 1) if cores % d == 0)),
        )

    def _is_worth_building(self, values: Mapping[str, Any]) -> bool:
        v = values
        return (
            (v["scores_mr"], v["scores_nr"]) in self._useful_tiles(v["rows"], self._keys)
            and (v["values_mr"], v["values_nr"]) in self._useful_tiles(v["rows"], self._columns)
            and (v["rows"] == self._rows[-1] or self._fits_l2(v["rows"] * self.workload.sizes["keys"]))
        )

    def _default_values(self) -> Mapping[str, Any]:
        s = self.workload.sizes
        values = self.operator({}, None).schedule(s["batch"], s["queries"], s["keys"])
        rows = even_part(s["queries"], values["rows"])
        heights = {name: even_part(rows, values[name]) for name in ("scores_mr", "values_mr")}
        return values | {"rows": rows} | heights


def space(workload: Workload, target: Target, _fast_algorithms: bool) -> KernelSpace:
    """Returns the space of ``kernels.Attention``."""
    return AttentionKernelSpace(workload, target)
