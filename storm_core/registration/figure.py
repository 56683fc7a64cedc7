"""Whether the picture shows a figure of the pose's outline: one colour within, another just outside.

What a model of one colour looks like inside says little: a wall or a table may have its shape, or its hue, somewhere.
That what has the model's colour also ends where the pose ends, all along what is in view of it, hardly comes about by
chance.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.compare import TELLING_CONTRAST, inlier_tolerance
from storm_core.evidence.features import FrameFeatures
from storm_core.geometry.mesh import ObjectModel
from storm_core.registration.duel import color_odds, cut_out
from storm_core.rendering.raster import NumbaRenderer
from storm_core.types import Evidence

BAND, GAP = 6, 1
"""Width of the bands on both sides of the outline, and what is left out of them for a pose that is not exact [px]."""

LEAST = 40
"""Pixels that each band must have."""

WEIGHT = 1.5
"""Most log-odds that a figure adds: in validation pictures all answers for plain models with a clear figure of their
own hue were right, so that more would be allowed; but a look-alike would earn it as well."""

FIGURE, CLEAR = 2.0, 3.0
"""Separation from which there is a figure, and from which it is clear."""

OWN_HUE, SAME_HUE = 0.8, 0.9
"""Overlap of hues from which the figure's colour may be the model's, and from which it is. Neither suffices alone:
answers for absent plain models had figures up to 3.9, of other hues, and hues up to 0.97, with figures below 1.1."""

ENOUGH = 1.0
"""Log-odds up to which a figure lifts a pose: it says that something of this outline is there, not how it is turned."""


def figure_bonus(features: FrameFeatures, model: ObjectModel, cam_from_obj: NDArray[np.float64], evidence: Evidence,
                 odds: float) -> float:
    """Log-odds (at least 0) to add to a pose (4, 4) that has `odds`; 0 for printed models: their print speaks."""
    if not np.isfinite(evidence.hue) or odds >= ENOUGH:
        return 0.0
    plain = 1.0 - float(np.clip(np.nan_to_num(evidence.contrast) / TELLING_CONTRAST, 0.0, 1.0))
    own = float(np.clip((evidence.hue - OWN_HUE) / (SAME_HUE - OWN_HUE), 0.0, 1.0))
    if plain * own == 0.0:
        return 0.0
    clear = np.clip((np.nan_to_num(separation(features, model, cam_from_obj)) - FIGURE) / (CLEAR - FIGURE), 0.0, 1.0)
    return min(WEIGHT * plain * own * float(clear), ENOUGH - odds)


def separation(features: FrameFeatures, model: ObjectModel, cam_from_obj: NDArray[np.float64]) -> float:
    """Mean log-odds of the object's colours inside the outline less those outside it, 0 to 4; nan: too little in view.

    Left out is what stands before the object, and the outline there.
    """
    crop = cut_out(features.frame, model, cam_from_obj)
    drawn = NumbaRenderer().render(model, cam_from_obj[None], crop.camera).depth[0]
    tau, covered, measured = inlier_tolerance(model.diameter), drawn > 0, crop.depth > 0
    around = np.ones((2 * BAND + 1, 2 * BAND + 1), np.uint8)
    nearest = cv2.erode(np.where(covered, drawn, np.float32(np.inf)).astype(np.float32), around)
    shown = covered & crop.inside & (~measured | (np.abs(crop.depth - drawn) <= tau))
    free = ~covered & crop.inside & ~(measured & (crop.depth < nearest - tau))
    outer = free & _grown(shown, BAND) & ~_grown(covered, GAP)
    inner = shown & ~_grown(~covered, GAP)
    rim = inner & _grown(~covered & crop.inside, BAND)
    if min(np.count_nonzero(rim), np.count_nonzero(outer)) < LEAST:
        return float("nan")
    odds = color_odds(crop.rgb, inner, outer)
    return float(odds[rim].mean() - odds[outer].mean())


def _grown(mask: NDArray[np.bool_], px: int) -> NDArray[np.bool_]:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * px + 1, 2 * px + 1), np.uint8)) > 0
