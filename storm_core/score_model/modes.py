"""Modes of a set of particles: groups of poses that show the object alike up to a small error."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import angle_between, so3_log
from storm_core.tracking.uncertainty import left_covariance

SHIFT, TURN = 0.1, 0.35
"""Particles nearer to each other belong to one mode: diameters, radians."""

CALIBRATION = 0.002
"""Error of camera and depth that all particles share: part of the distance."""


@dataclass(frozen=True, eq=False)
class Mode:
    """Attributes:
    cam_from_obj: (4, 4) of its most central particle. weight: share of all particles. members: (M,) their indices.
    """

    cam_from_obj: NDArray[np.float64]
    weight: float
    members: NDArray[np.int64]


def find_modes(model: ObjectModel, poses: NDArray[np.float64], weights: NDArray[np.float64], *, least: float = 0.1
               ) -> list[Mode]:
    """Modes of particles (N, 4, 4) with weights (N,), heaviest first, at least one.

    Greedy: the heaviest particle that is left takes everything near it. Modes lighter than `least` of the heaviest are
    left out: a bottle may have twenty, each of them as good as the others.
    """
    left = np.ones(len(poses), bool)
    modes = []
    while left.any():
        best = int(np.argmax(np.where(left, weights, -1.0)))
        members = np.flatnonzero(left & is_near(model, poses[best], poses))
        left[members] = False
        middle = members[central(model, poses[members], weights[members])]
        modes.append(Mode(poses[middle], float(weights[members].sum()), members))
    modes.sort(key=lambda m: -m.weight)
    return [m for m in modes if m.weight >= least * modes[0].weight]


def central(model: ObjectModel, poses: NDArray[np.float64], weights: NDArray[np.float64]) -> int:
    """Index of the pose (M, 4, 4) with the least mean squared distance to all (weights (M,)): turn and shift of the
    centre, a radian counting as half a diameter."""
    centers = (poses[:, :3, :3] @ model.center + poses[:, :3, 3]) / (0.5 * model.diameter)
    apart = ((centers[:, None] - centers[None]) ** 2).sum(-1)
    apart += angle_between(poses[:, None], poses[None]) ** 2
    return int((apart @ weights).argmin())


def mode_covariance(model: ObjectModel, mode: Mode, poses: NDArray[np.float64], weights: NDArray[np.float64]
                    ) -> NDArray[np.float64]:
    """Covariance (6, 6) of one mode of particles (N, 4, 4), in the form of `Registration.covariance`."""
    spread = local_spread(model, mode.cam_from_obj, poses[mode.members], weights[mode.members])
    assert spread is not None, "a mode's own particle is near it"
    center = mode.cam_from_obj[:3, :3] @ model.center + mode.cam_from_obj[:3, 3]
    covariance = left_covariance(spread + sight_limit(model, center), center)
    return 0.5 * (covariance + covariance.T)


def sight_limit(model: ObjectModel, center: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variances (6, 6) at an object centre (3,) [m] that no particle can see: they all look at the same image."""
    shift = CALIBRATION * center[2]
    return np.diag([shift**2] * 3 + [(2 * shift / model.diameter) ** 2] * 3)


def is_near(model: ObjectModel, pose: NDArray[np.float64], poses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which poses (N, 4, 4) are of the same mode as `pose` (4, 4)."""
    centers = poses[:, :3, :3] @ model.center + poses[:, :3, 3]
    center = pose[:3, :3] @ model.center + pose[:3, 3]
    close = np.linalg.norm(centers - center, axis=1) < SHIFT * model.diameter
    return close & (angle_between(pose, poses) < TURN)


def local_spread(model: ObjectModel, pose: NDArray[np.float64], poses: NDArray[np.float64],
                 weights: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Second moment (6, 6) of the increments at the object centre from `pose` to the particles of its mode; None where
    no particle is: they say nothing about how certain that pose is."""
    near = is_near(model, pose, poses)
    if not near.any():
        return None
    w = weights[near] / weights[near].sum()
    center = pose[:3, :3] @ model.center + pose[:3, 3]
    shift = poses[near, :3, :3] @ model.center + poses[near, :3, 3] - center
    xi = np.concatenate([shift, so3_log(poses[near, :3, :3] @ pose[:3, :3].T)], 1)
    return (xi * w[:, None]).T @ xi
