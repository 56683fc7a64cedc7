"""Covariances of poses (6, 6) in the core's form and in that of ROS messages.

In the core the translation and the rotation of an increment act at the camera's origin (`geometry.pose`); in ROS the
translation is that of the object's origin, the rotation about the fixed axes of the header's frame.
"""

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.pose import skew


def to_ros(cam_from_obj: NDArray[np.float64], covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (6, 6) covariance of a pose (4, 4) in ROS's form, symmetric [m^2, rad^2]."""
    j = _origin_from_left(cam_from_obj)
    out = j @ covariance @ j.T
    return 0.5 * (out + out.T)


def from_ros(cam_from_obj: NDArray[np.float64], covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of `to_ros`."""
    j = np.linalg.inv(_origin_from_left(cam_from_obj))
    return j @ covariance @ j.T


def _origin_from_left(cam_from_obj: NDArray[np.float64]) -> NDArray[np.float64]:
    """(6, 6) map of a left increment (rho, omega) to (shift of the object's origin, rotation about fixed axes)."""
    out = np.eye(6)
    out[:3, 3:] = -skew(cam_from_obj[:3, 3])
    return out
