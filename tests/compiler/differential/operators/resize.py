"""Resize and Upsample, and the grid of AffineGrid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.compiler.differential.draft import NodeDraft
from tests.compiler.differential.values import SMALL, UNIT

_SCALES = (1.0, 2.0, 3.0, 1.5, 0.5, 2.5, 0.7, 1.3, 0.33)
_MODES = "half_pixel pytorch_half_pixel align_corners asymmetric tf_crop_and_resize".split()


def resize(d: NodeDraft) -> None:
    if d.chance(70) and d.model.pool is None:
        d.bind(0, np.dtype(d.choice("float32", "float32", "float32", "uint8", "int8", "int32", "float64", "float16")))
    x = d.data(rank=(4, 4) if d.chance(60) else (1, 5), least=1, most=7, kind=SMALL)
    if d.version >= 11 and d.chance(85):
        d.bind(1, np.dtype("float32"))
    axes = list(range(x.rank))
    if d.version >= 18 and d.chance(35):
        axes = d.subset(axes, least=1)
    elif x.rank >= 3 and d.chance(85):
        axes = list(range(2, x.rank))  # images
    some = d.version >= 18 and len(axes) < x.rank and d.chance(50)
    order = axes if some else list(range(x.rank))
    if d.version == 10:
        d.given(np.array([d.choice(*_SCALES) if a in axes else 1.0 for a in order], np.float32))
        d.maybe("mode", "nearest", "linear")
        return
    transformation = d.maybe(
        "coordinate_transformation_mode",
        *_MODES,
        *(["half_pixel_symmetric"] if d.version >= 19 else ["tf_half_pixel_for_nn"] if d.version == 11 else []),
        percent=80,
    )
    roi = transformation == "tf_crop_and_resize"
    if roi:
        begins = [0.2 if a in axes and d.chance(60) else 0.0 for a in order]
        d.given(np.array([*begins, *(1 - np.array(begins))], d.dtype(1)))
        d.maybe("extrapolation_value", 0.0, 10.0)
    elif d.chance(30):
        d.given(np.zeros([0], d.dtype(1)))
    else:
        d.absent() if d.version >= 13 else d.given(np.zeros([0], np.float32))
    if d.chance(50):
        d.given(np.array([d.choice(*_SCALES) if a in axes else 1.0 for a in order], np.float32))
    else:
        d.absent() if d.version >= 13 else d.given(np.zeros([0], np.float32))
        d.given(np.array([d.integer(1, 9) if a in axes else x.shape[a] for a in order], np.int64))
        if d.version >= 18:
            d.maybe("keep_aspect_ratio_policy", "stretch", "not_larger", "not_smaller", percent=25)
    if some:
        # The oracles keep the aspect ratio of other axes if some are negative.
        negative = "keep_aspect_ratio_policy" not in d.attributes
        d.set("axes", [a - x.rank if negative and d.chance(30) else a for a in order])
    mode = d.maybe("mode", "nearest", "linear", "cubic", percent=85)
    if mode in (None, "nearest"):
        d.maybe("nearest_mode", "round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    if mode == "cubic":
        d.maybe("cubic_coeff_a", -0.75, -0.5)
        d.maybe("exclude_outside", 0, 1, percent=40)
    if mode in ("linear", "cubic"):
        d.maybe("antialias", 0, 1, percent=30)


def upsample(d: NodeDraft) -> None:
    x = d.data(rank=(1, 4), least=1, most=5, kind=SMALL)
    images = x.rank == 4
    scales = [1.0 if images and a < 2 else d.choice(1.0, 2.0, 3.0, 1.5) for a in range(x.rank)]
    d.set("scales", scales) if d.version < 9 else d.given(np.array(scales, np.float32))
    d.maybe("mode", "nearest", "linear" if images else "nearest")


def affine_grid(d: NodeDraft) -> None:
    rank = d.choice(2, 3)
    batch = d.integer(1, 2)
    d.data(shape=[batch, rank, rank + 1], kind=UNIT)
    d.given(np.array([batch, 2, *[d.integer(2, 4) for _ in range(rank)]], np.int64))
    d.maybe("align_corners", 0, 1)


STRATEGIES: dict[str, Callable[[NodeDraft], None]] = {
    "AffineGrid": affine_grid,
    "Resize": resize,
    "Upsample": upsample,
}
