"""What speaks against a pose whose shape fits: the object there is painted in another way than the model.

A look-alike of another colour fits in depth as well as the object. The verifier sums up evidence, so that a perfect
shape outvotes any paint; here each contradiction counts by itself, as far as no light explains it.
"""

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.compare import TELLING_CONTRAST, inlier_tolerance
from storm_core.evidence.features import FrameFeatures
from storm_core.evidence.texture import LOG_OFFSET
from storm_core.geometry.mesh import ObjectModel
from storm_core.registration.duel import ENOUGH, cut_out
from storm_core.rendering.raster import NumbaRenderer
from storm_core.types import Evidence

DARKER, BRIGHTER, LIGHT_COST = 0.5, 0.45, 10.0
"""Log ratios of seen and modelled brightness from which a surface is too dark or too bright, and log-odds per unit
beyond. Three quarters of a dark surface are that dark, so that a shadow across it does not count. Of 1,650 rendered
validation objects at their true places, in four lights, 3 are darker and 20 brighter; a black thing is 1 darker than
its grey look-alike."""

DIM, GLARING = 150.0, 60.0
"""Grey levels that the brightest fiftieth of a picture reaches, and its darkest does not: what the exposure falls short
of the one or goes beyond the other is no property of the object."""

OTHER_HUE, HUE_COST = 0.8, 8.0
"""Overlap of the hues below which the hue is another, and log-odds per unit below. Real objects under the light of a
room have 0.8 and more of their mesh's hues; some have less, but are recognised by their print."""

OTHER_PRINT, PRINT_COST = 0.45, 10.0
"""Correlation with the print below which it is another print, and log-odds per unit below."""

RECOGNISED = 0.4, 0.65
"""Correlations between which a print comes to vouch for an object whose hues are not the mesh's."""


def paint_doubt(features: FrameFeatures, model: ObjectModel, cam_from_obj: NDArray[np.float64],
                evidence: Evidence) -> float:
    """Log-odds (at most 0) to add to a pose (4, 4) with this evidence; 0 for models without colours."""
    if model.colors is None:
        return 0.0
    return _light_doubt(features, model, cam_from_obj) + _print_doubt(evidence)


def _print_doubt(evidence: Evidence) -> float:
    told = (evidence.inlier * evidence.color + evidence.missing * evidence.picture) / max(
        evidence.inlier + evidence.missing, 1e-9)
    told = told if np.isfinite(told) else evidence.picture
    contrast = np.nan_to_num(evidence.contrast) / TELLING_CONTRAST
    doubt = 0.0
    if np.isfinite(evidence.hue):
        low, high = RECOGNISED
        vouched = min(contrast, 1.0) * np.clip((np.nan_to_num(told) - low) / (high - low), 0.0, 1.0)
        doubt -= HUE_COST * max(0.0, OTHER_HUE - evidence.hue) * (1.0 - vouched)
    if np.isfinite(told):
        # A faint print correlates with nothing; from the telling contrast on, a right one always does.
        doubt -= PRINT_COST * max(0.0, OTHER_PRINT - told) * np.clip((contrast - 0.7) / 0.4, 0.0, 1.0)
    return float(doubt)


def _light_doubt(features: FrameFeatures, model: ObjectModel, cam_from_obj: NDArray[np.float64]) -> float:
    crop = cut_out(features.frame, model, cam_from_obj)
    drawn = NumbaRenderer().render(model, cam_from_obj[None], crop.camera)
    depth = drawn.depth[0]
    fits = np.abs(crop.depth - depth) < inlier_tolerance(model.diameter)
    surface = (depth > 0) & crop.inside & (crop.depth > 0) & fits
    if np.count_nonzero(surface) < ENOUGH:
        return 0.0
    ratio = _brightness(crop.rgb[surface]) - _brightness(drawn.color[0][surface])
    low, high = np.quantile(ratio, [0.25, 0.75])
    darkest, brightest = np.quantile(_brightness(features.frame.rgb[::8, ::8].reshape(-1, 3)), [0.02, 0.98])
    exposed = min(0.0, brightest - np.log(DIM + LOG_OFFSET)), max(0.0, darkest - np.log(GLARING + LOG_OFFSET))
    too_dark, too_bright = exposed[0] - DARKER - high, low - BRIGHTER - exposed[1]
    return -LIGHT_COST * (max(0.0, too_dark) + max(0.0, too_bright))


def _brightness(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Log brightness (N,) of colours (N, 3)."""
    return np.log(rgb.mean(-1) + LOG_OFFSET)
