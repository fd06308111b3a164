"""What ``compiler.build(..., tune=True)`` measured and chose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

COMPILED = "compiled"  # the program as build makes it without tune


@dataclass(frozen=True)
class Choice:
    """The candidates that ran next to each other on one machine, and the one that was taken.

    Attributes:
        chosen: the name of the candidate that was taken.
        seconds: the median of a run of each candidate; ``"compiled"`` is the first.
        speedups: how many times as fast as ``"compiled"`` each other candidate is: the ratio of medians, and the ends
            of its 95 % interval.
        left_out: the reasons of candidates that do not run the model.
    """

    chosen: str
    seconds: Mapping[str, float]
    speedups: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """Yields one line for each candidate."""
        for name, seconds in self.seconds.items():
            taken = " (chosen)" if name == self.chosen else ""
            about = ""
            if name in self.speedups:
                value, low, high = self.speedups[name]
                about = f", {value:.2f} times as fast as {COMPILED} (95 %: {low:.2f} to {high:.2f})"
            yield f"{name}: {seconds * 1e3:.3f} ms{about}{taken}"
        for name, reason in self.left_out.items():
            yield f"{name}: left out: {reason}"

    def to_json(self) -> dict[str, Any]:
        return {
            "chosen": self.chosen,
            "seconds": dict(self.seconds),
            "speedups": {name: list(ratio) for name, ratio in self.speedups.items()},
            "left_out": dict(self.left_out),
        }

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> Choice:
        """
        Raises:
            ValueError: a number is not valid, or the chosen candidate was not measured.
            AttributeError, KeyError, TypeError: an entry is missing or has the wrong type.
        """
        seconds = {str(name): float(value) for name, value in fields["seconds"].items()}
        speedups: dict[str, tuple[float, float, float]] = {}
        for name, ratio in fields["speedups"].items():
            value, low, high = map(float, ratio)
            speedups[str(name)] = value, low, high
        left_out = {str(name): str(reason) for name, reason in fields["left_out"].items()}
        if fields["chosen"] not in seconds:
            raise ValueError(f"the chosen candidate {fields['chosen']!r} was not measured")
        return Choice(str(fields["chosen"]), seconds, speedups, left_out)
