"""Texture modality: brightness of surface points remembered from a key frame, aligned with the image in between.

Contour and depth cannot see a can turn about its axis or a plate slide in its plane; its print can. The brightness
comes from the camera's own picture, not from the mesh's colours, so that lighting and missing textures do no harm;
gain and offset are fitted in every iteration.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.turn import angle_kernel
from storm_core.kernels import njit
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

SHRINKS = (1, 4)
"""Levels of the brightness images: the picture itself, and one four times smaller that texture is caught with."""

SIGMA_FLOOR = 4.0
"""Brightness error that is always expected (of 255)."""

CORRELATED_POINTS = 2.0
"""Neighbouring points share their errors (shading, blur): this many count as one."""


@dataclass(frozen=True, eq=False, kw_only=True)
class KeyFrame:
    """What the object's surface looked like.

    Attributes:
      points, normals: (P, 3), object frame [m]. brightness: (levels, P) 0 to 255.
      cam_from_obj: (4, 4) pose in the key frame. sharpness: mean brightness gradient of the points [1/px].
    """

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    brightness: NDArray[np.float64]
    cam_from_obj: NDArray[np.float64]
    sharpness: float

    @cached_property
    def _middle(self) -> NDArray[np.float64]:
        return self.points.mean(0)

    def still_fits(self, cam_from_obj: NDArray[np.float64]) -> bool:
        """The object is still seen from nearly the same side and distance."""
        now, then = (max(float(pose[2, :3] @ self._middle + pose[2, 3]), 1e-3)
                     for pose in (cam_from_obj, self.cam_from_obj))
        scale = now / then
        return bool(1 / KEEP_SCALE < scale < KEEP_SCALE and angle_kernel(self.cam_from_obj, cam_from_obj) < KEEP_ANGLE)

    def likeness(self, frame: Frame, cam_from_obj: NDArray[np.float64], tolerance: float) -> float:
        """Correlation in [-1, 1] of the remembered and the seen small pictures at a pose; 0 when too little is seen."""
        seen = look(frame, self.points, self.normals, cam_from_obj, 1, tolerance)
        used = seen[:, 0] > 0
        if used.sum() < MIN_POINTS // 2:
            return 0.0
        a, b = (x - x.mean() for x in (seen[used, 1], self.brightness[1][used]))
        return float(a @ b / np.sqrt(max((a @ a) * (b @ b), 1e-9)))


NO_TEXTURE = (np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((len(SHRINKS), 0)))


def texture_of(key: KeyFrame | None) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Points (P, 3), normals (P, 3) and brightness (levels, P) as kernels take them; P = 0 without key."""
    return NO_TEXTURE if key is None else (key.points, key.normals, key.brightness)


@lru_cache(maxsize=2)
def brightness_images(frame: Frame) -> tuple[NDArray[np.uint8], ...]:
    """Slightly smoothed grey images, one per entry of SHRINKS, computed once per frame for all objects."""
    grey = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY)
    h, w = grey.shape
    # Halved twice: the mean of 2 x 2 px has a fast path, that of 4 x 4 px has not.
    half = cv2.resize(grey, (w // 2, h // 2), interpolation=cv2.INTER_AREA)
    quarter = cv2.resize(half, (w // 4, h // 4), interpolation=cv2.INTER_AREA)
    return tuple(cv2.GaussianBlur(image, (5, 5), 1.0) for image in (grey, quarter))


@njit(cache=True)
def _sample(image, u, v):
    """Bilinear value at (u, v), which must lie inside."""
    x, y = int(u), int(v)
    a, b = u - x, v - y
    top = (1 - a) * image[y, x] + a * image[y, x + 1]
    low = (1 - a) * image[y + 1, x] + a * image[y + 1, x + 1]
    return (1 - b) * top + b * low


@njit(cache=True, nogil=True)
def look_kernel(points, normals, pose, cam, image, shrink, depth_image, tolerance):
    """(P, 7): seen (0 or 1), brightness, its gradient in u and v [1/px], and camera point of points at a pose.

    shrink: how many times `image` is smaller than `depth_image`; the gradient is per px of the latter.
    Points turned away and points whose measured depth disagrees by more than `tolerance` [m] are not seen.
    """
    n = points.shape[0]
    h, w = image.shape
    dh, dw = depth_image.shape
    out = np.zeros((n, 7))
    for i in range(n):
        x = pose[0, 0] * points[i, 0] + pose[0, 1] * points[i, 1] + pose[0, 2] * points[i, 2] + pose[0, 3]
        y = pose[1, 0] * points[i, 0] + pose[1, 1] * points[i, 1] + pose[1, 2] * points[i, 2] + pose[1, 3]
        z = pose[2, 0] * points[i, 0] + pose[2, 1] * points[i, 1] + pose[2, 2] * points[i, 2] + pose[2, 3]
        if z <= 0.01:
            continue
        u, v = cam[0] * x / z + cam[2], cam[1] * y / z + cam[3]
        if u < 0 or v < 0 or u > dw - 1 or v > dh - 1:
            continue
        zo = depth_image[int(v + 0.5), int(u + 0.5)]
        u, v = (u + 0.5) / shrink - 0.5, (v + 0.5) / shrink - 0.5
        if u < 2 or v < 2 or u > w - 4 or v > h - 4:
            continue
        if zo > 0 and abs(zo - z) > tolerance:
            continue
        nx = pose[0, 0] * normals[i, 0] + pose[0, 1] * normals[i, 1] + pose[0, 2] * normals[i, 2]
        ny = pose[1, 0] * normals[i, 0] + pose[1, 1] * normals[i, 1] + pose[1, 2] * normals[i, 2]
        nz = pose[2, 0] * normals[i, 0] + pose[2, 1] * normals[i, 1] + pose[2, 2] * normals[i, 2]
        if nx * x + ny * y + nz * z > -0.25 * z:
            continue
        out[i, 0] = 1.0
        out[i, 1] = _sample(image, u, v)
        out[i, 2] = 0.5 * (_sample(image, u + 1, v) - _sample(image, u - 1, v)) / shrink
        out[i, 3] = 0.5 * (_sample(image, u, v + 1) - _sample(image, u, v - 1)) / shrink
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


def look(frame: Frame, points: NDArray[np.float64], normals: NDArray[np.float64], pose: NDArray[np.float64],
         level: int, tolerance: float) -> NDArray[np.float64]:
    """The table of `look_kernel` at a level of the brightness images."""
    return look_kernel(points, normals, pose, frame.camera.vector, brightness_images(frame)[level], SHRINKS[level],
                       frame.depth, tolerance)


def make_key_frame(
    frame: Frame, view: SparseView, cam_from_obj: NDArray[np.float64], tolerance: float
) -> KeyFrame | None:
    """Remember the view's surface points at a pose; None when too few have any texture or agree with depth."""
    seen = look(frame, view.surface_points, view.surface_normals, cam_from_obj, 0, tolerance)
    slope = np.hypot(seen[:, 2], seen[:, 3]) * seen[:, 0]
    chosen = np.flatnonzero(slope > MIN_GRADIENT)
    if len(chosen) < MIN_POINTS:
        return None
    chosen = chosen[np.argsort(-slope[chosen], kind="stable")[:MAX_POINTS]]
    points, normals = view.surface_points[chosen], view.surface_normals[chosen]
    return KeyFrame(
        points=points,
        normals=normals,
        brightness=np.stack([look(frame, points, normals, cam_from_obj, k, tolerance)[:, 1]
                             for k in range(len(SHRINKS))]),
        cam_from_obj=cam_from_obj.copy(),
        sharpness=float(slope[chosen].mean()),
    )
