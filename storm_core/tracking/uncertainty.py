"""How wrong a tracked pose may be: 6x6 covariances about the object centre, and as left increments."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import skew

if TYPE_CHECKING:
    from storm_core.tracking.optimise import Fit

CORRELATION = 6.0
"""Neighbouring lines and depth pixels share their errors: this many count as one independent measurement."""

CALIBRATION_PX, CALIBRATION_DEPTH = 0.5, 0.002
"""Errors that no number of measurements averages out: half a pixel of image alignment, 0.2 % of the distance."""

UNKNOWN_SHIFT, UNKNOWN_TURN = 0.5, 0.5
"""Standard deviation that is reported for what the image leaves open: diameters, radians."""

MIN_VARIANCE = 0.1
"""Residual variance, relative to the assumed noise, below which a fit is not believed to be any better."""


def diagonal_information(shift: float, turn: float) -> NDArray[np.float64]:
    """(6, 6) information of standard deviations `shift` [m] and `turn` [rad] per axis."""
    return np.diag([1 / shift**2] * 3 + [1 / turn**2] * 3)


def fit_covariance(fit: "Fit", model: ObjectModel, focal_px: float) -> NDArray[np.float64]:
    """(6, 6) covariance about the object centre: normal matrix scaled by the residuals, plus calibration errors."""
    z = (fit.cam_from_obj[:3, :3] @ model.center + fit.cam_from_obj[:3, 3])[2]
    pixel = CALIBRATION_PX * z / focal_px
    turn = pixel / (0.5 * model.diameter)
    # Without depth the distance comes from the apparent size alone: half a pixel at the radius of the object.
    along = CALIBRATION_DEPTH * z if fit.measured > 0.2 else turn * z
    floor = np.diag([pixel**2, pixel**2, pixel**2 + along**2, turn**2, turn**2, turn**2])
    noise = CORRELATION * max(fit.variance, MIN_VARIANCE)
    unknown = diagonal_information(UNKNOWN_SHIFT * model.diameter, UNKNOWN_TURN)
    return np.linalg.inv(fit.information / noise + unknown) + floor


def left_covariance(at_center: NDArray[np.float64], center: NDArray[np.float64]) -> NDArray[np.float64]:
    """(6, 6) covariance of a left increment exp(xi) of the camera frame, from one that acts at the object centre.

    A turn about the centre c is a turn about the camera origin plus the shift c x omega (adjoint).
    """
    adjoint = np.eye(6)
    adjoint[:3, 3:] = skew(center)
    return adjoint @ at_center @ adjoint.T
