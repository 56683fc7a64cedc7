"""The modal mask of a pose: where the model is rendered and the measured depth does not contradict it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.compare import inlier_tolerance
from storm_core.geometry.mesh import ObjectModel
from storm_core.rendering.raster import NumbaRenderer
from storm_core.types import Frame

HOLE = 7
"""Side [px] of the holes in an occluder's depth that are closed."""


def modal_mask(frame: Frame, model: ObjectModel, cam_from_obj: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(H, W) bool: silhouette pixels with agreeing or missing depth (occluders and see-through cut out).

    Pixels that a sensor lost on an occluder are the occluder's.
    """
    depth, _ = NumbaRenderer().depth(model, cam_from_obj[None], frame.camera)
    rendered, tolerance = depth[0], inlier_tolerance(model.diameter)
    missing = frame.depth <= 0
    occluder = ((rendered > 0) & ~missing & (frame.depth < rendered - tolerance)).astype(np.uint8)
    lost = missing & (cv2.morphologyEx(occluder, cv2.MORPH_CLOSE, np.ones((HOLE, HOLE), np.uint8)) > 0)
    agrees = (missing & ~lost) | (np.abs(frame.depth - rendered) < tolerance)
    return (rendered > 0) & agrees
