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
def normals_kernel(depth, cam):
    """`fit_normal` at every second pixel, (ceil(H/2), ceil(W/2), 3); 0 where there is none."""
    h, w = depth.shape
    out = np.zeros(((h + 1) // 2, (w + 1) // 2, 3), np.float32)
    for r in prange(out.shape[0]):
        for q in range(out.shape[1]):
            fit_normal(depth, 2 * q, 2 * r, cam, out[r, q])
    return out


@lru_cache(maxsize=2)
def frame_features(frame: Frame) -> FrameFeatures:
    """Features of one frame; remembered for the newest frames, because several stages look at the same one."""
    return FrameFeatures(frame, normals_kernel(frame.depth, frame.camera.vector))


def bare_features(frame: Frame) -> FrameFeatures:
    """The frame without normals: for a pose or two it is cheaper to fit those that are looked at."""
    return FrameFeatures(frame, _NO_NORMALS)
