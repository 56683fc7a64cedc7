"""Sparse view of an object: contour points and surface points of one small render at a predicted pose.

The tracker only knows `SparseView`; whether it was rendered a moment ago or looked up in a precomputed viewpoint model
does not matter to it. Points and normals live in the object frame, so a view stays usable while the pose is refined.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.compare import crop_camera
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.kernels import njit
from storm_core.rendering.raster import raster_one

MAX_LINES = 160
MAX_POINTS = 400
MIN_SIDE, MAX_SIDE = 40, 128
"""Crop size [px]: about the projected size of the object, bounded so that near objects cost no more."""

MIN_RIM_SINE = 0.1
"""Steepest side that the curvature at the rim is read from: sine of the angle between surface and line of sight."""

RUN_REACH = 40
"""Run lengths are followed up to this many crop px."""


class SparseView(NamedTuple):
    """What one viewpoint shows of the object. A named tuple, because compiled code takes and returns it whole.

    Attributes:
      contour_points: (L, 3) silhouette points [m], object frame.
      contour_normals: (L, 3) outward unit normals of the silhouette, in the image plane of the view, object frame.
      inner_runs, outer_runs: (L,) distance [px] over which the silhouette goes on inwards, the background outwards.
      surface_points, surface_normals: (P, 3) visible surface points [m] and unit normals, object frame.
      inside: share of the silhouette inside the image.
      crop: (7,) crop camera, see `crop_camera`. depth: (side, side) rendered depth [m], 0 = background.
      cam_from_obj: (4, 4) pose the view was rendered at.
    """

    contour_points: NDArray[np.float64]
    contour_normals: NDArray[np.float64]
    inner_runs: NDArray[np.float64]
    outer_runs: NDArray[np.float64]
    surface_points: NDArray[np.float64]
    surface_normals: NDArray[np.float64]
    inside: float
    crop: NDArray[np.float64]
    depth: NDArray[np.float32]
    cam_from_obj: NDArray[np.float64]


@njit(cache=True)
def _to_object(pose, x, y, z, out):
    dx, dy, dz = x - pose[0, 3], y - pose[1, 3], z - pose[2, 3]
    for i in range(3):
        out[i] = pose[0, i] * dx + pose[1, i] * dy + pose[2, i] * dz


@njit(cache=True)
def _turn_to_object(pose, x, y, z, out):
    for i in range(3):
        out[i] = pose[0, i] * x + pose[1, i] * y + pose[2, i] * z


@njit(cache=True)
def border_kernel(mask, u, v, out):
    """The silhouette's border near its pixel (u, v), at least 3 px from the rim of mask (side, side) uint8.

    The mask, averaged over 5 x 5 px, falls from inside to outside: its gradient gives the outward normal, and where it
    is one half lies the border. out: (3,) normal (x, y) and the distance [px] to the border along it. False where the
    mask has no direction.
    """
    soft = np.zeros((3, 3))
    for r in range(-3, 4):
        first = 0
        for c in range(-3, 2):
            first += mask[v + r, u + c]
        second = first - mask[v + r, u - 3] + mask[v + r, u + 2]
        third = second - mask[v + r, u - 2] + mask[v + r, u + 3]
        for k in range(max(0, r - 1), min(3, r + 4)):
            soft[k, 0] += first
            soft[k, 1] += second
            soft[k, 2] += third
    gx = soft[1, 0] - soft[1, 2] + 0.5 * (soft[0, 0] + soft[2, 0] - soft[0, 2] - soft[2, 2])
    gy = soft[0, 1] - soft[2, 1] + 0.5 * (soft[0, 0] + soft[0, 2] - soft[2, 0] - soft[2, 2])
    length = np.sqrt(gx * gx + gy * gy)
    if length < 1e-6:
        return False
    out[0], out[1] = gx / length, gy / length
    # Slope per px of the smoothed step is length / 4, because the stencil above sums weights of 4.
    out[2] = min(max((soft[1, 1] - 12.5) / (length / 4), -0.5), 1.5)
    return True


@njit(cache=True)
def _run(mask, u, v, gx, gy, inside, reach):
    """Steps from (u, v) along (gx, gy) until the mask is no more `inside`, at most `reach`; no mask beyond the crop."""
    h, w = mask.shape
    for k in range(1, reach):
        x, y = int(np.floor(u + gx * k + 0.5)), int(np.floor(v + gy * k + 0.5))
        if x < 0 or y < 0 or x >= w or y >= h:
            return reach if inside == 0 else k
        if mask[y, x] != inside:
            return k
    return reach


@njit(cache=True)
def _rim_offset(vertices, corners, pose, crop, cam, u, v, gap):
    """How much deeper than pixel (u, v) the rim lies that closes a rounded surface `gap` [m] further out [m].

    A rounded side falls away steeply within the last pixel. Contour points left at the pixel's own depth would stand in
    front of the true rim and make the contour seem to know how a can turns about its axis. On a circle whose normal
    at the pixel stands phi away from the image plane, the rim is gap * cot(phi / 2) deeper.
    """
    a, b, c = vertices[corners[0]], vertices[corners[1]], vertices[corners[2]]
    e1x, e1y, e1z = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    e2x, e2y, e2z = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    nx, ny, nz = e1y * e2z - e1z * e2y, e1z * e2x - e1x * e2z, e1x * e2y - e1y * e2x
    rx, ry = (crop[4] + crop[6] * u - cam[2]) / cam[0], (crop[5] + crop[6] * v - cam[3]) / cam[1]
    length = np.sqrt((nx * nx + ny * ny + nz * nz) * (rx * rx + ry * ry + 1.0))
    if gap <= 0 or length == 0:
        return 0.0
    mx = pose[0, 0] * nx + pose[0, 1] * ny + pose[0, 2] * nz
    my = pose[1, 0] * nx + pose[1, 1] * ny + pose[1, 2] * nz
    mz = pose[2, 0] * nx + pose[2, 1] * ny + pose[2, 2] * nz
    sine = min(abs(mx * rx + my * ry + mz) / length, 1.0)
    cosine = np.sqrt(1.0 - sine * sine)
    # tan(phi / 2) = sin / (1 + cos); facets make the smallest angles unreliable.
    return gap * (1.0 + cosine) / max(sine, MIN_RIM_SINE)


@njit(cache=True)
def sample_surface(vertices, faces, pose, cam, crop, depth, face, stride, points, normals):
    """Fill points and normals (object frame) of every stride-th pixel that is not edge-on; returns their number.

    A regular grid of the crop, so that the sample does not depend on a scan order.
    """
    side = depth.shape[0]
    n = 0
    for v in range(0, side, stride):
        for u in range(0, side, stride):
            f = face[v, u]
            if f < 0 or n >= points.shape[0]:
                continue
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            e1x, e1y, e1z = (
                vertices[b, 0] - vertices[a, 0],
                vertices[b, 1] - vertices[a, 1],
                vertices[b, 2] - vertices[a, 2],
            )
            e2x, e2y, e2z = (
                vertices[c, 0] - vertices[a, 0],
                vertices[c, 1] - vertices[a, 1],
                vertices[c, 2] - vertices[a, 2],
            )
            nx, ny, nz = e1y * e2z - e1z * e2y, e1z * e2x - e1x * e2z, e1x * e2y - e1y * e2x
            length = np.sqrt(nx * nx + ny * ny + nz * nz)
            if length == 0:
                continue
            nx, ny, nz = nx / length, ny / length, nz / length
            z = float(depth[v, u])
            xc = (crop[4] + crop[6] * u - cam[2]) / cam[0] * z
            yc = (crop[5] + crop[6] * v - cam[3]) / cam[1] * z
            mx = pose[0, 0] * nx + pose[0, 1] * ny + pose[0, 2] * nz
            my = pose[1, 0] * nx + pose[1, 1] * ny + pose[1, 2] * nz
            mz = pose[2, 0] * nx + pose[2, 1] * ny + pose[2, 2] * nz
            facing = mx * xc + my * yc + mz * z
            if abs(facing) < 0.15 * np.sqrt(xc * xc + yc * yc + z * z):
                continue
            s = -1.0 if facing > 0 else 1.0
            _to_object(pose, xc, yc, z, points[n])
            normals[n, 0], normals[n, 1], normals[n, 2] = s * nx, s * ny, s * nz
            n += 1
    return n


@njit(cache=True, nogil=True)
def view_kernel(vertices, faces, center, diameter, pose, cam, width, height):
    """The SparseView of a mesh at a pose (4, 4), from one render of at most MAX_SIDE px."""
    z = pose[2, 0] * center[0] + pose[2, 1] * center[1] + pose[2, 2] * center[2] + pose[2, 3]
    side = int(min(max(1.15 * diameter * cam[0] / max(z, 0.02), MIN_SIDE), MAX_SIDE))
    crop = crop_camera(pose, center, diameter, cam, side)
    depth = np.zeros((side, side), np.float32)
    face = np.full((side, side), -1, np.int32)
    raster_one(vertices, faces, pose, crop[:4], depth, face, True)
    mask = np.zeros((side, side), np.uint8)
    step = crop[6]
    total, within = 0, 0
    for v in range(side):
        y = crop[5] + step * v
        for u in range(side):
            if face[v, u] >= 0:
                mask[v, u] = 1
                depth[v, u] = np.float32(1.0) / depth[v, u]
                total += 1
                x = crop[4] + step * u
                if x >= 0 and y >= 0 and x <= width - 1 and y <= height - 1:
                    within += 1
    edge = np.empty((side * side, 2), np.int32)
    n_edge = 0
    for v in range(3, side - 3):
        y = crop[5] + step * v
        if y < 2 or y > height - 3:
            continue
        for u in range(3, side - 3):
            if mask[v, u] == 0 or (mask[v, u - 1] and mask[v, u + 1] and mask[v - 1, u] and mask[v + 1, u]):
                continue
            x = crop[4] + step * u
            if x < 2 or x > width - 3:
                continue
            edge[n_edge, 0], edge[n_edge, 1] = u, v
            n_edge += 1
    n_lines = min(n_edge, MAX_LINES)
    points, normals = np.zeros((n_lines, 3)), np.zeros((n_lines, 3))
    inner, outer = np.zeros(n_lines), np.zeros(n_lines)
    border = np.empty(3)
    kept = 0
    for i in range(n_lines):
        k = int((i + 0.5) * n_edge / n_lines)
        u, v = edge[k, 0], edge[k, 1]
        if not border_kernel(mask, u, v, border):
            continue
        gx, gy = border[0], border[1]
        cu, cv = u + gx * border[2], v + gy * border[2]
        z = float(depth[v, u])
        z += _rim_offset(vertices, faces[face[v, u]], pose, crop, cam, u, v, border[2] * step * z / cam[0])
        xc, yc = (crop[4] + step * cu - cam[2]) / cam[0] * z, (crop[5] + step * cv - cam[3]) / cam[1] * z
        _to_object(pose, xc, yc, z, points[kept])
        # A direction in pixels turns into one in metres with the inverse focal lengths; fx and fy are nearly equal.
        _turn_to_object(pose, gx, gy, 0.0, normals[kept])
        inner[kept] = step * _run(mask, u, v, -gx, -gy, 1, RUN_REACH)
        outer[kept] = step * _run(mask, u + gx, v + gy, gx, gy, 0, RUN_REACH)
        kept += 1
    stride = max(1, int(np.ceil(np.sqrt(total / MAX_POINTS))))
    count = ((side + stride - 1) // stride) ** 2
    surface, surface_normals = np.zeros((count, 3)), np.zeros((count, 3))
    n = sample_surface(vertices, faces, pose, cam, crop, depth, face, stride, surface, surface_normals)
    inside = within / total if total > 0 else 0.0
    return SparseView(
        points[:kept],
        normals[:kept],
        inner[:kept],
        outer[:kept],
        surface[:n],
        surface_normals[:n],
        inside,
        crop,
        depth,
        pose.copy(),
    )


def rendered_view(model: ObjectModel, cam_from_obj: NDArray[np.float64], camera: PinholeCamera) -> SparseView:
    """The view of `model` at a pose (4, 4)."""
    return view_kernel(
        model.coarse.vertices,
        model.coarse.faces,
        model.center,
        model.diameter,
        np.ascontiguousarray(cam_from_obj),
        camera.vector,
        camera.width,
        camera.height,
    )


def turned_away(view: SparseView, cam_from_obj: NDArray[np.float64], center: NDArray[np.float64]) -> float:
    """How differently a pose (4, 4) shows the object whose centre (3,) is given, object frame [m].

    The angle between the lines of sight to the centre, seen from the object [rad], plus the logarithm of the ratio of
    their lengths. A turn in the image plane changes nothing.
    """
    return turned_away_kernel(view.cam_from_obj, cam_from_obj, center)


@njit(cache=True)
def turned_away_kernel(before, now, center):
    """See `turned_away`."""
    squares, product = np.zeros(2), 0.0
    for i in range(3):
        sights = center[i], center[i]
        for k in range(3):
            sights = sights[0] + before[k, i] * before[k, 3], sights[1] + now[k, i] * now[k, 3]
        squares[0] += sights[0] * sights[0]
        squares[1] += sights[1] * sights[1]
        product += sights[0] * sights[1]
    lengths = np.sqrt(squares)
    cosine = product / max(lengths[0] * lengths[1], 1e-12)
    return np.arccos(max(-1.0, min(cosine, 1.0))) + abs(np.log(max(lengths[1], 1e-9) / max(lengths[0], 1e-9)))
