"""What is true of every frame: how wrong the pose is, whether the object can be seen, whether pictures are alive."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.bags.true_poses import VISIBLE_SHARE
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.symmetry import free_axis, turned_to
from storm_core.metrics.pose_error_batch import extreme_points
from storm_core.metrics.symmetric_error import mssd_pairs

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

RIGHT = 0.1
"""Error [diameters] up to which a pose is right: what the monitor's probability is about."""


def pose_errors(model: ObjectModel, cam_from_objs: Array, truths: Array) -> Array:
    """MSSD / diameter (N,): the farthest surface point, over all declared symmetries. Poses (N, 4, 4) [m].

    Turns about a continuous axis are taken exactly, not at the steps of the discretised group.
    """
    points = extreme_points(model.eval_vertices)
    errors = mssd_pairs(cam_from_objs, truths, points, model.symmetries)[0]
    axis = free_axis(model.symmetries)
    if axis is not None:
        nearest = truths[:, None] @ model.symmetries
        for k in range(len(truths)):
            # Discrete symmetries beside the axis: every equivalent is turned, the best counts.
            turned = turned_to(nearest[k], np.repeat(cam_from_objs[k:k + 1], len(nearest[k]), 0), *axis)
            repeated = np.repeat(cam_from_objs[k:k + 1], len(turned), 0)
            errors[k] = min(errors[k], mssd_pairs(repeated, turned, points, np.eye(4)[None])[0].min())
    return errors / model.diameter


@dataclass(frozen=True, eq=False, kw_only=True)
class Labels:
    """Ground truth of one clip; arrays (N,).

    Attributes:
      error: MSSD / diameter of the fed pose. visible: share of the silhouette; nan = unknown, counts as visible.
      stale: the picture repeats an earlier one. known: the true pose is accurate enough to judge by.
    """

    error: Array
    visible: Array
    stale: Bools
    known: Bools

    @property
    def right(self) -> Bools:
        return self.error <= RIGHT

    @property
    def hidden(self) -> Bools:
        return self.visible < VISIBLE_SHARE

    @property
    def judged(self) -> Bools:
        """The pictures can show whether the pose is right."""
        return self.known & ~self.hidden & ~self.stale

    @property
    def healthy(self) -> Bools:
        """Trust is deserved, and an alarm is false."""
        return self.judged & self.right

    @property
    def untrustworthy(self) -> Bools:
        """Trust must be withdrawn: a wrong pose, an object out of sight, or dead pictures."""
        return self.known & (~self.right | self.hidden | self.stale)
