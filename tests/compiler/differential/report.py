"""What a run found: failures without duplicates, counts per operator, and what was compiled."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.printer

from tests.compiler.differential.case import Case
from tests.compiler.differential.outcome import CRASH, DISCARDED, FAILURES, PASSED, UNSUPPORTED, WRONG, Outcome

GRAPHS = "graphs"


@dataclass
class Failure:
    """Failures of one kind; ``case`` is the smallest."""

    operator: str
    kind: str
    reason: str
    case: Case
    count: int = 1

    @property
    def key(self) -> tuple[str, str, str]:
        return self.operator, self.kind, pattern(self.reason)

    @property
    def name(self) -> str:
        return re.sub(r"\W+", "_", f"{self.operator} {self.kind} {pattern(self.reason)}")[:90].strip("_")

    def save(self, folder: Path) -> Path:
        """Writes model.onnx, inputs.npz and reason.txt to a folder of that name, and returns it."""
        place = folder / self.name
        place.mkdir(parents=True, exist_ok=True)
        onnx.save(self.case.model, place / "model.onnx")
        np.savez(place / "inputs.npz", allow_pickle=False, **self.case.inputs)
        shapes = {name: list(shape) for name, shape in self.case.input_shapes.items()}
        (place / "reason.txt").write_text(
            f"{self.kind}: {self.reason}\nthreads={self.case.threads}, input_shapes={shapes}, "
            f"stated output shapes: {self.case.stated}\n{onnx.printer.to_text(self.case.model)}\n"
        )
        return place


def pattern(reason: str) -> str:
    """Returns the reason without the numbers, names and sizes that differ from case to case."""
    if reason.startswith("output"):
        if "NaN or infinity" in reason:
            return "NaN or infinity"
        return "values" if "differ" in reason else "shape or type"
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "", reason)
    return re.sub(r"\d+", "", re.sub(r"\b[xyc]\d+\b|0x[0-9a-f]+", "", text))[:70]


@dataclass
class Report:
    """Counts per operator, and the failures.

    Attributes:
        kinds: the number of cases per kind of outcome, by operator; ``GRAPHS`` for random graphs.
        compiled: how often a feature of an operator was really compiled, whatever the answer.
        reasons: why cases were discarded or not supported, by operator and kind.
        failures: by operator, kind and pattern of the reason.
    """

    kinds: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    compiled: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    possible: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    reasons: dict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    failures: dict[tuple[str, str, str], Failure] = field(default_factory=dict)

    def add(self, results: Iterable[tuple[Case, Outcome]]) -> None:
        for case, outcome in results:
            operator = case.operators[0] if len(case.operators) == 1 else GRAPHS
            self.kinds[operator][outcome.kind] += 1
            if operator != GRAPHS and outcome.kind != DISCARDED:
                self.possible[operator].update(case.features)
            if operator != GRAPHS and outcome.kind in (PASSED, WRONG, *FAILURES):
                self.compiled[operator].update(case.features)
            if outcome.kind in (DISCARDED, UNSUPPORTED):
                self.reasons[operator, outcome.kind][pattern(outcome.reason)] += 1
            if outcome.kind in FAILURES:
                self._add_failure(Failure(operator, outcome.kind, outcome.reason, case))

    def _add_failure(self, new: Failure) -> None:
        old = self.failures.setdefault(new.key, new)
        if old is new:
            return
        count = old.count + 1
        if new.case.size < old.case.size:
            self.failures[new.key] = new
        self.failures[new.key].count = count

    @property
    def failed(self) -> int:
        return sum(self.kinds[operator][kind] for operator in self.kinds for kind in FAILURES)

    def table(self) -> str:
        """Returns one line per operator, and the totals."""
        columns = ("compared", "passed", "failed", "unsupported", "discarded")
        names = sorted(self.kinds, key=lambda name: (name == GRAPHS, name))
        lines = [f"{'operator':<28}" + "".join(f"{name:>12}" for name in columns) + "  least compiled"]
        lines += [self._row(name, self.kinds[name], self._least(name)) for name in names]
        total = sum((kinds for kinds in self.kinds.values()), Counter())
        lines.append(self._row("all", total, ""))
        never = sorted(name for name in self.kinds if name != GRAPHS and not self.compiled[name])
        if never:
            lines.append(f"never compiled: {', '.join(never)}")
        return "\n".join(lines)

    @staticmethod
    def _row(name: str, kinds: Mapping[str, int], note: str) -> str:
        failed = sum(kinds[kind] for kind in FAILURES)
        compared = kinds[PASSED] + failed
        counts = (compared, kinds[PASSED], failed, kinds[UNSUPPORTED], kinds[DISCARDED])
        return (f"{name:<28}" + "".join(f"{count:>12}" for count in counts) + f"  {note}").rstrip()

    def _least(self, operator: str) -> str:
        """Returns the attribute, type and version that were compiled least often, with the number of cases."""
        parts = []
        for prefix in ("attribute", "input", "type", "version"):
            features = [name for name in self.possible[operator] if name.startswith(prefix)]
            if features:
                rarest = min(features, key=lambda name: (self.compiled[operator][name], name))
                parts.append(f"{rarest}: {self.compiled[operator][rarest]}")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        return {
            "operators": {
                name: {
                    "outcomes": dict(kinds),
                    "compiled": dict(self.compiled[name]),
                    "drawn": dict(self.possible[name]),
                    "unsupported": dict(self.reasons[name, UNSUPPORTED]),
                    "discarded": dict(self.reasons[name, DISCARDED]),
                }
                for name, kinds in sorted(self.kinds.items())
            },
            "failures": [
                {
                    "operator": f.operator,
                    "kind": f.kind,
                    "reason": f.reason,
                    "count": f.count,
                    "name": f.name,
                    "operators": f.case.operators,
                }
                for f in sorted(self.failures.values(), key=lambda f: (f.operator, f.kind != CRASH, -f.count))
            ],
        }
