"""What a run says about itself when nobody knows the truth. None of these figures is an accuracy.

A system that is wrong all the time in the same way scores perfectly here; one that scores badly is certainly unusable.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from storm_core.geometry.pose import angle_between, transform
from storm_core.metrics.scores import quantiles

Poses = NDArray[np.float64]

LONGEST_STEP_S = 0.5
"""Neighbouring poses further apart in time are not compared [s]."""


def self_consistency(stamps_ns: Sequence[int], poses: Poses, symmetries: Poses, center: NDArray[np.float64],
                     world_from_cam: Poses | None = None) -> dict[str, Any]:
    """The `self_consistency` section of one object. Figures of which nothing could be measured are nan.

    `trusted_share`; `interruptions`: how often trust ended before the last frame; `longest_gap_s` between two trusted
    frames; `jump_p50_mm`, `_p95_mm`, `_max_mm` and `rotation_jump_p50_deg` ...: distance of a trusted pose to where
    the two trusted frames before it lead at constant velocity; `steps`: how many could be compared; with
    `world_from_cam` also `static`, see `static_spread`.

    Args:
      poses: (N, 4, 4) cam_from_obj of trusted poses [m], nan elsewhere.
      symmetries: (S, 4, 4) of the object; a turn that they explain is none.
      center: (3,) of the object, whose position is measured [m].
      world_from_cam: (N, 4, 4) in a world in which the object does not move, nan where unknown.
    """
    stamps = np.asarray(stamps_ns, np.int64)
    at = np.flatnonzero(np.isfinite(poses).all((1, 2)))
    trusted = np.zeros(len(poses), bool)
    trusted[at] = True
    gaps = np.diff(stamps[at]) * 1e-9
    # From the first stamp on: a float of today's epoch seconds is only exact to some hundred ns.
    time_s = (stamps[at] - stamps[:1]) * 1e-9
    shift_m, turn_rad = deviations(time_s, unwrapped(poses[at], symmetries), center, consecutive(at))
    out: dict[str, Any] = {
        "trusted_share": float(trusted.mean()) if len(trusted) else float("nan"),
        "interruptions": int((trusted[:-1] & ~trusted[1:]).sum()),
        "longest_gap_s": float(gaps.max()) if len(gaps) else float("nan"), "steps": len(shift_m)}
    for name, values, unit in (("jump", 1e3 * shift_m, "mm"), ("rotation_jump", np.degrees(turn_rad), "deg")):
        out |= {f"{name}_{k}_{unit}": v for k, v in quantiles(values, p50=0.5, p95=0.95, max=1.0).items()}
    if world_from_cam is not None:
        out["static"] = static_spread(world_from_cam @ poses, symmetries, center)
    return out


def consecutive(at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions k in `at` (sorted frame numbers) whose two predecessors are the two frames before."""
    return np.flatnonzero((at[2:] - at[:-2]) == 2) + 2


def unwrapped(poses: Poses, symmetries: Poses) -> Poses:
    """The same poses (N, 4, 4), each turned by the symmetry that brings it nearest to the one before it."""
    out = poses.copy()
    for k in range(1, len(out) if len(symmetries) > 1 else 0):
        candidates = poses[k] @ symmetries
        out[k] = candidates[int(angle_between(out[k - 1], candidates).argmin())]
    return out


def deviations(time_s: NDArray[np.float64], poses: Poses, center: NDArray[np.float64],
               at: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(distance [m], angle [rad]) of the poses `at` to where the two before each lead at constant velocity (M,)."""
    step, before = time_s[at] - time_s[at - 1], time_s[at - 1] - time_s[at - 2]
    usable = (step <= LONGEST_STEP_S) & (before <= LONGEST_STEP_S) & (before > 0)
    at, share = at[usable], (step[usable] / before[usable])
    if not len(at):
        return np.empty(0), np.empty(0)
    position = transform(poses, center[None])[:, 0]
    expected = position[at - 1] + share[:, None] * (position[at - 1] - position[at - 2])
    turn = Rotation.from_matrix(poses[at - 1, :3, :3]) * Rotation.from_matrix(poses[at - 2, :3, :3]).inv()
    turned = Rotation.from_rotvec(share[:, None] * turn.as_rotvec()) * Rotation.from_matrix(poses[at - 1, :3, :3])
    return np.linalg.norm(position[at] - expected, axis=1), angle_between(turned.as_matrix(), poses[at, :3, :3])


def static_spread(world_from_obj: Poses, symmetries: Poses, center: NDArray[np.float64]) -> dict[str, Any]:
    """How far the poses of an object that does not move spread in the world.

    `position_p50_mm`, `_p95_mm`: distance of the centre to its median position; `rotation_p50_deg`, `_p95_deg`: angle
    to the mean rotation, after the turns that symmetries explain; `n`: number of poses.

    Args:
      world_from_obj: (N, 4, 4) [m], nan where unknown.
    """
    poses = unwrapped(world_from_obj[np.isfinite(world_from_obj).all((1, 2))], symmetries)
    distance, angle = np.empty(0), np.empty(0)
    if len(poses):
        position = transform(poses, center[None])[:, 0]
        distance = np.linalg.norm(position - np.median(position, axis=0), axis=1)
        mean = Rotation.from_matrix(poses[:, :3, :3]).mean().as_matrix()
        # A mean between symmetric turns is none of them: measured from the pose nearest to it.
        nearest = poses[int(angle_between(mean, poses).argmin())]
        angle = angle_between(nearest, poses[:, None] @ symmetries).min(1)
    return {**{f"position_{k}_mm": v for k, v in quantiles(1e3 * distance, p50=0.5, p95=0.95).items()},
            **{f"rotation_{k}_deg": v for k, v in quantiles(np.degrees(angle), p50=0.5, p95=0.95).items()},
            "n": len(poses)}
