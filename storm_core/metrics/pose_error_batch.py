"""The errors of `pose_error` for many poses at once. Poses are cam_from_obj (N, 4, 4) [m]; same values to rounding."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from storm_core.geometry.pose import inverse

Array = NDArray[np.float64]

_CHUNK = 100_000
"""Distances held in memory at once: more would leave the processor's cache."""
_QUERIES = 2_000_000
"""Points looked up at once: enough to keep all threads busy."""


def extreme_points(points: Array) -> Array:
    """The points (H, 3) among `points` that any largest distance between two placements of them is reached at.

    The distance of a point to its other placement is convex in the point, so its maximum lies on the convex hull.
    """
    try:
        return points[ConvexHull(points).vertices]
    except (QhullError, ValueError):  # flat, or fewer than four points
        return points


def add_batch(estimates: Array, truths: Array, points: Array) -> Array:
    """ADD of each pair of poses (N,) [m]."""
    out = np.empty(len(estimates))
    for part in _parts(len(estimates), len(points)):
        out[part] = _distances(estimates[part] - truths[part], points).mean(-1)
    return out


def adds_batch(estimates: Array, truths: Array, points: Array, tree: Any, *, workers: int = -1) -> Array:
    """ADD-S of each pair of poses (N,) [m].

    Args:
      tree: cKDTree of `points`. workers: threads of the query, -1 = all cores.
    """
    out = np.empty(len(estimates))
    for part in _parts(len(estimates), len(points), _QUERIES):
        relative = inverse(estimates[part]) @ truths[part]
        moved = points @ np.swapaxes(relative[:, :3, :3], 1, 2) + relative[:, None, :3, 3]
        out[part] = tree.query(moved, workers=workers)[0].mean(-1)
    return out


def projected_batch(estimates: Array, truths: Array, points: Array, intrinsics: Array) -> Array:
    """Mean projected distance of each pair of poses (N,) [px]; inf behind the camera, nan for unknown intrinsics.

    Args:
      intrinsics: (N, 4) fx, fy, cx, cy [px] of the image of each pair.
    """
    out = np.empty(len(estimates))
    for part in _parts(len(estimates), len(points)):
        pixels = []
        with np.errstate(divide="ignore", invalid="ignore"):
            for poses in (estimates[part], truths[part]):
                moved = poses[:, :3, :3] @ points.T + poses[:, :3, 3:]
                ahead = moved[:, 2:] > 0
                pixels.append(np.where(ahead, moved[:, :2] / moved[:, 2:], np.inf) * intrinsics[part, :2, None])
            lengths = np.linalg.norm(pixels[0] - pixels[1], axis=1)
        lengths[~np.isfinite(lengths)] = np.inf
        out[part] = np.where(np.isnan(intrinsics[part]).any(1), np.nan, lengths.mean(-1))
    return out


def _distances(difference: Array, points: Array) -> Array:
    """Lengths (..., P) of the images of points (P, 3) under differences of poses (..., 4, 4)."""
    moved = difference[..., :3, :3] @ points.T + difference[..., :3, 3:]
    return np.sqrt(np.einsum("...kp,...kp->...p", moved, moved))


def _parts(count: int, each: int, together: int = _CHUNK) -> list[slice]:
    step = max(1, together // max(each, 1))
    return [slice(k, k + step) for k in range(0, count, step)]
