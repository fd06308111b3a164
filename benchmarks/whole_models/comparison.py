"""What the samples of a whole model say: latencies, ratios with their spread, and the roofline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.layers.comparison import ours
from compiler.measure.comparison import Ratio, speedup
from compiler.measure.sampling import Samples

OWN = ("default", "tuned")


@dataclass(frozen=True)
class ModelComparison:
    """One model on one number of threads.

    Attributes:
        medians: seconds of a run, by contender.
        ratios: ours against each peer, above one where ours is faster; ours is the tuned one, where there is one.
        tuned: times as fast as ours by default schedules; None where nothing is tuned.
        roofline_secs: what the model's layers take at least, one after the other; see ``whole_model``.
    """

    model: str
    threads: int
    medians: Mapping[str, float]
    ratios: Mapping[str, Ratio]
    tuned: Ratio | None
    roofline_secs: float

    @property
    def ours(self) -> str:
        return ours(self.medians)

    @property
    def fastest_peer(self) -> str | None:
        """By the medians; None where no peer was measured."""
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
    """Reads what ``benchmarks.whole_models.whole_model`` measured."""
    samples = {name: samples_of(contender["secs"]) for name, contender in result["contenders"].items()}
    mine = samples[ours(samples)]
    return ModelComparison(
        model=result["model"],
        threads=result["threads"],
        medians={name: of_one.latencies.median for name, of_one in samples.items()},
        ratios={name: speedup(mine, of_one) for name, of_one in samples.items() if name not in OWN},
        tuned=speedup(samples["tuned"], samples["default"]) if "tuned" in samples else None,
        roofline_secs=result["roofline_secs"],
    )


def samples_of(rounds: Sequence[Sequence[float]]) -> Samples:
    return Samples(tuple(map(tuple, rounds)))


def rounds_of(samples: Samples, kept: int = 50) -> list[list[float]]:
    """Seconds for a result: of each round at most ``kept`` runs, evenly taken from all of it.

    Of a small model there are tens of thousands in each.
    """
    return [[round(secs, 9) for secs in of_round[:: -(-len(of_round) // kept)]] for of_round in samples.rounds]


def milliseconds(secs: float) -> str:
    """With four digits or so."""
    count = secs * 1e3
    return f"{count:.4f}" if count < 1 else f"{count:.3f}" if count < 10 else f"{count:.2f}"
