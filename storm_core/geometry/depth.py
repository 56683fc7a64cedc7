"""Depth registration: a depth image measured by one camera, as another camera beside it would see it."""

import numpy as np
from numpy.typing import NDArray

from storm_core.errors import InputError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.pose import require_pose
from storm_core.kernels import njit

MAX_STEP = 0.02
"""Neighbouring measurements further apart than this share of their depth belong to different surfaces."""


def register_depth(depth: NDArray[np.float32], depth_camera: PinholeCamera, color_from_depth: NDArray[np.float64],
                   color_camera: PinholeCamera) -> NDArray[np.float32]:
    """The depth image seen from the colour camera.

    Neighbouring measurements of one surface span triangles that are drawn with a z-buffer; 1/z is interpolated, which
    is exact on planes. Measurements without such neighbours fill the one pixel their centre falls into. Nothing is
    invented where the depth camera saw nothing.

    Args:
      depth: (h, w) z-depth in the depth camera [m], 0 = missing.
      color_from_depth: (4, 4) depth optical frame -> colour optical frame [m].

    Returns:
      (H, W) float32 z-depth in the colour camera [m], 0 = missing.
    """
    if depth.shape != (depth_camera.height, depth_camera.width):
        raise InputError(f"depth is {depth.shape[1]}x{depth.shape[0]} but its camera is {depth_camera.width}x"
                         f"{depth_camera.height}; pass the intrinsics of the depth image")
    pose = require_pose(color_from_depth, "color_from_depth")
    z = np.ascontiguousarray(depth, np.float64)
    v, u = np.mgrid[:depth_camera.height, :depth_camera.width]
    points = depth_camera.back_project(np.stack([u, v], -1), z) @ pose[:3, :3].T + pose[:3, 3]
    points[~((z > 0) & np.isfinite(z))] = 0.0
    valid = points[..., 2] > 1e-3
    inverse_z = np.where(valid, 1.0 / np.where(valid, points[..., 2], 1.0), 0.0)
    px = points[..., 0] * inverse_z * color_camera.fx + color_camera.cx
    py = points[..., 1] * inverse_z * color_camera.fy + color_camera.cy
    buffer = np.zeros((color_camera.height, color_camera.width))
    _draw_cells(px, py, inverse_z, z, buffer, MAX_STEP)
    _draw_points(px, py, inverse_z, buffer, MAX_STEP)
    return np.where(buffer > 0, 1.0 / np.where(buffer > 0, buffer, 1.0), 0.0).astype(np.float32)


@njit(cache=True)
def _draw_cells(px, py, inverse_z, z, buffer, max_step):
    """Draw both triangles of every 2x2 cell; each triangle only where its three corners are one surface."""
    h, w = z.shape
    for r in range(h - 1):
        for c in range(w - 1):
            _draw_triangle(px, py, inverse_z, z, buffer, max_step, r, c, r, c + 1, r + 1, c)
            _draw_triangle(px, py, inverse_z, z, buffer, max_step, r + 1, c + 1, r + 1, c, r, c + 1)


@njit(cache=True, inline="always")
def _draw_triangle(px, py, inverse_z, z, buffer, max_step, r0, c0, r1, c1, r2, c2):
    i0, i1, i2 = inverse_z[r0, c0], inverse_z[r1, c1], inverse_z[r2, c2]
    if i0 <= 0 or i1 <= 0 or i2 <= 0:
        return
    z0, z1, z2 = z[r0, c0], z[r1, c1], z[r2, c2]
    low, high = min(z0, z1, z2), max(z0, z1, z2)
    if high - low > max_step * low:
        return
    x0, y0, x1, y1, x2, y2 = px[r0, c0], py[r0, c0], px[r1, c1], py[r1, c1], px[r2, c2], py[r2, c2]
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    if area <= 0:  # folded over: the colour camera looks at the back of this patch
        return
    h, w = buffer.shape
    left, right = max(0, int(np.ceil(min(x0, x1, x2)))), min(w - 1, int(np.floor(max(x0, x1, x2))))
    top, bottom = max(0, int(np.ceil(min(y0, y1, y2)))), min(h - 1, int(np.floor(max(y0, y1, y2))))
    for y in range(top, bottom + 1):
        for x in range(left, right + 1):
            b0 = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) / area
            b1 = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) / area
            b2 = 1.0 - b0 - b1
            if b0 >= -1e-9 and b1 >= -1e-9 and b2 >= -1e-9:
                value = b0 * i0 + b1 * i1 + b2 * i2
                if value > buffer[y, x]:
                    buffer[y, x] = value


@njit(cache=True)
def _draw_points(px, py, inverse_z, buffer, max_step):
    """Put every measurement into the pixel it falls into when that is empty or holds another, farther surface."""
    h, w = buffer.shape
    rows, cols = px.shape
    for r in range(rows):
        for c in range(cols):
            value = inverse_z[r, c]
            if value <= 0:
                continue
            fx, fy = np.floor(px[r, c] + 0.5), np.floor(py[r, c] + 0.5)
            if fx < 0 or fy < 0 or fx >= w or fy >= h:
                continue
            x, y = int(fx), int(fy)
            if value > buffer[y, x] * (1.0 + max_step):
                buffer[y, x] = value
