"""Z-buffer rasteriser in numba: many poses of one mesh, parallel over poses.

Pixel (0, 0) has its centre at (0, 0). A pixel is covered when its centre lies inside the projected triangle; depth is
interpolated linearly in 1/z, which is exact for planes. Triangles that reach behind the near plane are dropped.
"""

import numpy as np
from numba import prange
from numpy.typing import NDArray

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.kernels import njit
from storm_core.rendering.renderer import Rendering

NEAR = 1e-3
"""Near plane [m]."""


@njit(cache=True, fastmath=True, inline="always")
def _draw(px, py, pw, i0, i1, i2, face, inv_depth, face_id, flip):  # noqa: ANN001, PLR0913
    """Draw one triangle into an inverse-depth buffer (h, w). pw = 1/z. flip: draw back faces too."""
    h, w = inv_depth.shape
    x0, y0, w0 = px[i0], py[i0], pw[i0]
    x1, y1, w1 = px[i1], py[i1], pw[i1]
    x2, y2, w2 = px[i2], py[i2], pw[i2]
    if w0 <= 0 or w1 <= 0 or w2 <= 0:
        return
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    # Outside-counter-clockwise faces that look at the camera turn clockwise in image axes (y down): area < 0.
    if area >= 0 and not flip:
        return
    if area == 0:
        return
    lo_x, hi_x = min(x0, x1, x2), max(x0, x1, x2)
    lo_y, hi_y = min(y0, y1, y2), max(y0, y1, y2)
    if hi_x < 0 or hi_y < 0 or lo_x > w - 1 or lo_y > h - 1:
        return
    u0, u1 = max(0, int(np.ceil(lo_x))), min(w - 1, int(np.floor(hi_x)))
    v0, v1 = max(0, int(np.ceil(lo_y))), min(h - 1, int(np.floor(hi_y)))
    inv = 1.0 / area
    # Barycentrics are affine in (u, v): b1 belongs to vertex 1, b2 to vertex 2.
    b1u, b1v = (y2 - y0) * inv, -(x2 - x0) * inv
    b2u, b2v = -(y1 - y0) * inv, (x1 - x0) * inv
    eps = -1e-6
    for v in range(v0, v1 + 1):
        b1 = (u0 - x0) * b1u + (v - y0) * b1v
        b2 = (u0 - x0) * b2u + (v - y0) * b2v
        for u in range(u0, u1 + 1):
            if b1 >= eps and b2 >= eps and b1 + b2 <= 1 - eps:
                iz = w0 + b1 * (w1 - w0) + b2 * (w2 - w0)
                if iz > inv_depth[v, u]:
                    inv_depth[v, u] = iz
                    face_id[v, u] = face
            b1 += b1u
            b2 += b2u


@njit(cache=True, fastmath=True)
def raster_one(vertices, faces, pose, cam, inv_depth, face_id, two_sided):  # noqa: ANN001, PLR0913
    """Rasterise one pose into inv_depth (h, w) [1/m] and face_id (h, w), both already cleared."""
    n = vertices.shape[0]
    px = np.empty(n, np.float32)
    py = np.empty(n, np.float32)
    pw = np.empty(n, np.float32)
    for i in range(n):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        cx = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]
        cy = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]
        cz = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
        if cz > NEAR:
            iz = 1.0 / cz
            px[i] = cam[0] * cx * iz + cam[2]
            py[i] = cam[1] * cy * iz + cam[3]
            pw[i] = iz
        else:
            pw[i] = 0.0
    for f in range(faces.shape[0]):
        _draw(px, py, pw, faces[f, 0], faces[f, 1], faces[f, 2], f, inv_depth, face_id, two_sided)


@njit(cache=True, parallel=True, nogil=True, fastmath=True)
def raster_batch(vertices, faces, poses, cams, height, width, two_sided):  # noqa: ANN001, PLR0913
    """Rasterise poses (N, 4, 4) with cams (N, 4) = fx fy cx cy -> depth (N, h, w) [m], face (N, h, w)."""
    n = poses.shape[0]
    depth = np.zeros((n, height, width), np.float32)
    face = np.full((n, height, width), -1, np.int32)
    for k in prange(n):
        raster_one(vertices, faces, poses[k], cams[k], depth[k], face[k], two_sided)
        for v in range(height):
            for u in range(width):
                if face[k, v, u] >= 0:
                    depth[k, v, u] = 1.0 / depth[k, v, u]
    return depth, face


@njit(cache=True, fastmath=True)
def shade_pixel(vertices, faces, colors, p, cam, u, v, z, f, normal, color):  # noqa: ANN001, PLR0913
    """Unit camera-frame normal (3,) facing the camera and colour (3,) of face f at pixel (u, v), depth z; False when
    the face is degenerate. Colours are barycentric in the object frame; colors may be empty."""
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    e1x, e1y, e1z = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
    e2x, e2y, e2z = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
    nx, ny, nz = e1y * e2z - e1z * e2y, e1z * e2x - e1x * e2z, e1x * e2y - e1y * e2x
    sq = nx * nx + ny * ny + nz * nz
    length = np.sqrt(sq)
    if length == 0:
        return False
    xc, yc = (u - cam[2]) / cam[0] * z, (v - cam[3]) / cam[1] * z
    mx = (p[0, 0] * nx + p[0, 1] * ny + p[0, 2] * nz) / length
    my = (p[1, 0] * nx + p[1, 1] * ny + p[1, 2] * nz) / length
    mz = (p[2, 0] * nx + p[2, 1] * ny + p[2, 2] * nz) / length
    s = -1.0 if mx * xc + my * yc + mz * z > 0 else 1.0
    normal[0], normal[1], normal[2] = s * mx, s * my, s * mz
    if colors.shape[0] > 0:
        tx, ty, tz = xc - p[0, 3], yc - p[1, 3], z - p[2, 3]
        ox = p[0, 0] * tx + p[1, 0] * ty + p[2, 0] * tz - vertices[a, 0]
        oy = p[0, 1] * tx + p[1, 1] * ty + p[2, 1] * tz - vertices[a, 1]
        oz = p[0, 2] * tx + p[1, 2] * ty + p[2, 2] * tz - vertices[a, 2]
        b1 = ((oy * e2z - oz * e2y) * nx + (oz * e2x - ox * e2z) * ny + (ox * e2y - oy * e2x) * nz) / sq
        b2 = ((e1y * oz - e1z * oy) * nx + (e1z * ox - e1x * oz) * ny + (e1x * oy - e1y * ox) * nz) / sq
        b1, b2 = min(max(b1, 0.0), 1.0), min(max(b2, 0.0), 1.0)
        b0 = max(0.0, 1.0 - b1 - b2)
        for ch in range(3):
            color[ch] = b0 * colors[a, ch] + b1 * colors[b, ch] + b2 * colors[c, ch]
    return True


@njit(cache=True, parallel=True, nogil=True, fastmath=True)
def shade_batch(vertices, faces, colors, poses, cams, depth, face):  # noqa: ANN001, PLR0913
    """Camera-frame face normals (N, h, w, 3) and colours (N, h, w, 3) of rasterised pixels."""
    n, height, width = depth.shape
    normal = np.zeros((n, height, width, 3), np.float32)
    colored = colors.shape[0] > 0
    color = np.zeros((n, height, width, 3) if colored else (0, 0, 0, 3), np.uint8)
    for k in prange(n):
        nn, cc = np.zeros(3), np.zeros(3)
        for v in range(height):
            for u in range(width):
                f = face[k, v, u]
                if f < 0 or not shade_pixel(
                    vertices, faces, colors, poses[k], cams[k], u, v, depth[k, v, u], f, nn, cc
                ):
                    continue
                for ch in range(3):
                    normal[k, v, u, ch] = nn[ch]
                    if colored:
                        color[k, v, u, ch] = np.uint8(min(max(cc[ch] + 0.5, 0.0), 255.0))
    return normal, color


class NumbaRenderer:
    """Renderer on CPU cores. Stateless; safe to share."""

    def __init__(self, *, two_sided: bool = True) -> None:
        """two_sided draws faces seen from behind too: CAD models are often open or wound both ways."""
        self._two_sided = two_sided

    def depth(
        self, model: ObjectModel, cam_from_objs: NDArray[np.float64], cameras: PinholeCamera | list[PinholeCamera]
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Depth (N, h, w) [m] and face (N, h, w) only."""
        poses = np.ascontiguousarray(cam_from_objs, np.float64).reshape(-1, 4, 4)
        cams, h, w = camera_batch(cameras, len(poses))
        return raster_batch(model.vertices, model.faces, poses, cams, h, w, self._two_sided)

    def render(
        self, model: ObjectModel, cam_from_objs: NDArray[np.float64], cameras: PinholeCamera | list[PinholeCamera]
    ) -> Rendering:
        """See `Renderer.render`."""
        poses = np.ascontiguousarray(cam_from_objs, np.float64).reshape(-1, 4, 4)
        cams, h, w = camera_batch(cameras, len(poses))
        depth, face = raster_batch(model.vertices, model.faces, poses, cams, h, w, self._two_sided)
        colors = model.colors if model.colors is not None else np.zeros((0, 3), np.uint8)
        normal, color = shade_batch(model.vertices, model.faces, colors, poses, cams, depth, face)
        return Rendering(depth, face, normal, color if model.colors is not None else None)


def camera_batch(cameras: PinholeCamera | list[PinholeCamera], n: int) -> tuple[NDArray[np.float64], int, int]:
    """(n, 4) intrinsics and the common (height, width)."""
    if isinstance(cameras, PinholeCamera):
        return np.broadcast_to(cameras.vector, (n, 4)).copy(), cameras.height, cameras.width
    return np.array([c.vector for c in cameras]), cameras[0].height, cameras[0].width
