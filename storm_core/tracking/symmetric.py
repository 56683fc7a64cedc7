"""Declared symmetries while tracking: what may turn unnoticed, and which of equal poses continues the last one."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.symmetry import free_axis, nearest_equivalent, turned_to

NO_AXIS = np.zeros(3)
"""In place of the axis for kernels that take one."""


@lru_cache(maxsize=256)
def _free(model: ObjectModel) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    return free_axis(model.symmetries)


def turning_axis(model: ObjectModel) -> NDArray[np.float64] | None:
    """Unit vector (3,) in the object frame that the declared object may turn about freely; None when there is none."""
    free = _free(model)
    return None if free is None else free[0]


def continued(
    model: ObjectModel, cam_from_obj: NDArray[np.float64], reference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of the poses (4, 4) that look the same as `cam_from_obj` by declaration, the one that continues `reference`.

    The declared turns about a continuous axis are a grid; between its steps the turn is exact.
    """
    if len(model.symmetries) < 2:
        return cam_from_obj
    pose, free = nearest_equivalent(cam_from_obj, model.symmetries, reference), _free(model)
    return np.ascontiguousarray(pose if free is None else turned_to(pose[None], reference[None], *free)[0])
