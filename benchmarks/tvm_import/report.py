"""The table of the census in TVM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.tvm_import.check import DEFAULT, FOR_TVM, PUBLISHED

HEADER = ("model", "published", "default passes", "for TVM", "ONNX Runtime", "error / allowed", "nodes", "s", "in TVM")


def bad(results: Sequence[dict[str, Any]]) -> bool:
    """Returns whether the answers of a rewritten model differ from those of the published one."""
    return any(result[form]["agrees"] is False for result in results for form in (DEFAULT, FOR_TVM) if form in result)


def lines(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yields the table, one line per model, the reasons, and the number of models that are imported."""
    rows = [HEADER, *map(_row, results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()
    yield ""
    for result in results:
        for form, found in result.items():
            if isinstance(found, dict) and found["why"]:
                yield f"{result['model']}: {form}: {found.get('operator') or 'answers'}: {found['why'][:300]}"
    total = len(results)
    yield ""
    yield f"{total} models; TVM imports " + ", ".join(
        f"{_count(results, form)} {text}"
        for form, text in ((PUBLISHED, "as published"), (DEFAULT, "after the default passes"), (FOR_TVM, "for TVM"))
        if any(form in result for result in results)
    )
    ran = [result["run"] for result in results if "run" in result]
    if ran:
        yield f"{sum(found['runs'] for found in ran)} of {len(ran)} are built and give the right answers in TVM"


def _count(results: Sequence[dict[str, Any]], form: str) -> int:
    return sum(result[form]["imported"] and result[form]["agrees"] is not False for result in results if form in result)


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    found = result.get(FOR_TVM, {})
    off, seconds = found.get("off"), found.get("seconds")
    return (
        result["model"],
        *(_imported(result.get(form)) for form in (PUBLISHED, DEFAULT, FOR_TVM)),
        "" if found.get("agrees") is None else "agrees" if found["agrees"] else "differs",
        "" if off is None else f"{off:.2f}",
        str(found.get("nodes", "")),
        "" if seconds is None else f"{seconds:.1f}",
        "" if "run" not in result else "right" if result["run"]["runs"] else "fails",
    )


def _imported(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    return "yes" if found["imported"] else found["operator"]
