"""Models of LightGBM, in its text format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serving.worker.boosters import Booster


def load(path: Path) -> Booster:
    """Raises:
    ValueError: the file is not such a model.
    """
    import lightgbm

    try:
        booster = lightgbm.Booster(model_file=path)
    except lightgbm.basic.LightGBMError as error:
        raise ValueError(f"{path.name} is not a model of LightGBM: {error}") from None
    return Booster(booster.num_feature(), lambda x: np.asarray(booster.predict(x)))
