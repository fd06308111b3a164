"""The comparison of one whole model: latencies, ratios with their intervals, and the roofline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import summary
from compiler.measure.comparison import Ratio, speedup
from compiler.measure.sampling import Samples


@dataclass(frozen=True)
class ModelComparison:
    """One model on one number of threads.

    Attributes:
        medians: seconds per run, by implementation.
        ratios: the speedup of ours over each other runtime; ours is the tuned implementation if there is one.
        tuned: the speedup of the tuned schedules over the default ones; None if nothing is tuned.
        roofline_secs: the least time of all layers, one after the other; see ``benchmarks.whole_models.measure``.
    """

    model: str
    threads: int
    medians: Mapping[str, float]
    ratios: Mapping[str, Ratio]
    tuned: Ratio | None
    roofline_secs: float

    @property
    def ours(self) -> str:
        return summary.ours(self.medians)

    @property
    def fastest_peer(self) -> str | None:
        """The other runtime with the lowest median; None if none was measured."""
        return min(self.ratios, key=self.medians.__getitem__, default=None)

    @property
    def share_of_roofline(self) -> float:
        return self.roofline_secs / self.medians[self.ours]

    def to_json(self) -> dict[str, Any]:
        fastest = self.fastest_peer
        return {
            "model": self.model,
            "threads": self.threads,
            "ours": self.ours,
            "median_secs": dict(self.medians),
            "ratios": {name: asdict(ratio) for name, ratio in self.ratios.items()},
            "fastest_peer": fastest,
            "ratio_to_fastest_peer": asdict(self.ratios[fastest]) if fastest else None,
            "tuned_over_default": asdict(self.tuned) if self.tuned else None,
            "roofline_secs": self.roofline_secs,
            "share_of_roofline": self.share_of_roofline,
        }


def compare(result: Mapping[str, Any]) -> ModelComparison:
    """Compares the samples of a result of ``benchmarks.whole_models.measure``."""
    samples = {name: samples_of(measured["secs"]) for name, measured in result["implementations"].items()}
    mine = samples[summary.ours(samples)]
    return ModelComparison(
        model=result["model"],
        threads=result["threads"],
        medians={name: of_one.latencies.median for name, of_one in samples.items()},
        ratios={name: speedup(mine, of_one) for name, of_one in samples.items() if name not in summary.OWN},
        tuned=speedup(samples["tuned"], samples["default"]) if "tuned" in samples else None,
        roofline_secs=result["roofline_secs"],
    )


def samples_of(rounds: Sequence[Sequence[float]]) -> Samples:
    """Returns the samples of a result."""
    return Samples(tuple(map(tuple, rounds)))


def rounds_of(samples: Samples, most: int = 50) -> list[list[float]]:
    """Returns the seconds of samples for a result: at most ``most`` runs per round, evenly spaced.

    A round of a small model has tens of thousands of runs.
    """
    return [[round(secs, 9) for secs in of_round[:: -(-len(of_round) // most)]] for of_round in samples.rounds]


def milliseconds(secs: float) -> str:
    """Returns a time with about four digits."""
    count = secs * 1e3
    return f"{count:.4f}" if count < 1 else f"{count:.3f}" if count < 10 else f"{count:.2f}"
