"""How wrong a pose may be that was found in a single frame, by what the tracker would measure there."""

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.tracking.histogram import ColorModel, count
from storm_core.tracking.optimise import assess, center_of, tolerance
from storm_core.tracking.sparse_model import rendered_view
from storm_core.tracking.uncertainty import DEFAULT, conditions_of, left_covariance
from storm_core.types import Frame


def single_frame_covariance(
    frame: Frame, model: ObjectModel, cam_from_obj: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(6, 6) covariance of a left increment of the pose; what contour and depth leave open is reported as unknown."""
    pose = np.array(cam_from_obj, np.float64, order="C")
    view = rendered_view(model, pose, frame.camera)
    colors = ColorModel(count(frame, view, tolerance(model.diameter)))
    fit = assess(frame, model, view, pose, colors.posterior)
    at_center = DEFAULT.covariance(conditions_of(fit, model, frame.camera.fx, 0.0), np.zeros((6, 6)))
    covariance = left_covariance(at_center, center_of(model, pose))
    return 0.5 * (covariance + covariance.T)
