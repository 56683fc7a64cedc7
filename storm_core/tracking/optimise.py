"""Robust Gauss-Newton on SE(3): region, depth and texture terms together, coarse to fine, about the object centre."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.refinement.icp import apply_at
from storm_core.tracking.gauss_newton import (
    BEHIND,
    CONTRAST,
    INLIER,
    LINES,
    MEASURED,
    OBSERVABLE,
    OCCLUDED,
    OCCLUDED_LINES,
    POINTS,
    QUALITY,
    VARIANCE,
    align_kernel,
    judge_kernel,
    rank_kernel,
)
from storm_core.tracking.sparse_model import SparseView, rendered_view, turned_away
from storm_core.tracking.texture import KeyFrame, brightness_images, texture_of
from storm_core.tracking.uncertainty import diagonal_information
from storm_core.types import Frame

SCALES = (6, 4, 2, 2, 1, 1)
"""Segment lengths [px], spread over the iterations."""

MOTION_PRIOR = (0.1, 0.06)
"""Standard deviation of the motion prediction: diameters, radians. It decides only what the image leaves open: a can
that contour and depth let spin freely must stay near the prediction until its texture can hold it."""

MAX_TURNED = 0.12
"""Change of the line of sight [rad], or of its length (logarithm), up to which an earlier view starts an alignment."""

JUDGE_GATE = 0.08
"""Depth gate that poses are judged with [diameters]."""

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
      quality: about 1.5 for a perfect fit, 0 for none; ranks starts of one object in one frame.
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
    quality: float

    @property
    def usable(self) -> bool:
        """Enough unoccluded measurements agree for the image to correct the prediction."""
        return self.lines + self.points >= MIN_USED

    @property
    def depth_share(self) -> float:
        """Share of the surface points that nothing is known to hide that have depth, in [0, 1].

        An occluder near the camera throws a shadow without depth: what is measured may be the occluder alone, while the
        object beside it is in plain view.
        """
        hidden = self.measured * self.occluded
        return (self.measured - hidden) / max(1.0 - hidden, 1e-9)


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
    return min(max(0.15 * diameter, 0.012), 0.03)


def limits_of(diameter: float) -> tuple[float, float, float]:
    """Depth steps [m]: in front of the contour that is an occluder, behind it that is background, tolerance."""
    return occlusion_gap(diameter), 0.35 * diameter, tolerance(diameter)


@lru_cache(maxsize=256)
def _prior_information(shift: float, turn: float) -> NDArray[np.float64]:
    return diagonal_information(shift, turn)


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
    pose, view, judged = align_kernel(
        model.coarse.vertices,
        model.coarse.faces,
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
        _prior_information(prior[0] * d, prior[1]),
        max(JUDGE_GATE * d, MIN_GATE),
        limits_of(d),
    )
    return _fit(pose, view, *judged)


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
    return _fit(pose, view, *judge_kernel(
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
    ))


def _fit(
    pose: NDArray[np.float64], view: SparseView, hessian: NDArray[np.float64], remembered: NDArray[np.float64],
    values: NDArray[np.float64],
) -> Fit:
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
        quality=statistics[QUALITY],
    )


def rank(
    frame: Frame,
    model: ObjectModel,
    view: SparseView,
    poses: NDArray[np.float64],
    posterior: NDArray[np.float32],
) -> NDArray[np.float64]:
    """About the `Fit.quality` (K,) of many poses (K, 4, 4) seen from nearly one side, a third of the work each."""
    d = model.diameter
    return rank_kernel(
        view,
        np.ascontiguousarray(poses),
        model.center,
        frame.camera.vector,
        frame.rgb,
        frame.depth,
        posterior,
        max(JUDGE_GATE * d, MIN_GATE),
        limits_of(d),
    )
