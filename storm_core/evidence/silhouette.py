"""The modal mask of a pose: where the model is rendered and the measured depth does not contradict it."""

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.compare import inlier_tolerance
from storm_core.geometry.mesh import ObjectModel
from storm_core.rendering.raster import NumbaRenderer
from storm_core.types import Frame


def modal_mask(frame: Frame, model: ObjectModel, cam_from_obj: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(H, W) bool: silhouette pixels with agreeing or missing depth (occluders and see-through cut out)."""
    depth, _ = NumbaRenderer().depth(model, cam_from_obj[None], frame.camera)
    rendered = depth[0]
    agrees = (frame.depth <= 0) | (np.abs(frame.depth - rendered) < inlier_tolerance(model.diameter))
    return (rendered > 0) & agrees
