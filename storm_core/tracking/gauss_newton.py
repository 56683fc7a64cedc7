"""Compiled Gauss-Newton: the steps of an alignment, the judgement of a pose, and the order of many."""

import numpy as np

from storm_core.geometry.linear import cholesky, solve_positive
from storm_core.kernels import njit
from storm_core.refinement.icp import apply_at
from storm_core.tracking import depth, region
from storm_core.tracking.depth import depth_kernel, measurement_sigma
from storm_core.tracking.region import SIGMA_FLOOR, STEP, accumulate_kernel, lines_kernel, odds_kernel
from storm_core.tracking.sparse_model import SparseView, view_kernel
from storm_core.tracking.texture import CORRELATED_POINTS, SHRINKS, look_kernel, texture_kernel
from storm_core.tracking.texture import SIGMA_FLOOR as TEXTURE_FLOOR

TEXTURE_SCALE = 2
"""The lines' segments [px] from which on texture is read from the picture itself; before, from the small one."""

MAX_SHIFT, MAX_TURN = 0.5, 0.5
"""Longest step: diameters, radians."""

JUDGE_SCALE, JUDGE_LEVEL = np.int64(2), np.int64(0)
"""Segment length [px] and picture that poses are judged with. Plain numbers would be constants to numba: it would
compile every term a second time for them."""

RANK_STEP = 3
"""Every so many-th line and point serves when many poses are only put in order."""

# What a fit is judged by: the vector that `judge_kernel` returns.
(
    INLIER,
    OCCLUDED,
    BEHIND,
    MEASURED,
    POINTS,
    LINES,
    OCCLUDED_LINES,
    CONTRAST,
    VARIANCE,
    OBSERVABLE,
    QUALITY,
    STATISTICS,
) = range(12)


@njit(cache=True)
def terms_kernel(view, pose, pivot, cam, rgb, depth_image, odds, scale, gate, limits, hessian, gradient):
    """Add the region and depth terms of a pose in place; returns line table, depth counts and weighted region cost.

    scale: segment length of the lines [px]. gate: depth gate [m]. limits: see `limits_of`.
    """
    gap, behind, tau = limits
    table, geometry = lines_kernel(
        pose,
        cam,
        view.contour_points,
        view.contour_normals,
        view.inner_runs,
        view.outer_runs,
        rgb,
        depth_image,
        odds,
        STEP,
        scale,
        gap,
        behind,
    )
    cost, _ = accumulate_kernel(table, geometry, cam, pivot, SIGMA_FLOOR * scale, hessian, gradient)
    counts = depth_kernel(
        pose,
        cam,
        pivot,
        view.surface_points,
        view.surface_normals,
        depth_image,
        measurement_sigma(pivot[2]),
        gate,
        tau,
        hessian,
        gradient,
    )
    return table, counts, cost


@njit(cache=True)
def texture_terms(texture, level, images, pose, pivot, cam, depth_image, tau, hessian, gradient):
    """Add the brightness terms of a pose in place. texture: (points, normals, brightness), see `texture_of`."""
    points, normals, brightness = texture
    if points.shape[0] == 0:
        return
    seen = look_kernel(points, normals, pose, cam, images[level], SHRINKS[level], depth_image, 2.0 * tau)
    texture_kernel(seen, brightness[level], cam, pivot, TEXTURE_FLOOR, CORRELATED_POINTS, hessian, gradient)


@njit(cache=True)
def positive_definite(matrix):
    """Whether no direction of a symmetric positive semidefinite matrix is empty up to rounding (Cholesky pivots)."""
    return cholesky(matrix, 1e-12, np.zeros(matrix.shape))


@njit(cache=True)
def pivot_of(pose, center):
    """Object centre in the camera frame [m], (3,)."""
    out = np.empty(3)
    for i in range(3):
        out[i] = pose[i, 0] * center[0] + pose[i, 1] * center[1] + pose[i, 2] * center[2] + pose[i, 3]
    return out


@njit(cache=True)
def statistics_of(table, counts):
    """Statistics (STATISTICS,) of line table and depth counts, but for VARIANCE and OBSERVABLE."""
    lines, hidden, contrast = 0.0, 0.0, 0.0
    for i in range(table.shape[0]):
        lines += table[i, region.USED]
        hidden += table[i, region.OCCLUDED]
        contrast += table[i, region.CONTRAST]
    seen = counts[depth.INLIER] + counts[depth.OCCLUDED] + counts[depth.BEHIND]
    out = np.empty(STATISTICS)
    out[INLIER] = counts[depth.INLIER] / max(seen, 1.0)
    out[OCCLUDED] = counts[depth.OCCLUDED] / max(seen, 1.0)
    out[BEHIND] = counts[depth.BEHIND] / max(seen, 1.0)
    out[MEASURED] = seen / max(seen + counts[depth.MISSING], 1.0)
    out[POINTS] = counts[depth.INLIER]
    out[LINES] = lines
    out[OCCLUDED_LINES] = hidden / max(lines + hidden, 1.0)
    out[CONTRAST] = contrast / max(lines, 1.0)
    out[QUALITY] = out[INLIER] - 0.7 * out[BEHIND] - 0.2 * out[OCCLUDED] + 0.5 * out[CONTRAST]
    return out


@njit(cache=True)
def _judged(view, pose, center, cam, rgb, depth_image, images, odds, texture, gate, limits):
    hessian, remembered, gradient = np.zeros((6, 6)), np.zeros((6, 6)), np.zeros(6)
    pivot = pivot_of(pose, center)
    table, counts, cost = terms_kernel(
        view, pose, pivot, cam, rgb, depth_image, odds, JUDGE_SCALE, gate, limits, hessian, gradient
    )
    texture_terms(texture, JUDGE_LEVEL, images, pose, pivot, cam, depth_image, limits[2], remembered, gradient)
    out = statistics_of(table, counts)
    lines = out[LINES]
    out[VARIANCE] = (cost + counts[depth.SQUARES]) / max(lines + counts[depth.WEIGHTS], 1.0)
    out[OBSERVABLE] = 1.0 if positive_definite(hessian + remembered) else 0.0
    return hessian, remembered, out


@njit(cache=True, nogil=True)
def judge_kernel(view, pose, center, cam, rgb, depth_image, images, posterior, texture, gate, limits):
    """Hessians (6, 6) of contour and depth and of the texture, and statistics (STATISTICS,) of a pose as it is."""
    odds = np.empty_like(posterior)
    odds_kernel(posterior, odds)
    return _judged(view, pose, center, cam, rgb, depth_image, images, odds, texture, gate, limits)


@njit(cache=True, nogil=True)
def align_kernel(
    vertices,
    faces,
    center,
    diameter,
    start,
    view,
    cam,
    rgb,
    depth_image,
    images,
    posterior,
    texture,
    scales,
    gates,
    refresh,
    prior,
    judge_gate,
    limits,
):
    """Pose (4, 4) and view after len(scales) Gauss-Newton steps from `start`, and its judgement; see `align`.

    scales: (N,) segment lengths [px]. gates: (N,) depth gates [m]. refresh: step before which the view is rendered
    anew, negative for never. prior: (6, 6) information of the start. judge_gate: as in `judge_kernel`; the pose is
    judged here, because leaving compiled code in between costs what the judgement does.
    """
    pose = start.copy()
    odds = np.empty_like(posterior)
    odds_kernel(posterior, odds)
    height, width = depth_image.shape
    total = np.zeros(6)
    for i in range(len(scales)):
        if i == refresh:
            view = view_kernel(vertices, faces, center, diameter, pose, cam, width, height)
        hessian, gradient = prior.copy(), -(prior @ total)
        pivot = pivot_of(pose, center)
        terms_kernel(
            view, pose, pivot, cam, rgb, depth_image, odds, scales[i], gates[i], limits, hessian, gradient
        )
        level = 0 if scales[i] <= TEXTURE_SCALE else 1
        texture_terms(texture, level, images, pose, pivot, cam, depth_image, limits[2], hessian, gradient)
        xi = solve_positive(hessian, gradient.reshape(6, 1))[:, 0]
        shift = np.sqrt(xi[0] ** 2 + xi[1] ** 2 + xi[2] ** 2)
        turn = np.sqrt(xi[3] ** 2 + xi[4] ** 2 + xi[5] ** 2)
        xi *= min(1.0, MAX_TURN / max(turn, 1e-9), MAX_SHIFT * diameter / max(shift, 1e-9))
        apply_at(pose, pivot, xi)
        total += xi
    return pose, view, _judged(view, pose, center, cam, rgb, depth_image, images, odds, texture, judge_gate, limits)


@njit(cache=True, nogil=True)
def rank_kernel(view, poses, center, cam, rgb, depth_image, posterior, gate, limits):
    """Fit quality (K,) of poses (K, 4, 4), from every RANK_STEP-th line and point of one view."""
    thin = SparseView(
        np.ascontiguousarray(view.contour_points[::RANK_STEP]),
        np.ascontiguousarray(view.contour_normals[::RANK_STEP]),
        np.ascontiguousarray(view.inner_runs[::RANK_STEP]),
        np.ascontiguousarray(view.outer_runs[::RANK_STEP]),
        np.ascontiguousarray(view.surface_points[::RANK_STEP]),
        np.ascontiguousarray(view.surface_normals[::RANK_STEP]),
        view.inside,
        view.crop,
        view.depth,
        view.cam_from_obj,
    )
    odds = np.empty_like(posterior)
    odds_kernel(posterior, odds)
    out = np.empty(len(poses))
    hessian, gradient = np.zeros((6, 6)), np.zeros(6)
    for k in range(len(poses)):
        pivot = pivot_of(poses[k], center)
        table, counts, _ = terms_kernel(
            thin, poses[k], pivot, cam, rgb, depth_image, odds, JUDGE_SCALE, gate, limits, hessian, gradient
        )
        out[k] = statistics_of(table, counts)[QUALITY]
    return out
