"""Robust Gauss-Newton on SE(3): region, depth and texture terms together, coarse to fine, about the object centre."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.refinement.icp import apply_at
from storm_core.tracking import depth, region
from storm_core.tracking.depth import depth_kernel, measurement_sigma
from storm_core.tracking.region import SIGMA_FLOOR, STEP, accumulate_kernel, lines_kernel, odds_kernel
from storm_core.tracking.sparse_model import SparseView, rendered_view, turned_away, view_kernel
from storm_core.tracking.texture import (
    CORRELATED_POINTS,
    SHRINKS,
    KeyFrame,
    brightness_images,
    look_kernel,
    texture_kernel,
    texture_of,
)
from storm_core.tracking.texture import SIGMA_FLOOR as TEXTURE_FLOOR
from storm_core.tracking.uncertainty import diagonal_information
from storm_core.types import Frame

SCALES = (6, 4, 2, 2, 1, 1)
"""Segment lengths [px], spread over the iterations."""

TEXTURE_SCALE = 2
"""The lines' segments [px] from which on texture is read from the picture itself; before, from the small one."""

MOTION_PRIOR = (0.1, 0.06)
"""Standard deviation of the motion prediction: diameters, radians. It decides only what the image leaves open: a can
that contour and depth let spin freely must stay near the prediction until its texture can hold it."""

MAX_SHIFT, MAX_TURN = 0.5, 0.5
"""Longest step: diameters, radians."""

MAX_TURNED = 0.12
"""Change of the line of sight [rad], or of its length (logarithm), up to which an earlier view starts an alignment."""

JUDGE_SCALE, JUDGE_GATE = 2, 0.08
"""Segment length [px] and depth gate [diameters] that poses are judged with."""

MIN_GATE = 0.006
"""Smallest depth gate [m]: depth noise."""

MIN_USED = 12
"""Lines plus depth points below which the image cannot correct the prediction."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Fit:
    """A pose after alignment and how well it fits.

    Attributes:
      cam_from_obj: (4, 4). view: the sparse view it was fitted with.
      information: (6, 6) normal matrix of a left increment about the object centre [1/m^2, 1/rad^2].
      remembered: (6, 6) the part of it that the texture of the key frame adds.
      inlier, occluded, behind: shares of the visible surface points with depth (0 when none has depth).
      measured: share of the surface points inside the image that have depth.
      lines: correspondence lines used. occluded_lines: share of the lines hidden by something in front.
      observable: the information says something about every direction.
      contrast: mean foreground probability just inside minus just outside the contour, in [-1, 1].
    """

    cam_from_obj: NDArray[np.float64]
    view: SparseView
    information: NDArray[np.float64]
    remembered: NDArray[np.float64]
    inlier: float
    occluded: float
    behind: float
    measured: float
    points: int
    lines: int
    occluded_lines: float
    contrast: float
    variance: float
    observable: bool

    @property
    def quality(self) -> float:
        """About 1.5 for a perfect fit, 0 for none; ranks starts of one object in one frame."""
        return self.inlier - 0.7 * self.behind - 0.2 * self.occluded + 0.5 * self.contrast

    @property
    def usable(self) -> bool:
        """Enough unoccluded measurements agree for the image to correct the prediction."""
        return self.lines + self.points >= MIN_USED


def center_of(model: ObjectModel, cam_from_obj: NDArray[np.float64]) -> NDArray[np.float64]:
    """Object centre in the camera frame [m], (3,)."""
    return cam_from_obj[:3, :3] @ model.center + cam_from_obj[:3, 3]


def tolerance(diameter: float) -> float:
    """Depth error up to which a point agrees with the model [m]."""
    return max(0.006, 0.06 * diameter)


def moved(
    cam_from_obj: NDArray[np.float64], pivot: NDArray[np.float64], xi: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The pose after a left increment xi = (shift [m], turn [rad]) about the camera-frame point `pivot`."""
    out = cam_from_obj.copy()
    apply_at(out, pivot, np.asarray(xi, float))
    return out


def occlusion_gap(diameter: float) -> float:
    """Depth step in front of the model that counts as an occluder [m]."""
    return float(np.clip(0.15 * diameter, 0.012, 0.03))


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
    STATISTICS,
) = range(11)


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
    n = matrix.shape[0]
    low = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            rest = matrix[i, j]
            for k in range(j):
                rest -= low[i, k] * low[j, k]
            if i > j:
                low[i, j] = rest / low[j, j]
            elif not rest > 1e-12 * matrix[i, i]:
                return False
            else:
                low[i, i] = np.sqrt(rest)
    return True


@njit(cache=True)
def pivot_of(pose, center):
    """Object centre in the camera frame [m], (3,)."""
    out = np.empty(3)
    for i in range(3):
        out[i] = pose[i, 0] * center[0] + pose[i, 1] * center[1] + pose[i, 2] * center[2] + pose[i, 3]
    return out


@njit(cache=True, nogil=True)
def judge_kernel(view, pose, center, cam, rgb, depth_image, images, posterior, texture, gate, limits):
    """Hessians (6, 6) of contour and depth and of the texture, and statistics (STATISTICS,) of a pose as it is."""
    hessian, remembered, gradient = np.zeros((6, 6)), np.zeros((6, 6)), np.zeros(6)
    odds = np.empty_like(posterior)
    odds_kernel(posterior, odds)
    pivot = pivot_of(pose, center)
    table, counts, cost = terms_kernel(
        view, pose, pivot, cam, rgb, depth_image, odds, JUDGE_SCALE, gate, limits, hessian, gradient
    )
    texture_terms(texture, 0, images, pose, pivot, cam, depth_image, limits[2], remembered, gradient)
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
    out[VARIANCE] = (cost + counts[depth.SQUARES]) / max(lines + counts[depth.WEIGHTS], 1.0)
    out[OBSERVABLE] = 1.0 if positive_definite(hessian + remembered) else 0.0
    return hessian, remembered, out


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
    limits,
):
    """Pose (4, 4) and view after len(scales) Gauss-Newton steps from `start`; see `align`.

    scales: (N,) segment lengths [px]. gates: (N,) depth gates [m]. refresh: step before which the view is rendered
    anew, negative for never. prior: (6, 6) information of the start.
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
        xi = np.linalg.solve(hessian, gradient)
        shift = np.sqrt(xi[0] ** 2 + xi[1] ** 2 + xi[2] ** 2)
        turn = np.sqrt(xi[3] ** 2 + xi[4] ** 2 + xi[5] ** 2)
        xi *= min(1.0, MAX_TURN / max(turn, 1e-9), MAX_SHIFT * diameter / max(shift, 1e-9))
        apply_at(pose, pivot, xi)
        total += xi
    return pose, view


def limits_of(diameter: float) -> tuple[float, float, float]:
    """Depth steps [m]: in front of the contour that is an occluder, behind it that is background, tolerance."""
    return occlusion_gap(diameter), 0.35 * diameter, tolerance(diameter)


@lru_cache(maxsize=16)
def schedule(iterations: int, first: float, last: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Segment lengths [px] and depth gates (in the unit of first and last), from coarse to fine; (iterations,) each."""
    step = np.arange(iterations)
    scales = np.array(SCALES)[np.minimum(step * len(SCALES) // iterations, len(SCALES) - 1)]
    return scales, first * (last / first) ** (step / max(iterations - 1, 1))


def align(
    frame: Frame,
    model: ObjectModel,
    start: NDArray[np.float64],
    posterior: NDArray[np.float32],
    iterations: int,
    key: KeyFrame | None = None,
    gates: tuple[float, float] = (0.35, 0.08),
    view: SparseView | None = None,
    prior: tuple[float, float] = MOTION_PRIOR,
) -> Fit:
    """The pose near `start` (4, 4) that explains contour and depth best.

    Args:
      key: remembered texture. It steers from the first iteration on, through the small picture: left to contour and
        depth alone, a can would turn out of the reach of its print before the print is asked.
      gates: first and last depth gate [diameters].
      view: an earlier view, for the coarse half; rendered anew when None or too different.
      prior: standard deviations of the start [diameters, rad].
    """
    d = model.diameter
    if view is None or turned_away(view, start, model.center) > MAX_TURNED:
        view = rendered_view(model, start, frame.camera)
    scales, relative_gates = schedule(iterations, *gates)
    pose, view = align_kernel(
        *model.coarse,
        model.center,
        d,
        np.array(start, np.float64, order="C"),
        view,
        frame.camera.vector,
        frame.rgb,
        frame.depth,
        brightness_images(frame),
        posterior,
        texture_of(key),
        scales,
        np.maximum(relative_gates * d, MIN_GATE),
        iterations // 2 if iterations > 1 else -1,
        diagonal_information(prior[0] * d, prior[1]),
        limits_of(d),
    )
    return assess(frame, model, view, pose, posterior, key)


def assess(
    frame: Frame,
    model: ObjectModel,
    view: SparseView,
    pose: NDArray[np.float64],
    posterior: NDArray[np.float32],
    key: KeyFrame | None = None,
) -> Fit:
    """How well a pose fits, without moving it."""
    d = model.diameter
    hessian, remembered, values = judge_kernel(
        view,
        np.ascontiguousarray(pose),
        model.center,
        frame.camera.vector,
        frame.rgb,
        frame.depth,
        brightness_images(frame),
        posterior,
        texture_of(key),
        max(JUDGE_GATE * d, MIN_GATE),
        limits_of(d),
    )
    statistics = values.tolist()
    return Fit(
        cam_from_obj=pose,
        view=view,
        information=hessian + remembered,
        remembered=remembered,
        inlier=statistics[INLIER],
        occluded=statistics[OCCLUDED],
        behind=statistics[BEHIND],
        measured=statistics[MEASURED],
        points=int(statistics[POINTS]),
        lines=int(statistics[LINES]),
        occluded_lines=statistics[OCCLUDED_LINES],
        contrast=statistics[CONTRAST],
        variance=statistics[VARIANCE],
        observable=statistics[OBSERVABLE] > 0,
    )
