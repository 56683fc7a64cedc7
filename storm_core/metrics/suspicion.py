"""Signs that published poses were not measured: frozen, mocked, stale. Pure functions over per-frame arrays.

A finding says what was seen, not who is to blame; an honest system on a still scene gives none, because sensor noise
makes every pose a little different.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.pose import transform

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

WARNING, NOTE = "warning", "note"
FEW = 3
"""Frames from which something is no accident."""
MANY = 10
"""Frames from which a missing variation is worth a note although there is no motion to compare with."""
MOVED_SHARE = 0.01
"""Share of the diameter from which a true motion cannot leave the pose as it was."""
COPY_M = 1e-6
"""No measured pose is that near to the truth [m]; text files of the truth are, with six decimals."""
LONGEST_LAG = 30
_LAG_GAIN = 0.6
"""The error against an earlier truth must be smaller than this share of the error against the frame's own."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Attributes:
      finding: FROZEN, MOCK, STALE, ONE_PROBABILITY or CANNOT_TELL. level: "warning", or "note" where the data cannot
        decide. frames: number of frames concerned. detail: one sentence.
    """

    finding: str
    level: str
    frames: int
    detail: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Published:
    """One object over a run; arrays (N, ...).

    Attributes:
      cam_from_obj: trusted poses (N, 4, 4) [m], nan elsewhere. stamps_ns, pose_stamps_ns: of frame and pose [ns].
      probability: nan where none was given.
      truth: (N, 4, 4) the only instance, turned by the symmetry nearest to the estimate; nan where not known.
      points: (P, 3) some points of the surface that are far apart [m]. diameter [m].
      camera: of the frames, None when not known.
    """

    cam_from_obj: Array
    stamps_ns: NDArray[np.int64]
    pose_stamps_ns: NDArray[np.int64]
    probability: Array
    truth: Array
    points: Array
    diameter: float
    camera: PinholeCamera | None = None


def suspicions(p: Published) -> list[Finding]:
    """Everything suspicious about one object's poses."""
    has_pose = np.isfinite(p.cam_from_obj).all((1, 2))
    if has_pose.sum() < FEW:
        return []
    return [*frozen(p, has_pose), *mock(p, has_pose), *stale(p, has_pose), *one_probability(p, has_pose)]


def frozen(p: Published, has_pose: Bools) -> list[Finding]:
    """The same pose bit by bit over FEW frames or more, or from one frame to the next, while the object moved."""
    same = np.zeros(len(has_pose), bool)
    same[1:] = (p.cam_from_obj[1:] == p.cam_from_obj[:-1]).all((1, 2))
    starts = np.flatnonzero(~same & np.r_[same[1:], False])
    frozen_frames = repeated = still = unknown = 0
    farthest = 0.0
    for start in starts:
        end = start + 1 + int(np.argmin(np.r_[same[start + 1:], False]))
        motion = _motion(p, start, end)
        if motion > max(MOVED_SHARE * p.diameter, 1e-3):
            if end - start >= FEW:
                frozen_frames += end - start
                farthest = max(farthest, motion)
            else:
                repeated += end - start - 1
        elif end - start >= MANY:
            still += (end - start) * (not np.isnan(motion))
            unknown += (end - start) * bool(np.isnan(motion))
    out = []
    if frozen_frames:
        out.append(Finding(finding="FROZEN", level=WARNING, frames=frozen_frames, detail=(
            f"the same pose to the last bit while the object moved by up to {1e3 * farthest:.0f} mm")))
    if repeated >= FEW:
        out.append(Finding(finding="STALE", level=WARNING, frames=repeated, detail=(
            "the pose of the frame before is published again with a new stamp while the object moved")))
    if still:
        out.append(Finding(finding="CANNOT_TELL", level=NOTE, frames=still, detail=(
            "the same pose to the last bit, and the truth stands still too: static truth cannot tell a frozen system")))
    if unknown:
        out.append(Finding(finding="CANNOT_TELL", level=NOTE, frames=unknown, detail=(
            "the same pose to the last bit; without ground truth it cannot be told whether the object moved")))
    return out


def mock(p: Published, has_pose: Bools) -> list[Finding]:
    """Placeholders (identity, zeros, one constant), copies of the ground truth, poses nobody could have seen."""
    poses = p.cam_from_obj[has_pose]
    out = []
    identity = np.abs(poses - np.eye(4)).max((1, 2)) < 1e-9
    at_camera = (np.linalg.norm(poses[:, :3, 3], axis=1) < 1e-6) & ~identity
    for frames, what in ((identity, "the identity"), (at_camera, "at the centre of the camera (zero translation)")):
        if frames.sum() >= FEW:
            out.append(Finding(finding="MOCK", level=WARNING, frames=int(frames.sum()), detail=f"the pose is {what}"))
    index = np.flatnonzero(has_pose)
    if len(poses) >= MANY and (poses == poses[0]).all():
        motion = _motion(p, int(index[0]), int(index[-1]) + 1)
        if motion > max(MOVED_SHARE * p.diameter, 1e-3):
            out.append(Finding(finding="MOCK", level=WARNING, frames=len(poses), detail=(
                f"one constant pose in the whole run while the object moved by {1e3 * motion:.0f} mm")))
    error = _errors(p, index, index)
    known = np.isfinite(error)
    copies = error[known] < COPY_M
    if copies.sum() >= FEW and 2 * copies.sum() >= known.sum():
        out.append(Finding(finding="MOCK", level=WARNING, frames=int(copies.sum()), detail=(
            f"equal to the ground truth within {max(error[known][copies].max(), 1e-15) * 1e6:.1g} um: a copy, "
            "not a measurement")))
    if p.camera is not None:
        outside = _outside(poses, p.points, p.diameter, p.camera)
        if outside.sum() >= FEW:
            out.append(Finding(finding="MOCK", level=WARNING, frames=int(outside.sum()), detail=(
                "the pose lies wholly outside the view of the camera")))
    return out


def stale(p: Published, has_pose: Bools) -> list[Finding]:
    """Poses of an earlier time: their own stamps say so, or they fit an earlier frame's truth much better."""
    out = []
    late_ns = (p.stamps_ns - p.pose_stamps_ns)[has_pose]
    if (late_ns != 0).sum() >= FEW:
        out.append(Finding(finding="STALE", level=WARNING, frames=int((late_ns != 0).sum()), detail=(
            f"stamps of poses differ from those of their frames, median {np.median(late_ns) * 1e-6:.1f} ms")))
    lag, own_m, best_m = estimated_lag(p, has_pose)
    if lag > 0:
        out.append(Finding(finding="STALE", level=WARNING, frames=int(has_pose.sum()), detail=(
            f"poses lag by {lag} frame{'s' if lag > 1 else ''}: the median error is {1e3 * own_m:.2f} mm against the "
            f"truth of their own frame but {1e3 * best_m:.2f} mm against that of {lag} earlier")))
    return out


def estimated_lag(p: Published, has_pose: Bools) -> tuple[int, float, float]:
    """(lag in frames, median error at lag 0, median error at that lag) [m]; lag 0 when no earlier truth fits better.

    Only frames count in which the object moved during the longest lag; a still scene has no lag to be measured.
    """
    index = np.flatnonzero(has_pose)
    own = _errors(p, index, index)
    best, best_error, own_error = 0, float("inf"), float("nan")
    for lag in range(1, min(LONGEST_LAG, len(has_pose) - 1) + 1):
        late = index[index >= lag]
        earlier = _errors(p, late, late - lag)
        here = own[len(index) - len(late):]
        moved = _distance(p.truth[late], p.truth[late - lag], p.points) > max(MOVED_SHARE * p.diameter, 1e-3) / 2
        known = np.isfinite(earlier) & np.isfinite(here) & moved
        if known.sum() < MANY:
            continue
        own_median, median = float(np.median(here[known])), float(np.median(earlier[known]))
        if median < _LAG_GAIN * own_median and median < best_error:
            best, best_error, own_error = lag, median, own_median
    return best, own_error, best_error


def one_probability(p: Published, has_pose: Bools) -> list[Finding]:
    """A score that is always the same says nothing about the poses."""
    given = p.probability[has_pose]
    given = given[np.isfinite(given)]
    if len(given) < MANY or (given != given[0]).any():
        return []
    return [Finding(finding="ONE_PROBABILITY", level=NOTE, frames=len(given), detail=(
        f"every pose has the probability {given[0]:g}: it cannot tell right from wrong"))]


def _motion(p: Published, start: int, end: int) -> float:
    """How far the true object moved from its place in frame `start` until before `end` [m]; nan when not known."""
    truths = p.truth[start:end]
    truths = truths[np.isfinite(truths).all((1, 2))]
    return float(_distance(truths, truths[:1], p.points).max()) if len(truths) > 1 else float("nan")


def _errors(p: Published, poses_at: NDArray[np.int64], truths_at: NDArray[np.int64]) -> Array:
    """Largest distance of the points between pose and truth of pairs of frames [m]; nan when not known."""
    return _distance(p.cam_from_obj[poses_at], p.truth[truths_at], p.points)


def _distance(a: Array, b: Array, points: Array) -> Array:
    return np.linalg.norm(transform(a, points) - transform(b, points), axis=-1).max(-1)


def _outside(poses: Array, points: Array, diameter: float, camera: PinholeCamera) -> Bools:
    """The sphere around the object touches no ray of the camera."""
    center = transform(poses, points.mean(0)[None])[:, 0]
    x, y, z = center.T
    radius = diameter  # generous: the points' mean is not the centre of the sphere
    out = z < -radius
    for position, focal, principal, size in ((x, camera.fx, camera.cx, camera.width),
                                             (y, camera.fy, camera.cy, camera.height)):
        for slope, side in ((-principal / focal, -1.0), ((size - principal) / focal, 1.0)):
            out |= side * (position - slope * z) / np.hypot(1.0, slope) > radius
    return out
