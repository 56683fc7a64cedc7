"""Per-frame image features, computed once and shared by all objects and stages."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import prange
from numpy.typing import NDArray

from storm_core.kernels import njit
from storm_core.types import Frame

RADIUS = 3
"""Half the side of the window that a normal is fitted to [px]."""

SAME_SURFACE = 0.02
"""Relative step of depth beyond which a pixel of the window belongs to another surface."""

_NO_NORMALS = np.zeros((0, 0, 3), np.float32)


@dataclass(frozen=True, eq=False)
class FrameFeatures:
    """What render-and-compare looks at.

    Attributes:
      frame: the frame itself.
      normal: (ceil(H/2), ceil(W/2), 3) float32 camera-frame normals of every second pixel, 0 = unknown; or (0, 0, 3):
        not computed, whoever needs one fits it.
    """

    frame: Frame
    normal: NDArray[np.float32]


@njit(cache=True, fastmath=True, inline="always")
def fit_normal(depth, u, v, cam, out):
    """Unit normal (3,) of the surface measured around pixel (u, v), facing the camera; False when there is none.

    Least squares of inverse depth over a window: 1/z = a u + b v + c is exact for a plane. cam: fx, fy, cx, cy.
    """
    h, w = depth.shape
    z = depth[v, u]
    if z <= 0:
        return False
    n = 0.0
    su = sv = suu = svv = suv = sw = swu = swv = 0.0
    for dv in range(max(-RADIUS, -v), min(RADIUS, h - 1 - v) + 1):
        for du in range(max(-RADIUS, -u), min(RADIUS, w - 1 - u) + 1):
            zz = depth[v + dv, u + du]
            if zz <= 0 or abs(zz - z) > SAME_SURFACE * z:
                continue
            iz = 1.0 / zz - 1.0 / z
            n += 1.0
            su += du
            sv += dv
            suu += du * du
            svv += dv * dv
            suv += du * dv
            sw += iz
            swu += iz * du
            swv += iz * dv
    if n < (2 * RADIUS + 1) ** 2 * 0.4:
        return False
    a11, a22, a12 = suu - su * su / n, svv - sv * sv / n, suv - su * sv / n
    b1, b2 = swu - su * sw / n, swv - sv * sw / n
    det = a11 * a22 - a12 * a12
    if det < 1e-9:
        return False
    a = (a22 * b1 - a12 * b2) / det
    b = (a11 * b2 - a12 * b1) / det
    # Plane n.X = d has 1/z = (nx (u-cx)/fx + ny (v-cy)/fy + nz)/d, so n is proportional to:
    nx, ny = a * cam[0], b * cam[1]
    nz = 1.0 / z - a * (u - cam[2]) - b * (v - cam[3])
    length = np.sqrt(nx * nx + ny * ny + nz * nz)
    s = -1.0 if nx * (u - cam[2]) / cam[0] + ny * (v - cam[3]) / cam[1] + nz > 0 else 1.0
    out[0], out[1], out[2] = s * nx / length, s * ny / length, s * nz / length
    return True


@njit(cache=True, parallel=True, nogil=True, fastmath=True)
def normals_kernel(depth, cam, top, bottom, left, right):
    """`fit_normal` at every second pixel, (ceil(H/2), ceil(W/2), 3); 0 where there is none and outside the window.

    top, bottom, left, right: rows and columns of the result that are computed, the ends left out.
    """
    h, w = depth.shape
    out = np.zeros(((h + 1) // 2, (w + 1) // 2, 3), np.float32)
    for r in prange(top, bottom):
        for q in range(left, right):
            fit_normal(depth, 2 * q, 2 * r, cam, out[r, q])
    return out


@lru_cache(maxsize=2)
def frame_features(frame: Frame) -> FrameFeatures:
    """Features of one frame; remembered for the newest frames, because several stages look at the same one."""
    h, w = frame.depth.shape
    return FrameFeatures(frame, normals_kernel(frame.depth, frame.camera.vector, 0, (h + 1) // 2, 0, (w + 1) // 2))


def features_around(frame: Frame, center: NDArray[np.float64], radius: float) -> FrameFeatures:
    """Features for poses whose objects stay in a ball: normals in its picture only.

    Args:
      center: (3,) of the ball in the camera frame [m].
      radius: [m].
    """
    h, w = ((n + 1) // 2 for n in frame.depth.shape)
    fx, fy, cx, cy = frame.camera.vector
    nearest = center[2] - radius
    if nearest <= 0:
        return frame_features(frame)
    right_of, below = center[0] / center[2], center[1] / center[2]
    u, v = fx * right_of + cx, fy * below + cy
    # |x/z - X/Z| = |(x - X) Z - X (z - Z)| / (z Z) <= radius |(Z, X)| / (nearest Z), likewise for y.
    reach_u, reach_v = (f * radius / nearest * np.hypot(1.0, slope) for f, slope in ((fx, right_of), (fy, below)))
    left, right = (int(np.clip(x / 2, 0, w)) for x in (u - reach_u - 1, u + reach_u + 3))
    top, bottom = (int(np.clip(y / 2, 0, h)) for y in (v - reach_v - 1, v + reach_v + 3))
    return FrameFeatures(frame, normals_kernel(frame.depth, frame.camera.vector, top, bottom, left, right))


def bare_features(frame: Frame) -> FrameFeatures:
    """The frame without normals: for a pose or two it is cheaper to fit those that are looked at."""
    return FrameFeatures(frame, _NO_NORMALS)
