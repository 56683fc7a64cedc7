"""What the picture's word is worth where depth is missing: a correlation over a few pixels comes about by chance.

A flat thing seen edge-on is a strip of a few hundred pixels in two tones. Among the thousands of placements that a
search tries, one such strip matches the rim of something else, and where depth is missing nothing contradicts it.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.columns import N_INLIER, N_MISSING
from storm_core.evidence.compare import crop_camera, to_evidence
from storm_core.evidence.verifier import DEFAULT as VERIFIER
from storm_core.geometry.mesh import ObjectModel
from storm_core.types import Frame

BLOCK = 25.0
"""Pixels that count as one sample: neighbours show the same thing (optics, demosaicking, what is printed)."""

SURE = 1.64
"""Standard errors by which a correlation is believed less: its lower 95 % bound. Of validation objects without depth
that the verifier accepts at their true places it still accepts 93 %; slivers of absent models lose 2 to 8 log-odds."""


def picture_doubt(frame: Frame, model: ObjectModel, cam_from_obj: NDArray[np.float64], row: NDArray[np.float64],
                  side: int) -> float:
    """Log-odds (at most 0) to add for a pose (4, 4) because the picture shows too little of it; -inf: nothing at all.

    Args:
      row: its comparison with the frame, from a crop of `side` px.
    """
    step = crop_camera(cam_from_obj, model.center, model.diameter, frame.camera.vector, side)[6]
    pixels = (row[N_INLIER] + row[N_MISSING]) * step**2
    if pixels == 0:
        return -np.inf
    evidence = to_evidence(row)
    believed = replace(evidence, picture=lower_bound(evidence.picture, pixels))
    return min(0.0, VERIFIER.log_odds(believed) - VERIFIER.log_odds(evidence))


def lower_bound(correlation: float, pixels: float) -> float:
    """The correlation that so many pixels prove (Fisher's transformation, SURE standard errors); nan stays nan."""
    error = 1.0 / np.sqrt(max(pixels / BLOCK - 3.0, 1.0))
    return float(np.tanh(np.arctanh(np.clip(correlation, -0.999, 0.999)) - SURE * error))
