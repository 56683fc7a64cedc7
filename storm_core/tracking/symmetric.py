"""Declared symmetries while tracking: what may turn unnoticed."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.symmetry import free_axis


@lru_cache(maxsize=256)
def turning_axis(model: ObjectModel) -> NDArray[np.float64] | None:
    """Unit vector (3,) in the object frame that the declared object may turn about freely; None when there is none."""
    free = free_axis(model.symmetries)
    return None if free is None else free[0]
