"""What a mask that somebody gave says about a pose."""

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.columns import N_INSIDE, N_MASKED, N_OCCLUDED
from storm_core.evidence.compare import CROP_DIAMETERS, crop_focal
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel

PRESENT = 1.0
"""Log-odds that the object is there at all because somebody has seen it; a search presumes nothing."""

WEIGHT, NEUTRAL = 6.0, 0.75
"""Log-odds per unit of agreement, and the agreement that speaks neither for nor against a pose."""


def mask_agreement(table: NDArray[np.float64], cam_from_objs: NDArray[np.float64], model: ObjectModel,
                   camera: PinholeCamera, mask: NDArray[np.bool_], side: int) -> NDArray[np.float64]:
    """Intersection over union (N,) of the given mask (H, W) and what occluders leave of the poses' silhouettes.

    Args:
      table: of `compare` for the poses (N, 4, 4), with this mask and this side [px].
    """
    z = np.maximum(cam_from_objs[:, 2, :3] @ model.center + cam_from_objs[:, 2, 3], 0.02)
    step = CROP_DIAMETERS * model.diameter * crop_focal(camera.fx, camera.fy) / z / side
    mask_area = mask.sum() / step**2
    both = table[:, N_MASKED]
    silhouette = np.maximum(table[:, N_INSIDE] - table[:, N_OCCLUDED], both)
    return both / np.maximum(silhouette + mask_area - both, 1.0)


def mask_log_odds(agreement: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds (N,) to add to the verifier's, which know nothing of the mask."""
    return PRESENT + WEIGHT * (agreement - NEUTRAL)
