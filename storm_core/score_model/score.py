"""Score of poses under noise: gradient and curvature of a depth log-likelihood whose width is the noise level.

log p(depth | pose) = sum over visible points of -rho(e / s) with point-to-plane error e, Tukey's rho and s the sensor
noise widened by the noise level: wide kernels see far, narrow ones see exactly. The points are the z-buffered visible
surface of each particle, rendered anew every few steps and carried along with the pose in between.
"""

import numpy as np
from numba import prange
from numpy.typing import NDArray

from storm_core.evidence.compare import crop_camera
from storm_core.geometry.mesh import ObjectModel
from storm_core.kernels import njit
from storm_core.rendering.raster import raster_one
from storm_core.tracking.sparse_model import sample_surface
from storm_core.types import Frame

SIDE = 44
"""Crop of one particle's render [px]; small enough for the coarse surface."""

POINTS = 260
CUT = 3.0
"""Errors beyond this many kernel widths carry no score."""

CORRELATION = 6.0
"""Neighbouring depth pixels share their errors: this many count as one independent measurement."""


@njit(cache=True, parallel=True)
def visible_kernel(vertices, faces, center, diameter, poses, cam, side, max_points):
    """Visible points (N, max_points, 3) and normals in the object frame, and their numbers (N,), of poses (N, 4, 4)."""
    n = poses.shape[0]
    points, normals = np.zeros((n, max_points, 3)), np.zeros((n, max_points, 3))
    numbers = np.zeros(n, np.int64)
    for k in prange(n):
        crop = crop_camera(poses[k], center, diameter, cam, side)
        inv = np.zeros((side, side), np.float32)
        face = np.full((side, side), -1, np.int32)
        raster_one(vertices, faces, poses[k], crop[:4], inv, face, True)
        depth = np.zeros((side, side), np.float32)
        total = 0
        for v in range(side):
            for u in range(side):
                if face[v, u] >= 0:
                    depth[v, u] = 1.0 / inv[v, u]
                    total += 1
        stride = max(1, int(np.ceil(np.sqrt(total / max_points))))
        numbers[k] = sample_surface(vertices, faces, poses[k], cam, crop, depth, face, stride, points[k], normals[k])
    return points, normals, numbers


@njit(cache=True, parallel=True)
def score_kernel(points, normals, numbers, poses, center, cam, depth_image, width, scores, curvature, log_likelihood):
    """Fill scores (N, 6), curvature (N, 6, 6) and log_likelihood (N,) for poses (N, 4, 4); width: kernel width [m].

    Increments are left, at the object centre: score = d log p / d xi.
    """
    h, w = depth_image.shape
    reach = CUT * width
    inv_var = 1.0 / (width * width * CORRELATION)
    for k in prange(poses.shape[0]):
        pose = poses[k]
        pivot = np.empty(3)
        j = np.empty(6)
        for i in range(3):
            pivot[i] = pose[i, 0] * center[0] + pose[i, 1] * center[1] + pose[i, 2] * center[2] + pose[i, 3]
        scores[k, :] = 0.0
        curvature[k, :, :] = 0.0
        total = 0.0
        for i in range(numbers[k]):
            px, py, pz = points[k, i, 0], points[k, i, 1], points[k, i, 2]
            x = pose[0, 0] * px + pose[0, 1] * py + pose[0, 2] * pz + pose[0, 3]
            y = pose[1, 0] * px + pose[1, 1] * py + pose[1, 2] * pz + pose[1, 3]
            z = pose[2, 0] * px + pose[2, 1] * py + pose[2, 2] * pz + pose[2, 3]
            if z <= 0.01:
                continue
            u, v = int(np.floor(cam[0] * x / z + cam[2] + 0.5)), int(np.floor(cam[1] * y / z + cam[3] + 0.5))
            if u < 0 or v < 0 or u >= w or v >= h:
                continue
            zo = depth_image[v, u]
            if zo <= 0:
                continue
            mx, my, mz = normals[k, i, 0], normals[k, i, 1], normals[k, i, 2]
            nx = pose[0, 0] * mx + pose[0, 1] * my + pose[0, 2] * mz
            ny = pose[1, 0] * mx + pose[1, 1] * my + pose[1, 2] * mz
            nz = pose[2, 0] * mx + pose[2, 1] * my + pose[2, 2] * mz
            rx, ry = (u - cam[2]) / cam[0], (v - cam[3]) / cam[1]
            if nx * rx + ny * ry + nz > -0.1:
                continue
            e = nx * (rx * zo - x) + ny * (ry * zo - y) + nz * (zo - z)
            ratio = e / reach
            if abs(ratio) >= 1.0 or abs(zo - z) > 2 * reach:
                total -= reach * reach * inv_var / 6.0
                continue
            inside = 1.0 - ratio * ratio
            total -= reach * reach * inv_var / 6.0 * (1.0 - inside**3)
            weight = inside * inside * inv_var
            qx, qy, qz = x - pivot[0], y - pivot[1], z - pivot[2]
            j[0], j[1], j[2] = nx, ny, nz
            j[3], j[4], j[5] = qy * nz - qz * ny, qz * nx - qx * nz, qx * ny - qy * nx
            for r in range(6):
                scores[k, r] += weight * j[r] * e
                for s in range(6):
                    curvature[k, r, s] += weight * j[r] * j[s]
        log_likelihood[k] = total


class DepthScore:
    """The score of one object in one frame; keeps each particle's visible points between renders."""

    def __init__(self, frame: Frame, model: ObjectModel) -> None:
        self._frame, self._model = frame, model
        self._visible = (np.zeros((0, POINTS, 3)), np.zeros((0, POINTS, 3)), np.zeros(0, np.int64))

    def render(self, cam_from_objs: NDArray[np.float64]) -> None:
        """Find the visible points of poses (N, 4, 4) anew."""
        m, surface = self._model, self._model.coarse
        self._visible = visible_kernel(surface.vertices, surface.faces, m.center, m.diameter, cam_from_objs,
                                       self._frame.camera.vector, SIDE, POINTS)

    def __call__(
        self, cam_from_objs: NDArray[np.float64], width: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Scores (N, 6), curvatures (N, 6, 6), log-likelihoods (N,) of poses (N, 4, 4), in the order last rendered."""
        n = len(cam_from_objs)
        scores, curvature, log_likelihood = np.zeros((n, 6)), np.zeros((n, 6, 6)), np.zeros(n)
        score_kernel(
            *self._visible,
            cam_from_objs,
            self._model.center,
            self._frame.camera.vector,
            self._frame.depth,
            width,
            scores,
            curvature,
            log_likelihood,
        )
        return scores, curvature, log_likelihood
