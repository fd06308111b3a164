"""Models of XGBoost, in its JSON or UBJSON."""

from __future__ import annotations

from pathlib import Path

from serving.worker.boosters import Booster


def load(path: Path) -> Booster:
    """Raises:
    ValueError: the file is not such a model.
    """
    import xgboost

    booster = xgboost.Booster()
    try:
        booster.load_model(path)
    except xgboost.core.XGBoostError as error:
        reason = str(error).splitlines()[0].rsplit(": ", 1)[-1]  # without the time and the file of its source
        raise ValueError(f"{path.name} is not a model of XGBoost: {reason}") from None
    return Booster(booster.num_features(), booster.inplace_predict)
