"""Texture modality: brightness of surface points remembered from a key frame, aligned with the image in between.

Contour and depth cannot see a can turn about its axis or a plate slide in its plane; its print can. The brightness
comes from the camera's own picture, not from the mesh's colours, so that lighting and missing textures do no harm;
gain and offset are fitted in every iteration.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from storm_core.geometry.pose import angle_between
from storm_core.tracking.sparse_model import SparseView
from storm_core.types import Frame

MAX_POINTS = 240
MIN_POINTS = 40
MIN_GRADIENT = 3.0
"""Brightness change per px below which a point says nothing about where it is."""

KEEP_ANGLE = 0.2
"""Turn [rad] after which a key frame is replaced."""

KEEP_SCALE = 1.15
"""Relative change of distance after which a key frame is replaced."""

SIGMA_FLOOR = 4.0
"""Brightness error that is always expected (of 255)."""

CORRELATED_POINTS = 2.0
"""Neighbouring points share their errors (shading, blur): this many count as one."""


@dataclass(frozen=True, eq=False, kw_only=True)
class KeyFrame:
    """What the object's surface looked like.

    Attributes:
      points, normals: (P, 3), object frame [m]. brightness: (P,) 0 to 255.
      cam_from_obj: (4, 4) pose in the key frame. sharpness: mean brightness gradient of the points [1/px].
    """

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    brightness: NDArray[np.float64]
    cam_from_obj: NDArray[np.float64]
    sharpness: float

    def still_fits(self, cam_from_obj: NDArray[np.float64]) -> bool:
        """The object is still seen from nearly the same side and distance."""
        middle = self.points.mean(0)
        now, then = (max(float(pose[2, :3] @ middle + pose[2, 3]), 1e-3) for pose in (cam_from_obj, self.cam_from_obj))
        scale = now / then
        return bool(1 / KEEP_SCALE < scale < KEEP_SCALE and angle_between(self.cam_from_obj, cam_from_obj) < KEEP_ANGLE)


@lru_cache(maxsize=2)
def brightness_image(frame: Frame) -> NDArray[np.uint8]:
    """Slightly smoothed grey image (H, W), computed once per frame for all objects."""
    return cv2.GaussianBlur(cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY), (5, 5), 1.0)


@njit(cache=True, inline="always")
def _sample(image, u, v):
    """Bilinear value at (u, v), which must lie inside."""
    x, y = int(u), int(v)
    a, b = u - x, v - y
    top = (1 - a) * image[y, x] + a * image[y, x + 1]
    low = (1 - a) * image[y + 1, x] + a * image[y + 1, x + 1]
    return (1 - b) * top + b * low


@njit(cache=True)
def look_kernel(points, normals, pose, cam, image, depth_image, tolerance):
    """(P, 7): seen (0 or 1), brightness, its gradient in u and v [1/px], and camera point of points at a pose.

    Points turned away and points whose measured depth disagrees by more than `tolerance` [m] are not seen.
    """
    n = points.shape[0]
    h, w = image.shape
    out = np.zeros((n, 7))
    for i in range(n):
        x = pose[0, 0] * points[i, 0] + pose[0, 1] * points[i, 1] + pose[0, 2] * points[i, 2] + pose[0, 3]
        y = pose[1, 0] * points[i, 0] + pose[1, 1] * points[i, 1] + pose[1, 2] * points[i, 2] + pose[1, 3]
        z = pose[2, 0] * points[i, 0] + pose[2, 1] * points[i, 1] + pose[2, 2] * points[i, 2] + pose[2, 3]
        if z <= 0.01:
            continue
        u, v = cam[0] * x / z + cam[2], cam[1] * y / z + cam[3]
        if u < 2 or v < 2 or u > w - 4 or v > h - 4:
            continue
        zo = depth_image[int(v + 0.5), int(u + 0.5)]
        if zo > 0 and abs(zo - z) > tolerance:
            continue
        nx = pose[0, 0] * normals[i, 0] + pose[0, 1] * normals[i, 1] + pose[0, 2] * normals[i, 2]
        ny = pose[1, 0] * normals[i, 0] + pose[1, 1] * normals[i, 1] + pose[1, 2] * normals[i, 2]
        nz = pose[2, 0] * normals[i, 0] + pose[2, 1] * normals[i, 1] + pose[2, 2] * normals[i, 2]
        if nx * x + ny * y + nz * z > -0.25 * z:
            continue
        out[i, 0] = 1.0
        out[i, 1] = _sample(image, u, v)
        out[i, 2] = 0.5 * (_sample(image, u + 1, v) - _sample(image, u - 1, v))
        out[i, 3] = 0.5 * (_sample(image, u, v + 1) - _sample(image, u, v - 1))
        out[i, 4], out[i, 5], out[i, 6] = x, y, z
    return out


@njit(cache=True)
def texture_kernel(seen, reference, cam, pivot, floor, share, hessian, gradient):
    """Add the brightness terms to hessian (6, 6), gradient (6,); increments act at `pivot`. Returns points used.

    seen: table of `look_kernel`. Residual: gain * reference + offset - brightness.
    """
    n, sr, si, srr, sri = 0, 0.0, 0.0, 0.0, 0.0
    for i in range(seen.shape[0]):
        if seen[i, 0] > 0:
            n += 1
            sr += reference[i]
            si += seen[i, 1]
            srr += reference[i] * reference[i]
            sri += reference[i] * seen[i, 1]
    if n < 20:
        return 0
    gain = (sri - sr * si / n) / max(srr - sr * sr / n, 1e-9)
    # Brightness that does not follow the key frame's at all (blur, another side) must not steer.
    if gain < 0.3 or gain > 3.0:
        return 0
    offset = (si - gain * sr) / n
    spread = 0.0
    for i in range(seen.shape[0]):
        if seen[i, 0] > 0:
            spread += abs(gain * reference[i] + offset - seen[i, 1])
    sigma = np.sqrt((1.25 * spread / n) ** 2 + floor * floor)
    j = np.empty(6)
    used = 0
    for i in range(seen.shape[0]):
        if seen[i, 0] == 0:
            continue
        e = gain * reference[i] + offset - seen[i, 1]
        ratio = e / (3.0 * sigma)
        if abs(ratio) >= 1.0:
            continue
        weight = (1.0 - ratio * ratio) ** 2 / (sigma * sigma * share)
        iz = 1.0 / seen[i, 6]
        ax, ay = seen[i, 2] * cam[0] * iz, seen[i, 3] * cam[1] * iz
        az = -(ax * seen[i, 4] + ay * seen[i, 5]) * iz
        rx, ry, rz = seen[i, 4] - pivot[0], seen[i, 5] - pivot[1], seen[i, 6] - pivot[2]
        j[0], j[1], j[2] = ax, ay, az
        j[3], j[4], j[5] = ry * az - rz * ay, rz * ax - rx * az, rx * ay - ry * ax
        used += 1
        for r in range(6):
            gradient[r] += weight * j[r] * e
            for s in range(6):
                hessian[r, s] += weight * j[r] * j[s]
    return used


def make_key_frame(
    frame: Frame, view: SparseView, cam_from_obj: NDArray[np.float64], tolerance: float
) -> KeyFrame | None:
    """Remember the view's surface points at a pose; None when too few have any texture or agree with depth."""
    seen = look_kernel(
        view.surface_points,
        view.surface_normals,
        cam_from_obj,
        frame.camera.vector,
        brightness_image(frame),
        frame.depth,
        tolerance,
    )
    slope = np.hypot(seen[:, 2], seen[:, 3]) * seen[:, 0]
    chosen = np.flatnonzero(slope > MIN_GRADIENT)
    if len(chosen) < MIN_POINTS:
        return None
    chosen = chosen[np.argsort(-slope[chosen], kind="stable")[:MAX_POINTS]]
    return KeyFrame(
        points=view.surface_points[chosen],
        normals=view.surface_normals[chosen],
        brightness=seen[chosen, 1],
        cam_from_obj=cam_from_obj.copy(),
        sharpness=float(slope[chosen].mean()),
    )


def add_texture(
    frame: Frame,
    key: KeyFrame,
    pose: NDArray[np.float64],
    pivot: NDArray[np.float64],
    tolerance: float,
    hessian: NDArray[np.float64],
    gradient: NDArray[np.float64],
) -> int:
    """Add the brightness terms of a pose (4, 4) in place; returns the number of points used."""
    seen = look_kernel(
        key.points, key.normals, pose, frame.camera.vector, brightness_image(frame), frame.depth, tolerance
    )
    return texture_kernel(
        seen, key.brightness, frame.camera.vector, pivot, SIGMA_FLOOR, CORRELATED_POINTS, hessian, gradient
    )
