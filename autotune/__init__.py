"""Loopwright's search: tunes the schedule of a workload. Importing it loads no TVM, torch or xgboost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autotune.searches.tuning import TuneResult, tune

__all__ = ["TuneResult", "tune"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from autotune.searches import tuning

        return getattr(tuning, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
