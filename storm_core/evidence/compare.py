"""Render poses into crops of the frame and count what agrees: one fused kernel, parallel over poses.

The crop of a pose is a square of `side` px around the projected object centre, 1.15 diameters wide. Crop pixels are
looked up in the full-resolution frame (nearest), so nothing is resampled and no crop images are made.
"""

import numpy as np
from numba import prange
from numpy.typing import NDArray

from storm_core.evidence.columns import (
    COLUMNS,
    CONTRAST,
    FAST,
    HUE,
    N_BACKGROUND,
    N_BEHIND,
    N_CONTOUR,
    N_EDGE,
    N_INLIER,
    N_INSIDE,
    N_MASKED,
    N_MISSING,
    N_MODEL,
    N_NORMAL,
    N_OCCLUDED,
    N_SILENT,
    N_SMOOTH,
    PICTURE,
    RESIDUAL,
    SUM_NORMAL,
    SUM_SCORE,
    ZNCC,
)
from storm_core.evidence.features import FrameFeatures, fit_normal
from storm_core.evidence.outline import contour_kernel, seams_kernel
from storm_core.geometry.mesh import ObjectModel
from storm_core.kernels import njit
from storm_core.rendering.raster import raster_one, shade_pixel
from storm_core.types import Evidence

CROP_DIAMETERS = 1.15
HUE_BINS = 6
TELLING_CONTRAST = 0.35
"""Standard deviation of the model's log colour from which a correlation says all it can."""
COARSE_SIDE = 48
"""Crop resolution [px] up to which the coarse surface shows all that can be seen, at a fraction of the time."""
MIN_COLORED = 8
"""Pixels below which a colour correlation says nothing."""
BRIGHT_ENOUGH = 0.2
"""Share of the pixels that must be bright enough to have a hue, in the model's colours and in the picture."""
SAME_SIDE = 0.97
"""Cosine between two normals of the model from which on neighbouring pixels share one measured normal."""


@njit(cache=True, fastmath=FAST)
def crop_focal(fx, fy):  # noqa: ANN001
    """The focal length [px] that decides how wide a crop is: fx, and more where pixels are so tall that its margin,
    which bears 2 %, would not hold the object's height."""
    return max(fx, fy / 1.02)


@njit(cache=True, fastmath=FAST)
def crop_camera(pose, center, diameter, cam, side):  # noqa: ANN001
    """Crop camera (fx, fy, cx, cy) plus (x0, y0, step): full-resolution pixel = (x0, y0) + step * crop pixel."""
    x = pose[0, 0] * center[0] + pose[0, 1] * center[1] + pose[0, 2] * center[2] + pose[0, 3]
    y = pose[1, 0] * center[0] + pose[1, 1] * center[1] + pose[1, 2] * center[2] + pose[1, 3]
    z = pose[2, 0] * center[0] + pose[2, 1] * center[1] + pose[2, 2] * center[2] + pose[2, 3]
    z = max(z, 0.02)
    step = CROP_DIAMETERS * diameter * crop_focal(cam[0], cam[1]) / z / side
    x0 = cam[0] * x / z + cam[2] - 0.5 * step * (side - 1)
    y0 = cam[1] * y / z + cam[3] - 0.5 * step * (side - 1)
    out = np.empty(7)
    out[0], out[1] = cam[0] / step, cam[1] / step
    out[2], out[3] = (cam[2] - x0) / step, (cam[3] - y0) / step
    out[4], out[5], out[6] = x0, y0, step
    return out


@njit(cache=True, fastmath=FAST)
def _count_hue(r, g, b, histogram):  # noqa: ANN001
    """Add one pixel to a histogram (HUE_BINS + 1): its saturation to the two nearest hues, the rest to grey.

    Soft on purpose: a camera's white balance and saturation move colours by less than a bin. Dark pixels say nothing.
    """
    hi, lo = max(r, g, b), min(r, g, b)
    if hi < 40:
        return
    colorful = min((hi - lo) / (0.6 * hi), 1.0)
    histogram[HUE_BINS] += 1.0 - colorful
    if hi == lo:
        return
    if hi == r:
        hue = (g - b) / (hi - lo)
    elif hi == g:
        hue = 2.0 + (b - r) / (hi - lo)
    else:
        hue = 4.0 + (r - g) / (hi - lo)
    hue = (hue + 6.0) % 6.0
    low = int(hue)
    share = hue - low
    histogram[low % HUE_BINS] += colorful * (1.0 - share)
    histogram[(low + 1) % HUE_BINS] += colorful * share


@njit(cache=True, fastmath=FAST)
def _add_color(model, image, moments):  # noqa: ANN001
    """Add one pixel's log colours to moments (10,): count, three sums of each, squares of each, products."""
    moments[0] += 1
    for ch in range(3):
        a = np.log(model[ch] + 16.0)
        b = np.log(np.float64(image[ch]) + 16.0)
        moments[1 + ch] += a
        moments[4 + ch] += b
        moments[7] += a * a
        moments[8] += b * b
        moments[9] += a * b


@njit(cache=True, fastmath=FAST)
def _correlation(moments):  # noqa: ANN001
    """Correlation (ZNCC, means per channel) and the model's standard deviation; nan for fewer than MIN_COLORED px."""
    n = moments[0]
    if n <= MIN_COLORED:
        return np.nan, np.nan
    vm = moments[7] - (moments[1] ** 2 + moments[2] ** 2 + moments[3] ** 2) / n
    vo = moments[8] - (moments[4] ** 2 + moments[5] ** 2 + moments[6] ** 2) / n
    c = moments[9] - (moments[1] * moments[4] + moments[2] * moments[5] + moments[3] * moments[6]) / n
    return c / np.sqrt(vm * vo + 1e-9), np.sqrt(max(vm, 0.0) / (3 * n))


@njit(cache=True, nogil=True, fastmath=FAST)
def compare_range(
    vertices,
    faces,
    colors,
    center,
    diameter,
    poses,
    cam,
    depth_image,
    rgb,
    normal_image,
    grey,  # noqa: ANN001, PLR0913, PLR0915, PLR0912
    mask_image,
    side,
    tau,
    gap,
    two_sided,
    with_contour,
    first, last, table,
):
    """Fill the rows first to last - 1 of table (N, COLUMNS): counts and means of poses (N, 4, 4).

    tau: inlier depth error, gap: background step [m]. normal_image: of every second pixel; when it is empty, normals
    are fitted to the depth where the model has inliers, one for each side of it in a block of 2 x 2 crop pixels.
    """
    h, w = depth_image.shape
    fit_normals = normal_image.shape[0] == 0
    blocks = (side + 1) // 2 if fit_normals else 0
    colored = colors.shape[0] > 0
    masked = mask_image.shape[0] > 0
    for k in range(first, last):
        crop = crop_camera(poses[k], center, diameter, cam, side)
        inv = np.zeros((side, side), np.float32)
        face = np.full((side, side), -1, np.int32)
        raster_one(vertices, faces, poses[k], crop[:4], inv, face, two_sided)
        depth = np.zeros((side, side), np.float32)
        for v in range(side):
            for u in range(side):
                if face[v, u] >= 0:
                    depth[v, u] = 1.0 / inv[v, u]
        normal, color = np.zeros(3), np.zeros(3)
        fitted = np.zeros((blocks, blocks, 6))
        row = table[k]
        errors = np.empty(side * side, np.float32)
        n_err = 0
        hist_m, hist_o = np.zeros(HUE_BINS + 1), np.zeros(HUE_BINS + 1)
        # Moments of model and image colour: over inliers, and over everything that depth does not contradict.
        near, whole = np.zeros(10), np.zeros(10)
        for v in range(side):
            for u in range(side):
                if face[v, u] < 0:
                    continue
                row[N_MODEL] += 1
                x, y = int(np.floor(crop[4] + crop[6] * u + 0.5)), int(np.floor(crop[5] + crop[6] * v + 0.5))
                if x < 0 or y < 0 or x >= w or y >= h:
                    continue
                row[N_INSIDE] += 1
                if masked and mask_image[y, x]:
                    row[N_MASKED] += 1
                zo = depth_image[y, x]
                if zo <= 0:
                    row[N_MISSING] += 1
                    if colored:
                        shade_pixel(
                            vertices, faces, colors, poses[k], crop, u, v, depth[v, u], face[v, u], normal, color
                        )
                        _add_color(color, rgb[y, x], whole)
                    continue
                e = zo - depth[v, u]
                if e < -tau:
                    row[N_OCCLUDED] += 1
                    continue
                if e > tau:
                    row[N_BEHIND] += 1
                    continue
                row[N_INLIER] += 1
                errors[n_err] = abs(e)
                n_err += 1
                shade_pixel(vertices, faces, colors, poses[k], crop, u, v, depth[v, u], face[v, u], normal, color)
                if fit_normals:
                    shared = fitted[v // 2, u // 2]
                    if shared[3] * normal[0] + shared[4] * normal[1] + shared[5] * normal[2] < SAME_SIDE:
                        shared[:3] = 0.0
                        fit_normal(depth_image, x, y, cam, shared)
                        for i in range(3):
                            shared[3 + i] = normal[i]
                    nx, ny, nz = shared[0], shared[1], shared[2]
                else:
                    seen = normal_image[y // 2, x // 2]
                    nx, ny, nz = np.float64(seen[0]), np.float64(seen[1]), np.float64(seen[2])
                agree = 0.7
                if nx != 0 or ny != 0 or nz != 0:
                    dot = nx * normal[0] + ny * normal[1] + nz * normal[2]
                    row[SUM_NORMAL] += dot
                    row[N_NORMAL] += 1
                    agree = min(max((dot - 0.3) / 0.6, 0.0), 1.0)
                row[SUM_SCORE] += (1 - 0.5 * abs(e) / tau) * agree
                if colored:
                    _add_color(color, rgb[y, x], near)
                    _add_color(color, rgb[y, x], whole)
                    _count_hue(color[0], color[1], color[2], hist_m)
                    _count_hue(np.float64(rgb[y, x, 0]), np.float64(rgb[y, x, 1]), np.float64(rgb[y, x, 2]), hist_o)
        row[RESIDUAL] = np.median(errors[:n_err]) / diameter if n_err > 0 else np.nan
        row[HUE] = np.nan
        row[PICTURE], row[CONTRAST] = _correlation(whole)
        row[ZNCC], _ = _correlation(near)
        tm, to = hist_m.sum(), hist_o.sum()
        if near[0] > MIN_COLORED and min(tm, to) >= BRIGHT_ENOUGH * near[0]:
            overlap = 0.0
            for b in range(HUE_BINS + 1):
                overlap += min(hist_m[b] / tm, hist_o[b] / to)
            row[HUE] = overlap
        if with_contour:
            contour_kernel(row, depth, face, crop, depth_image, grey, tau, gap, side)
            seams_kernel(row, depth, face, crop, depth_image, tau, side)


@njit(cache=True, parallel=True, nogil=True, fastmath=FAST)
def compare_kernel(arguments, n):  # noqa: ANN001
    """Table (n, COLUMNS), parallel over poses. arguments: those of `compare_range` up to with_contour."""
    table = np.zeros((n, COLUMNS))
    for k in prange(n):
        compare_range(*arguments, np.int64(k), np.int64(k) + 1, table)  # not prange's uint64: compiled only once
    return table


# Masks are read-only, like frames: numba compiles for every combination of arrays that can and cannot be written.
_NO_MASK = np.broadcast_to(np.zeros((0, 0), np.bool_), (0, 0))
_NO_COLOR = np.zeros((0, 3), np.uint8)


def inlier_tolerance(diameter: float) -> float:
    """Depth error up to which a pixel agrees with the model [m]."""
    return max(0.006, 0.06 * diameter)


def compare(
    features: FrameFeatures,
    model: ObjectModel,
    cam_from_objs: NDArray[np.float64],
    *,
    side: int = 64,
    tau: float | None = None,
    mask: NDArray[np.bool_] | None = None,
    contour: bool = True,
) -> NDArray[np.float64]:
    """The kernel's table (N, COLUMNS) for poses (N, 4, 4). A single pose is compared on the calling thread alone."""
    frame = features.frame
    tau = inlier_tolerance(model.diameter) if tau is None else tau
    poses = np.ascontiguousarray(cam_from_objs, np.float64).reshape(-1, 4, 4)
    surface = model.coarse if side <= COARSE_SIDE else model
    arguments = (
        surface.vertices,
        surface.faces,
        surface.colors if surface.colors is not None else _NO_COLOR,
        model.center,
        model.diameter,
        poses,
        frame.camera.vector,
        frame.depth,
        frame.rgb,
        features.normal,
        frame.rgb[:, :, 1],
        _NO_MASK if mask is None else np.broadcast_to(np.ascontiguousarray(mask), mask.shape),
        side,
        tau,
        max(0.012, 0.06 * model.diameter),
        True,
        contour,
    )
    if len(poses) != 1:
        return compare_kernel(arguments, len(poses))
    table = np.zeros((1, COLUMNS))
    compare_range(*arguments, 0, 1, table)
    return table


def scores(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Geometric render-and-compare score (N,), about 1 for a perfect pose; ranks poses of one object in one frame.

    Occluded pixels are forgiven only in part: else the best pose hides inside clutter.
    """
    denominator = table[:, N_MODEL] - 0.5 * table[:, N_OCCLUDED] - 0.6 * table[:, N_MISSING]
    return (table[:, SUM_SCORE] - 0.4 * table[:, N_BEHIND]) / np.maximum(denominator, 1.0)


def precision(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """How exactly depth and normals of the inliers fit (N,), in [0, 1]; tells poses of one object in one frame apart.

    Between frames the noise decides it. A pose with few inliers is given the benefit of the doubt.
    """
    few = 0.05 * table[:, N_MODEL]
    return (table[:, SUM_SCORE] + 0.9 * few) / np.maximum(table[:, N_INLIER] + few, 1e-9)


def _share(a: float, b: float) -> float:
    return a / b if b > 0 else float("nan")


def _shares(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(b > 0, a / np.maximum(b, 1e-12), np.nan)


def to_evidence(row: NDArray[np.float64], **others: float) -> Evidence:
    """One row of the table as named numbers; for a transposed table (COLUMNS, N) each number is an array (N,).

    others: numbers of the Evidence that do not come from a comparison, e.g. innovation.
    """

    single = row.ndim == 1
    if single:  # plain numbers: a pose is judged in every frame, and arrays of one number cost ten times as much
        row = row.tolist()
    share = _share if single else _shares
    inside = row[N_INSIDE]
    values = {
        "inside": share(inside, row[N_MODEL]),
        "inlier": share(row[N_INLIER], inside),
        "occluded": share(row[N_OCCLUDED], inside),
        "behind": share(row[N_BEHIND], inside),
        "missing": share(row[N_MISSING], inside),
        "residual": row[RESIDUAL],
        "fit": share(row[SUM_SCORE], row[N_INLIER]),
        "normal": share(row[SUM_NORMAL], row[N_NORMAL]),
        "contour": share(row[N_BACKGROUND], row[N_CONTOUR] - row[N_SILENT]),
        "edge": share(row[N_EDGE], row[N_CONTOUR]),
        "seam": row[N_SMOOTH] / (max(row[N_MODEL], 1.0) ** 0.5 if single else np.sqrt(np.maximum(row[N_MODEL], 1.0))),
        "color": row[ZNCC],
        "picture": row[PICTURE],
        "contrast": row[CONTRAST],
        "hue": row[HUE],
    }
    return Evidence(**values, **others)
