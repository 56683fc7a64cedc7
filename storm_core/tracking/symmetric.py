"""Declared symmetries while tracking: what may turn unnoticed."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import so3_log

CONTINUOUS = np.radians(15.0)
"""Declared turns closer together than this stand for a continuous axis: nobody declares a polygon with 24 sides."""


@lru_cache(maxsize=256)
def turning_axis(model: ObjectModel) -> NDArray[np.float64] | None:
    """Unit vector (3,) in the object frame that the declared object may turn about freely; None when there is none."""
    turns = so3_log(model.symmetries[:, :3, :3])
    angles = np.linalg.norm(turns, axis=1)
    small = np.flatnonzero((angles > 1e-6) & (angles < CONTINUOUS))
    return None if len(small) == 0 else turns[small[0]] / angles[small[0]]
