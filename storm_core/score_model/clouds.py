"""The two point clouds that the score network compares: what the mask shows, and what a pose would show.

Both are points with normals in camera axes, in object diameters. The object's points are those that a z-buffered
render of the pose sees, so that parts hidden by the object itself are not compared.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.score_model.score import visible_kernel

REACH = 0.85
"""Masked points further from their median are not of the object [diameters]."""

PATCH = 0.06
"""Radius of the patch that a normal is fitted to [diameters]."""

SIDE = 36
"""Crop of one particle's render [px]."""

FEWEST = 12
"""Points below which a mask says nothing about a pose."""


@dataclass(frozen=True, eq=False)
class ScenePoints:
    """The masked part of a depth image.

    Attributes:
      points: (N, 3) float32 relative to `origin` [diameters]. normals: (N, 3) float32, towards the camera.
      origin: (3,) median of the measured points [m]. diameter: of the object [m].
    """

    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    origin: NDArray[np.float64]
    diameter: float


def scene_points(
    depth: NDArray[np.float32], mask: NDArray[np.bool_], camera: PinholeCamera, diameter: float, count: int,
    rng: np.random.Generator,
) -> ScenePoints | None:
    """`count` points of a mask (H, W) on a depth image (H, W) [m]; None where too few are measured near each other."""
    v, u = np.nonzero(mask & (depth > 0))
    if len(v) < FEWEST:
        return None
    xyz = camera.back_project(np.stack([u, v], -1), depth[v, u])
    origin = np.median(xyz, axis=0)
    near = np.flatnonzero(np.sum((xyz - origin) ** 2, -1) < (REACH * diameter) ** 2)
    if len(near) < FEWEST:
        return None
    chosen = rng.choice(near, count, replace=len(near) < count)
    points = xyz[chosen]
    normals = _patch_normals(depth, camera, u[chosen], v[chosen], points, PATCH * diameter)
    return ScenePoints(((points - origin) / diameter).astype(np.float32), normals.astype(np.float32), origin, diameter)


def _patch_normals(
    depth: NDArray[np.float32], camera: PinholeCamera, u: NDArray[np.int64], v: NDArray[np.int64],
    points: NDArray[np.float64], radius: float,
) -> NDArray[np.float64]:
    """Unit normals (N, 3), towards the camera, of planes fitted to the measured points within `radius` [m]."""
    h, w = depth.shape
    reach = np.clip(radius * camera.fx / points[:, 2], 1.0, 12.0)
    grid = np.linspace(-1, 1, 5)
    du, dv = (g.reshape(-1) for g in np.meshgrid(grid, grid))
    uu = np.clip(np.rint(u[:, None] + reach[:, None] * du), 0, w - 1).astype(int)
    vv = np.clip(np.rint(v[:, None] + reach[:, None] * dv), 0, h - 1).astype(int)
    z = depth[vv, uu].astype(float)
    around = camera.back_project(np.stack([uu, vv], -1), z) - points[:, None]
    # Somewhat more than the radius: steep surfaces leave the sphere before they leave the patch.
    inside = (z > 0) & (np.sum(around**2, -1) < (2 * radius) ** 2)
    weight = inside / np.maximum(inside.sum(1, keepdims=True), 1)
    mean = np.sum(around * weight[..., None], 1)
    spread = np.swapaxes(around * weight[..., None], 1, 2) @ around - mean[:, :, None] * mean[:, None]
    # Where nothing was measured around a point, it is taken to face the camera.
    ray = points / np.linalg.norm(points, axis=1, keepdims=True)
    spread -= 1e-3 * radius**2 * ray[:, :, None] * ray[:, None]
    normal = np.linalg.eigh(spread)[1][:, :, 0]
    return np.where(np.sum(normal * points, 1, keepdims=True) > 0, -normal, normal)


def object_points(
    model: ObjectModel, cam_from_objs: NDArray[np.float64], camera: PinholeCamera, count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points and normals (N, count, 3) that poses (N, 4, 4) would show, camera axes.

    Relative to the object centre, in diameters.
    """
    vertices, faces = model.coarse.vertices, model.coarse.faces
    poses = np.ascontiguousarray(cam_from_objs, np.float64)
    points, normals, numbers = visible_kernel(
        vertices, faces, model.center, model.diameter, poses, camera.vector, SIDE, 3 * count)
    numbers = np.maximum(numbers, 1)
    index = (np.arange(count) * numbers[:, None]) // count
    turn = np.swapaxes(poses[:, :3, :3], 1, 2)
    points = (np.take_along_axis(points, index[..., None], 1) - model.center) / model.diameter @ turn
    normals = np.take_along_axis(normals, index[..., None], 1) @ turn
    return points.astype(np.float32), normals.astype(np.float32)
