"""The measured pixels that belong to an object whose pose is roughly known: a mask where nobody drew one."""

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.rendering.raster import NumbaRenderer
from storm_core.types import Frame

BESIDE = 0.06
"""How far beyond the rendered silhouette pixels count [diameters]."""

BEFORE, BEHIND = 0.15, 0.15
"""How far from the rendered depth they may be [diameters]."""


def near_pose(frame: Frame, model: ObjectModel, cam_from_obj: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(H, W): pixels near the silhouette of a pose whose depth is near the depth it would have there."""
    depth = NumbaRenderer().depth(model, cam_from_obj[None], frame.camera)[0][0]
    z = float((cam_from_obj[:3, :3] @ model.center + cam_from_obj[:3, 3])[2])
    radius = max(1, round(BESIDE * model.diameter * frame.camera.fx / max(z, 0.05)))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    farthest = cv2.dilate(depth, disk)
    nearest = cv2.erode(np.where(depth > 0, depth, np.float32(1e3)), disk)
    return ((farthest > 0) & (frame.depth > nearest - BEFORE * model.diameter)
            & (frame.depth < farthest + BEHIND * model.diameter))
