"""How an object can lie on a table: the faces of its convex hull that it does not tip over."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import so3_exp

_SAME_PLANE = 0.995
"""Cosine between the normals of hull faces that count as one support."""


@lru_cache(maxsize=64)
def resting_rotations(model: ObjectModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotations (N, 3, 3) that put a stable side down (-z), and how likely each is (N,), by the area of support.

    The centre of the hull's volume stands in for the centre of mass.
    """
    hull = ConvexHull(model.vertices.astype(float))
    normals, offsets = hull.equations[:, :3], hull.equations[:, 3]
    corners = hull.points[hull.simplices]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(cross, axis=1) / 2
    inside = hull.points[hull.vertices].mean(0)
    # Cones from an inner point to the faces: each has its centre of mass at 3/4 of the way to the face.
    volumes = areas * np.abs(normals @ inside + offsets)
    mass = ((0.75 * corners.mean(1) + 0.25 * inside) * volumes[:, None]).sum(0) / volumes.sum()
    rotations, weights = [], []
    left = np.ones(len(normals), bool)
    for k in np.argsort(-areas, kind="stable"):
        if not left[k]:
            continue
        same = normals @ normals[k] > _SAME_PLANE
        left &= ~same
        foot = mass - (normals[k] @ mass + offsets[k]) * normals[k]
        if _within(foot, corners[same & (np.abs(offsets - offsets[k]) < 0.05 * model.diameter)], normals[k]):
            rotations.append(_down(normals[k]))
            weights.append(areas[same].sum())
    share = np.asarray(weights)
    return np.stack(rotations), share / share.sum()


def _within(point: NDArray[np.float64], triangles: NDArray[np.float64], normal: NDArray[np.float64]) -> bool:
    """Whether a point of a plane lies in one of its triangles (N, 3, 3), or hardly outside."""
    edges = np.roll(triangles, -1, 1) - triangles
    turning = np.cross(edges, point - triangles) @ normal
    sizes = np.abs(turning).sum(1, keepdims=True) + 1e-12
    same_side = (turning > -0.02 * sizes).all(1) | (turning < 0.02 * sizes).all(1)
    return bool(same_side.any())


def _down(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest rotation that turns a unit vector to (0, 0, -1)."""
    axis = np.cross(normal, [0.0, 0.0, -1.0])
    sine = float(np.linalg.norm(axis))
    angle = float(np.arctan2(sine, -normal[2]))
    return so3_exp(angle * (axis / sine if sine > 1e-9 else np.array([1.0, 0.0, 0.0])))
