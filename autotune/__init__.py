"""Schedule search. Importing this package loads neither TVM, torch nor xgboost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from compiler.installation import names

    names.check(__name__)
except ImportError as error:
    raise ImportError(str(error), name=__name__) from None  # with this name, `python -m autotune` prints one line

if TYPE_CHECKING:
    from autotune.search import tune
    from autotune.searches.tuning import TuneResult

__all__ = ["TuneResult", "tune"]


def __getattr__(name: str) -> Any:
    if name == "tune":
        from autotune.search import tune

        return tune
    if name == "TuneResult":
        from autotune.searches.tuning import TuneResult

        return TuneResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
