"""The columns of the tables of whole models, while they are measured and in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.whole_models.comparison import ModelComparison, milliseconds


def headings(names: Sequence[str], peers: Sequence[str]) -> list[str]:
    """Returns the headings for implementations ``names``, of which ``peers`` are other runtimes."""
    ratios = [f"ours/{peer} [95 %]" for peer in peers]
    times = [f"{name} ms" for name in names]
    return ["model", *times, "roofline ms", "share", "tuned layers", "fastest peer", *ratios]


def cells(
    comparison: ModelComparison, stored: Mapping[str, int], names: Sequence[str], peers: Sequence[str]
) -> list[str]:
    """Returns the cells of a comparison; those of runtimes that were not measured are empty.

    Args:
        stored: the number of layers, and of stored schedules; see ``benchmarks.whole_models.stored``.
    """
    return [
        comparison.model,
        *(milliseconds(comparison.medians[name]) if name in comparison.medians else "" for name in names),
        milliseconds(comparison.roofline_secs),
        f"{comparison.share_of_roofline:.0%}",
        _tuned_layers(stored),
        comparison.fastest_peer or "",
        *(str(comparison.ratios.get(peer, "")) for peer in peers),
    ]


def _tuned_layers(stored: Mapping[str, int]) -> str:
    """Returns how many layers have a measured schedule, and how many of these were chosen for the whole model."""
    text = f"{stored['measured']} of {stored['layers']}"
    return f"{text}, {stored['chosen']} chosen" if stored["chosen"] else text
