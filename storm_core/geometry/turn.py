"""Angles for kernels, and for code that asks for one in every frame and object: `angle_between` takes arrays' time."""

import numpy as np

from storm_core.kernels import njit


@njit(cache=True)
def angle_kernel(a, b):  # noqa: ANN001, ANN201
    """Geodesic angle [rad] between the rotations of two poses (4, 4); its slow twin is `pose.angle_between`."""
    cos, x, y, z = -1.0, 0.0, 0.0, 0.0
    for k in range(3):
        cos += a[k, 0] * b[k, 0] + a[k, 1] * b[k, 1] + a[k, 2] * b[k, 2]
        x += a[k, 2] * b[k, 1] - a[k, 1] * b[k, 2]
        y += a[k, 0] * b[k, 2] - a[k, 2] * b[k, 0]
        z += a[k, 1] * b[k, 0] - a[k, 0] * b[k, 1]
    return np.arctan2(np.sqrt(x * x + y * y + z * z), cos)
