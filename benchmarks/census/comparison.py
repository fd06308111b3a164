"""The comparison of one model of the census on one number of threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.whole_models.comparison import milliseconds, samples_of
from compiler.measure.comparison import Ratio, speedup
from compiler.runtimes import OURS

FLOAT, INTEGER, SEGMENTS = (
    "Float models",
    "Models with 8-bit integers",
    "More than half of the time in segments of ONNX Runtime",
)
MOSTLY_SEGMENTS = 0.5  # a model with a larger share of its time in segments measures ONNX Runtime, not us


@dataclass(frozen=True)
class Times:
    """Medians and ratios of a measured model.

    Attributes:
        medians: seconds per run by runtime, ours among them.
        ratios: how many times as fast ours is as each other runtime.
        segments_share: the share of a run of ours that segments of ONNX Runtime take.
        left_out: the reasons of runtimes that do not run the model.
    """

    medians: Mapping[str, float]
    ratios: Mapping[str, Ratio]
    segments_share: float
    left_out: Mapping[str, str]

    @property
    def fastest_peer(self) -> str | None:
        """The other runtime with the lowest median; None if none runs the model."""
        return min(self.ratios, key=self.medians.__getitem__, default=None)

    @property
    def ratio(self) -> Ratio | None:
        """The ratio to the fastest other runtime."""
        return self.ratios[self.fastest_peer] if self.fastest_peer else None

    @property
    def mostly_segments(self) -> bool:
        return self.segments_share > MOSTLY_SEGMENTS


def times_of(result: Mapping[str, Any]) -> Times:
    """Compares the samples of a result of ``benchmarks.census.speed.times``."""
    samples = {name: samples_of(rounds) for name, rounds in result["secs"].items()}
    return Times(
        {name: found.latencies.median for name, found in samples.items()},
        {name: speedup(samples[OURS], found) for name, found in samples.items() if name != OURS},
        result["segments_share"],
        result["left_out"],
    )


def groups(results: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, dict[str, Times]]]:
    """Returns the times of the census by number of threads, group and model."""
    found: dict[int, dict[str, dict[str, Times]]] = {}
    for result in results:
        for count, measured in result.get("times", {}).items():
            if "secs" not in measured:
                continue
            times = times_of(measured)
            group = SEGMENTS if times.mostly_segments else INTEGER if "int8" in result["model"] else FLOAT
            of_threads = found.setdefault(int(count), {group: {} for group in (FLOAT, INTEGER, SEGMENTS)})
            of_threads[group][result["model"]] = times
    return dict(sorted(found.items()))


def fastest_first(models: Mapping[str, Times]) -> dict[str, Times]:
    """Sorts models by their ratio to the fastest other runtime; those that no other runtime runs come last."""
    return dict(sorted(models.items(), key=lambda each: -(each[1].ratio.value if each[1].ratio else 0.0)))


def cells(name: str, times: Times, peers: Sequence[str]) -> tuple[str, ...]:
    """Returns a row of a table: the model, milliseconds of ours and of each peer, the ratio and its interval."""
    ratio = times.ratio
    figures = (f"{ratio.value:.2f}", f"{ratio.low:.2f} to {ratio.high:.2f}") if ratio else ("", "")
    return (name, milliseconds(times.medians[OURS]), *(_cell(times, peer) for peer in peers), *figures)


def _cell(times: Times, peer: str) -> str:
    """Returns the milliseconds of another runtime, "fails", or "" if it does not read the model's format."""
    if peer in times.medians:
        return milliseconds(times.medians[peer])
    return "fails" if peer in times.left_out else ""
