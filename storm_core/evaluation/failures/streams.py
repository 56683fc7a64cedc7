"""The poses a monitor is asked about: true ones with the errors of a tracker, or those of the real tracker."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import so3_exp
from storm_core.interfaces import Tracker
from storm_core.tracking.motion import Velocity, observe, predict
from storm_core.tracking.reseed import surprise
from storm_core.types import Evidence, Frame, Registration, Track

Array = NDArray[np.float64]

SHIFT, TURN = 0.008, 0.015
"""Standard deviation of a tracker's error [diameters, rad]."""
MEMORY = 0.8
"""Share of a tracker's error that is still there in the next frame."""
GONE = 0.12
"""Visible share below which a tracker holds the object no more."""
START = np.eye(6) * 1e-6
"""Covariance of the true pose that a real tracker starts from [m^2, rad^2]."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Fed:
    """What a monitor is asked about, frame by frame; nan where there is no pose, or nothing is known about it.

    Attributes:
      poses: (N, 4, 4). covariances: (N, 6, 6), region: (N,) as in Track: what the tracker says of its pose.
    """

    poses: Array
    covariances: Array
    region: Array

    @classmethod
    def of(cls, poses: Array) -> "Fed":
        """Poses that no tracker vouches for."""
        n = len(poses)
        return cls(poses=poses, covariances=np.full((n, 6, 6), np.nan), region=np.full(n, np.nan))

    def changed(self, poses: Array) -> "Fed":
        """With other poses; what the tracker said does not hold for those that differ."""
        other = (poses != self.poses).any((1, 2))
        return replace(self, poses=poses, covariances=np.where(other[:, None, None], np.nan, self.covariances),
                       region=np.where(other, np.nan, self.region))


class Stream(Protocol):
    """(truths, visible, frames, stale, seed) -> what is fed."""

    def __call__(self, model: ObjectModel, truths: Array, visible: Array, frames: Sequence[Frame],
                 stale: NDArray[np.bool_], seed: Sequence[int]) -> Fed: ...


def noisy_truth(model: ObjectModel, truths: Array, visible: Array, frames: Sequence[Frame],
                stale: NDArray[np.bool_], seed: Sequence[int]) -> Fed:
    """The true poses with correlated errors; while the object has left the picture or pictures repeat, the last one.

    Args:
      truths: (N, 4, 4). visible: (N,) nan = unknown. stale: (N,). seed: of the errors.
    """
    rng = np.random.default_rng(list(seed))
    error = rng.standard_normal(6)
    out = np.empty_like(truths)
    for k, truth in enumerate(truths):
        error = MEMORY * error + np.sqrt(1 - MEMORY**2) * rng.standard_normal(6)
        if k and (stale[k] or _outside(frames[k], model, truth)):
            out[k] = out[k - 1]
            continue
        pose = truth.copy()
        pose[:3, :3] = so3_exp(TURN * error[3:]) @ truth[:3, :3]
        center = truth[:3, :3] @ model.center + truth[:3, 3] + SHIFT * model.diameter * error[:3]
        pose[:3, 3] = center - pose[:3, :3] @ model.center
        out[k] = pose
    return Fed.of(out)


def tracked(tracker: Tracker) -> Stream:
    """Poses of a real tracker; it starts from the truth, and again whenever it has given up and the object is there."""
    def run(model: ObjectModel, truths: Array, visible: Array, frames: Sequence[Frame],
            stale: NDArray[np.bool_], seed: Sequence[int]) -> Fed:
        tracker.reset(model.name)
        out = Fed.of(np.full_like(truths, np.nan))
        following = False
        for k, frame in enumerate(frames):
            result = tracker.track(frame).get(model.name) if following else None
            following = isinstance(result, Track)
            if isinstance(result, Track):
                out.poses[k], out.covariances[k], out.region[k] = result.cam_from_obj, result.covariance, result.region
            elif not visible[k] < 0.5 and not stale[k]:
                tracker.start(frame, Registration(
                    object_name=model.name, stamp_ns=frame.stamp_ns, cam_from_obj=truths[k], covariance=START,
                    probability=1.0, evidence=Evidence()))
                out.poses[k], following = truths[k], True
        tracker.reset(model.name)
        return out
    return run


def innovations(model: ObjectModel, poses: Array, stamps_ns: NDArray[np.int64]) -> Array:
    """Pose change against damped constant velocity / diameter (N,), as the tracker measures it; nan without a pose."""
    out, velocity, before = np.full(len(poses), np.nan), Velocity(), None
    for k, pose in enumerate(poses):
        if np.isnan(pose).any():
            before, velocity = None, Velocity()
            continue
        if before is None:
            out[k] = 0.0
        else:
            dt = float(stamps_ns[k] - stamps_ns[before]) * 1e-9
            out[k] = surprise(model, predict(poses[before], model.center, velocity, dt), pose)
            velocity = observe(velocity, poses[before], pose, model.center, dt)
        before = k
    return out


def _outside(frame: Frame, model: ObjectModel, cam_from_obj: Array) -> bool:
    """The middle of the object has left the picture by enough that less than GONE of it can be inside."""
    center = cam_from_obj[:3, :3] @ model.center + cam_from_obj[:3, 3]
    if center[2] <= 0.02:
        return True
    camera, reach = frame.camera, (0.5 - GONE) * model.diameter / center[2]
    u, v = camera.fx * center[0] / center[2] + camera.cx, camera.fy * center[1] / center[2] + camera.cy
    return bool(u < -reach * camera.fx or u > camera.width + reach * camera.fx
                or v < -reach * camera.fy or v > camera.height + reach * camera.fy)
