"""Whether an image holds an object in every direction."""

import numpy as np

from storm_core.geometry.linear import solve_positive
from storm_core.geometry.mesh import ObjectModel
from storm_core.kernels import njit
from storm_core.tracking.optimise import Fit
from storm_core.tracking.symmetric import NO_AXIS, turning_axis

OPEN_SHIFT = 2500.0
"""Information [1/diameter^2] about a shift below which it is open: about 5 % of the diameter, errors being
correlated."""

OPEN_TURN = 5000.0
"""Information [1/rad^2] about a turn below which it is open: about 2 degrees, errors being correlated."""


def leaves_open(model: ObjectModel, fit: Fit) -> bool:
    """A fit determines some shift or turn badly that no declared symmetry makes meaningless."""
    axis = turning_axis(model)
    free = NO_AXIS if axis is None else fit.cam_from_obj[:3, :3] @ axis
    shift, turn = least_kernel(fit.information, model.diameter, free, OPEN_TURN)
    return bool(shift < OPEN_SHIFT or turn < OPEN_TURN)


@njit(cache=True)
def least_kernel(information, diameter, free, enough):
    """Least information about a shift [1/diameter^2] and about a turn [1/rad^2] in any direction.

    information: (6, 6) [1/m^2, 1/rad^2]. free: (3,) axis in the camera frame about which turns count as known with
    information `enough`; zeros for none.
    """
    shift = information[:3, :3] * diameter**2
    cross = information[:3, 3:] * diameter
    turn = information[3:, 3:] + enough * free.reshape(3, 1) * free
    # What is known about the one when the other is not known at all (Schur complements).
    least = np.eye(3)
    turn_alone = turn - cross.T @ solve_positive(shift + least, cross)
    shift_alone = shift - cross @ solve_positive(turn + least, cross.T)
    return np.linalg.eigvalsh(shift_alone)[0], np.linalg.eigvalsh(turn_alone)[0]
