"""MSSD and MSPD of many pose pairs at once. Poses are cam_from_obj (N, 4, 4) [m].

Both are a minimum over symmetries of a maximum over model points. The maximum over a few points is a lower bound of
the maximum over all, so only symmetries whose bound is below the best value so far are measured with all points; each
measurement adds the point that decided it to the few. The result is exact.

Reference: BOP Challenge 2019/2020 (Hodan et al., ECCVW 2020).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Distances = Callable[[Array, Array, Array], Array]

_CHUNK = 120_000
"""Numbers per block: more would leave the processor's cache."""
_BOUNDING_POINTS = 12


def mssd_pairs(estimates: Array, truths: Array, extremes: Array,
               symmetries: Array) -> tuple[Array, NDArray[np.int64]]:
    """Maximum symmetry-aware surface distance (N,) [m], and the index (N,) of the symmetry it is reached with.

    Args:
      extremes: (H, 3) model points [m], enough are those of the convex hull (`pose_error_batch.extreme_points`).
      symmetries: (S, 4, 4) obj -> obj.
    """
    def distances(a: Array, b: Array, points: Array) -> Array:
        difference = a - b
        moved = difference[..., :3, :3] @ points + difference[..., :3, 3:]
        return np.einsum("...kp,...kp->...p", moved, moved)

    squared, which = _smallest_maximum(estimates, truths, extremes, symmetries, distances)
    return np.sqrt(squared), which


def mspd_pairs(estimates: Array, truths: Array, points: Array, symmetries: Array, intrinsics: Array) -> Array:
    """Maximum symmetry-aware projection distance (N,) [px]; inf when a point lies behind the camera.

    Args:
      points: (P, 3) all model points [m]: the farthest pixel need not belong to the convex hull.
      intrinsics: (N, 4) fx, fy, cx, cy [px] of the image of each pair.
    """
    behind = np.zeros(len(estimates), bool)
    for part in _parts(len(estimates), len(points)):
        behind[part] = (estimates[part, 2, :3] @ points.T + estimates[part, 2, 3:] <= 0).any(1)
    seen = np.flatnonzero(~behind)
    focal = np.zeros((len(estimates), 2, 2))
    focal[:, 0, 0], focal[:, 1, 1] = intrinsics[:, 0], intrinsics[:, 1]
    out = np.full(len(estimates), np.inf)

    def distances(a: Array, b: Array, points: Array) -> Array:
        difference = _projected(a, points) - _projected(b, points)
        with np.errstate(invalid="ignore"):
            squared = np.einsum("...kp,...kp->...p", difference, difference)
        return np.where(np.isnan(squared), np.inf, squared)

    # The principal point cancels; focal lengths are put into the poses, which then project by dividing alone.
    scaled = [_scaled(poses[seen], focal[seen]) for poses in (estimates, truths)]
    out[seen] = np.sqrt(_smallest_maximum(*scaled, points, symmetries, distances)[0])
    return out


def _scaled(poses: Array, focal: Array) -> Array:
    out = poses.copy()
    out[:, :2] = focal @ poses[:, :2]
    return out


def _projected(poses: Array, points: Array) -> Array:
    """(..., 2, P) pixels relative to the principal point of points (..., 3, P); nan behind the camera."""
    moved = poses[..., :3, :3] @ points + poses[..., :3, 3:]
    z = moved[..., 2:, :]
    if (z <= 0).any():
        z = np.where(z > 0, z, np.nan)
    return moved[..., :2, :] / z


def _smallest_maximum(estimates: Array, truths: Array, points: Array, symmetries: Array,
                      distances: Distances) -> tuple[Array, NDArray[np.int64]]:
    """min (N,) and argmin (N,) over symmetries of max over points (P, 3) of `distances`(estimates, truths @ symmetry,
    columns).

    `distances` takes poses (..., 4, 4) twice and points as columns (..., 3, P), and returns (..., P).
    """
    n = len(estimates)
    best, winner = np.full(n, np.inf), np.zeros(n, np.int64)
    if len(symmetries) == 1:
        for part in _parts(n, len(points)):
            best[part] = distances(estimates[part], truths[part] @ symmetries[0], points.T).max(-1)
        return best, winner
    few = points[spread(points, _BOUNDING_POINTS)].T
    for part in _parts(n, len(symmetries) * few.shape[1]):
        equivalent = truths[part, None] @ symmetries
        bound = distances(estimates[part, None], equivalent, few).max(-1)
        best[part], winner[part] = _measured(estimates[part], equivalent, points, bound, distances)
    return best, winner


def _measured(estimates: Array, equivalent: Array, points: Array, bound: Array,
              distances: Distances) -> tuple[Array, NDArray[np.int64]]:
    """As above, from the poses (n, S, 4, 4) equivalent to the truth and lower bounds (n, S), which are raised."""
    best, winner = np.full(len(estimates), np.inf), np.zeros(len(estimates), np.int64)
    active = np.arange(len(estimates))
    while len(active):
        next_active = []
        for part in _parts(len(active), len(points)):
            rows = active[part]
            which = bound[rows].argmin(1)
            full = distances(estimates[rows], equivalent[rows, which], points.T)
            worst = full.argmax(1)
            largest = full[np.arange(len(rows)), worst]
            winner[rows] = np.where(largest < best[rows], which, winner[rows])
            best[rows] = np.minimum(best[rows], largest)
            decisive = points[worst][:, None, :, None]  # of each pair its own point, for all symmetries
            raised = distances(estimates[rows, None], equivalent[rows], decisive)[..., 0]
            bound[rows] = np.maximum(bound[rows], raised)
            bound[rows, which] = np.inf
            next_active.append(rows[bound[rows].min(1) < best[rows]])
        active = np.concatenate(next_active)
    return best, winner


def spread(points: Array, count: int) -> NDArray[np.int64]:
    """Indices of `count` points far from each other (farthest-point sampling, deterministic)."""
    if len(points) <= count:
        return np.arange(len(points))
    chosen = [int(np.linalg.norm(points - points.mean(0), axis=1).argmax())]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)


def _parts(count: int, each: int) -> list[slice]:
    step = max(1, _CHUNK // max(3 * each, 1))
    return [slice(k, k + step) for k in range(0, count, step)]
