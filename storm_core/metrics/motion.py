"""Steps from frame to frame that the object did not make: jumps and flips. Poses are cam_from_obj (N, 4, 4) [m]."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.pose import angle_between, inverse
from storm_core.metrics.pose_error_batch import extreme_points
from storm_core.metrics.symmetric_error import mssd_pairs

Array = NDArray[np.float64]

JUMP_SHARE = 0.1
"""A trusted pose that moves by more than this share of the diameter against the truth within a frame has jumped."""
FLIP_DEG = 30.0
"""A turn against the truth within one frame that is a flip when a declared symmetry explains it [deg]."""
TURNED_DEG = 90.0
"""A turn against the truth within one frame that is a flip although no symmetry explains it [deg]."""


class Flips(NamedTuple):
    """Sudden turns between neighbouring frames.

    symmetric: the new orientation looks the same by a declared symmetry (the pose is right, its user is surprised).
    turned: by more than 90 degrees whatever the symmetry.
    """

    symmetric: int
    turned: int


def jumps(estimates: Array, truths: Array, points: Array, symmetries: Array, diameter: float) -> int:
    """Number of neighbouring frames whose estimates moved by more than 0.1 diameter against the true motion.

    A constant error is no jump; a flip between symmetric poses is none either.

    Args:
      estimates, truths: (N, 4, 4); nan = nothing known, which ends a sequence.
    """
    expected, after = _expected(estimates, truths)
    if not len(after):
        return 0
    moved, _ = mssd_pairs(after, expected, extreme_points(points), symmetries)
    return int((moved > JUMP_SHARE * diameter).sum())


def flips(estimates: Array, truths: Array, symmetries: Array) -> Flips:
    """Sudden turns against the true motion. Arguments as for `jumps`; without truth pass the identity everywhere,
    which takes the object for standing still."""
    expected, after = _expected(estimates, truths)
    if not len(after):
        return Flips(0, 0)
    turn = np.degrees(angle_between(expected, after))
    unexplained = np.degrees(angle_between(expected[:, None] @ symmetries, after[:, None])).min(1)
    # What a symmetry explains leaves much less than it started with; slips along a fine grid of turns do not count.
    symmetric = (turn > FLIP_DEG) & (unexplained < FLIP_DEG / 2)
    return Flips(int(symmetric.sum()), int((unexplained > TURNED_DEG).sum()))


def _expected(estimates: Array, truths: Array) -> tuple[Array, Array]:
    """(expected, estimated) poses of each frame that, like the one before it, has an estimate and a truth."""
    known = np.isfinite(estimates).all((1, 2)) & np.isfinite(truths).all((1, 2))
    after = np.flatnonzero(known[1:] & known[:-1]) + 1
    return truths[after] @ inverse(truths[after - 1]) @ estimates[after - 1], estimates[after]
