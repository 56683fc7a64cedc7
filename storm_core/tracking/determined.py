"""Whether an image holds an object in every direction."""

import numpy as np

from storm_core.geometry.mesh import ObjectModel
from storm_core.tracking.optimise import Fit
from storm_core.tracking.symmetric import turning_axis

OPEN_SHIFT = 2500.0
"""Information [1/diameter^2] about a shift below which it is open: about 5 % of the diameter, errors being
correlated."""

OPEN_TURN = 5000.0
"""Information [1/rad^2] about a turn below which it is open: about 2 degrees, errors being correlated."""


def leaves_open(model: ObjectModel, fit: Fit) -> bool:
    """A fit determines some shift or turn badly that no declared symmetry makes meaningless."""
    unit = np.array([model.diameter] * 3 + [1.0] * 3)
    information = fit.information * np.outer(unit, unit)
    shift, cross, turn = information[:3, :3], information[:3, 3:], information[3:, 3:]
    axis = turning_axis(model)
    if axis is not None:
        free = fit.cam_from_obj[:3, :3] @ axis
        turn = turn + OPEN_TURN * np.outer(free, free)
    # What is known about the one when the other is not known at all (Schur complements).
    least = np.eye(3)
    turn_alone = turn - cross.T @ np.linalg.solve(shift + least, cross)
    shift_alone = shift - cross @ np.linalg.solve(turn + least, cross.T)
    return bool(np.linalg.eigvalsh(turn_alone)[0] < OPEN_TURN or np.linalg.eigvalsh(shift_alone)[0] < OPEN_SHIFT)
