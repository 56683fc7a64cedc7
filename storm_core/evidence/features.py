"""Per-frame image features, computed once and shared by all objects and stages."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from storm_core.types import Frame


@dataclass(frozen=True, eq=False)
class FrameFeatures:
    """What render-and-compare looks at.

    Attributes:
      frame: the frame itself.
      normal: (ceil(H/2), ceil(W/2), 3) float32 camera-frame normals of every second pixel; 0 = unknown.
    """

    frame: Frame
    normal: NDArray[np.float32]


@njit(cache=True, parallel=True, nogil=True, fastmath=True)
def _normals(depth, fx, fy, cx, cy, stride, radius, gate, box):  # noqa: ANN001, PLR0913
    """Normals by least squares of inverse depth over a window: 1/z = a u + b v + c is exact for a plane.

    box: (x0, y0, x1, y1) [px], where normals are wanted; 0 elsewhere.
    """
    h, w = depth.shape
    oh, ow = (h + stride - 1) // stride, (w + stride - 1) // stride
    out = np.zeros((oh, ow, 3), np.float32)
    q0, q1 = max(0, box[0] // stride), min(ow, box[2] // stride + 1)
    r0, r1 = max(0, box[1] // stride), min(oh, box[3] // stride + 1)
    for r in prange(r0, r1):
        v = r * stride
        for q in range(q0, q1):
            u = q * stride
            z = depth[v, u]
            if z <= 0:
                continue
            n = 0.0
            su = sv = suu = svv = suv = sw = swu = swv = 0.0
            for dv in range(-radius, radius + 1):
                vv = v + dv
                if vv < 0 or vv >= h:
                    continue
                for du in range(-radius, radius + 1):
                    uu = u + du
                    if uu < 0 or uu >= w:
                        continue
                    zz = depth[vv, uu]
                    if zz <= 0 or abs(zz - z) > gate * z:
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
            if n < (2 * radius + 1) ** 2 * 0.4:
                continue
            a11, a22, a12 = suu - su * su / n, svv - sv * sv / n, suv - su * sv / n
            b1, b2 = swu - su * sw / n, swv - sv * sw / n
            det = a11 * a22 - a12 * a12
            if det < 1e-9:
                continue
            a = (a22 * b1 - a12 * b2) / det
            b = (a11 * b2 - a12 * b1) / det
            # Plane n.X = d has 1/z = (nx (u-cx)/fx + ny (v-cy)/fy + nz)/d, so n is proportional to:
            nx, ny = a * fx, b * fy
            nz = 1.0 / z - a * (u - cx) - b * (v - cy)
            length = np.sqrt(nx * nx + ny * ny + nz * nz)
            s = -1.0 if nx * (u - cx) / fx + ny * (v - cy) / fy + nz > 0 else 1.0
            out[r, q, 0], out[r, q, 1], out[r, q, 2] = s * nx / length, s * ny / length, s * nz / length
    return out


@lru_cache(maxsize=2)
def frame_features(frame: Frame) -> FrameFeatures:
    """Features of one frame; remembered for the newest frames, because several stages look at the same one."""
    return _features(frame, (0, 0, frame.camera.width, frame.camera.height))


def region_features(frame: Frame, center_cam: NDArray[np.float64], diameter: float) -> FrameFeatures:
    """Features around one object only: as `frame_features`, normals unknown outside a square of 1.2 diameters.

    Args:
      center_cam: (3,) object centre in the camera frame [m], z > 0.
    """
    u, v = frame.camera.project(center_cam)
    reach = 0.6 * diameter * frame.camera.fx / center_cam[2]
    return _features(frame, (int(u - reach), int(v - reach), int(u + reach) + 1, int(v + reach) + 1))


def _features(frame: Frame, box: tuple[int, int, int, int]) -> FrameFeatures:
    c = frame.camera
    return FrameFeatures(frame, _normals(frame.depth, c.fx, c.fy, c.cx, c.cy, 2, 3, 0.02, box))
