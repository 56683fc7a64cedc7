"""Robust Gauss-Newton on SE(3): region, depth and texture terms together, coarse to fine, about the object centre."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.refinement.icp import apply_at
from storm_core.tracking import depth as depth_modality
from storm_core.tracking import region, texture
from storm_core.tracking.sparse_model import SparseView, rendered_view
from storm_core.tracking.uncertainty import diagonal_information
from storm_core.types import Frame

SCALES = (6, 4, 2, 2, 1, 1)
"""Segment lengths [px], spread over the iterations."""

TEXTURE_SCALE = 2
"""The lines' segments [px] from which on texture is read from the picture itself; before, from the small one."""

PRIOR_SHIFT, PRIOR_TURN = 0.1, 0.06
"""Standard deviation of the motion prediction: diameters, radians. It decides only what the image leaves open: a can
that contour and depth let spin freely must stay near the prediction until its texture can hold it."""

MIN_USED = 12
"""Lines plus depth points below which the image cannot correct the prediction."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Fit:
    """A pose after alignment and how well it fits.

    Attributes:
      cam_from_obj: (4, 4). view: the sparse view it was fitted with.
      information: (6, 6) normal matrix of a left increment about the object centre [1/m^2, 1/rad^2].
      inlier, occluded, behind: shares of the visible surface points with depth (0 when none has depth).
      measured: share of the surface points inside the image that have depth.
      lines: correspondence lines used. occluded_lines: share of the lines hidden by something in front.
      contrast: mean foreground probability just inside minus just outside the contour, in [-1, 1].
    """

    cam_from_obj: NDArray[np.float64]
    view: SparseView
    information: NDArray[np.float64]
    inlier: float
    occluded: float
    behind: float
    measured: float
    points: int
    lines: int
    occluded_lines: float
    contrast: float
    variance: float

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


def normal_equations(
    frame: Frame,
    model: ObjectModel,
    view: SparseView,
    pose: NDArray[np.float64],
    posterior: NDArray[np.float32],
    scale: int,
    gate: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
    """Hessian (6, 6), gradient (6,), line table, depth counts and weighted region cost of one pose.

    Args:
      posterior: foreground probability by colour. scale: segment length of the lines [px]. gate: depth gate [m].
    """
    hessian, gradient = np.zeros((6, 6)), np.zeros(6)
    d = model.diameter
    pivot = center_of(model, pose)
    table, geometry = region.measure_lines(frame, view, pose, posterior, scale, occlusion_gap(d), 0.35 * d)
    cost, _ = region.accumulate_kernel(
        table, geometry, frame.camera.vector, pivot, region.SIGMA_FLOOR * scale, hessian, gradient
    )
    counts = depth_modality.add_depth(
        frame, view, pose, pivot, depth_modality.measurement_sigma(pivot[2]), gate, tolerance(d), hessian, gradient
    )
    return hessian, gradient, table, counts, cost


def occlusion_gap(diameter: float) -> float:
    """Depth step in front of the model that counts as an occluder [m]."""
    return float(np.clip(0.15 * diameter, 0.012, 0.03))


def align(
    frame: Frame,
    model: ObjectModel,
    start: NDArray[np.float64],
    posterior: NDArray[np.float32],
    iterations: int,
    key: texture.KeyFrame | None = None,
    gates: tuple[float, float] = (0.35, 0.08),
) -> Fit:
    """The pose near `start` (4, 4) that explains contour and depth best.

    Args:
      key: remembered texture. It steers from the first iteration on, through the small picture: left to contour and
        depth alone, a can would turn out of the reach of its print before the print is asked.
      gates: first and last depth gate [diameters].
    """
    pose = np.array(start, np.float64, order="C")
    d = model.diameter
    view = rendered_view(model, pose, frame.camera)
    prior = diagonal_information(PRIOR_SHIFT * d, PRIOR_TURN)
    total = np.zeros(6)
    refreshed = False
    for i in range(iterations):
        scale = SCALES[min(i * len(SCALES) // iterations, len(SCALES) - 1)]
        gate = max(gates[0] * (gates[1] / gates[0]) ** (i / max(iterations - 1, 1)) * d, 0.006)
        hessian, gradient, _, _, _ = normal_equations(frame, model, view, pose, posterior, scale, gate)
        if key is not None:
            level = 0 if scale <= TEXTURE_SCALE else 1
            texture.add_texture(frame, key, pose, center_of(model, pose), 2 * tolerance(d), hessian, gradient, level)
        xi = np.linalg.solve(hessian + prior, gradient - prior @ total)
        xi *= min(1.0, 0.5 / max(np.linalg.norm(xi[3:]), 1e-9), 0.5 * d / max(np.linalg.norm(xi[:3]), 1e-9))
        apply_at(pose, center_of(model, pose), xi)
        total += xi
        if not refreshed and (i + 1) * 2 >= iterations and i + 1 < iterations:
            view = rendered_view(model, pose, frame.camera)
            refreshed = True
    return assess(frame, model, view, pose, posterior, key)


def assess(
    frame: Frame,
    model: ObjectModel,
    view: SparseView,
    pose: NDArray[np.float64],
    posterior: NDArray[np.float32],
    key: texture.KeyFrame | None = None,
) -> Fit:
    """How well a pose fits, without moving it."""
    hessian, _, table, counts, cost = normal_equations(
        frame, model, view, pose, posterior, 2, max(0.08 * model.diameter, 0.006)
    )
    if key is not None:
        texture.add_texture(
            frame, key, pose, center_of(model, pose), 2 * tolerance(model.diameter), hessian, np.zeros(6)
        )
    seen = counts[depth_modality.INLIER] + counts[depth_modality.OCCLUDED] + counts[depth_modality.BEHIND]
    used = table[:, region.USED] > 0
    lines, hidden = int(used.sum()), int(table[:, region.OCCLUDED].sum())
    variance = (cost + counts[depth_modality.SQUARES]) / max(lines + counts[depth_modality.WEIGHTS], 1.0)
    share = 1.0 / max(seen, 1.0)
    return Fit(
        cam_from_obj=pose,
        view=view,
        information=hessian,
        inlier=counts[depth_modality.INLIER] * share,
        occluded=counts[depth_modality.OCCLUDED] * share,
        behind=counts[depth_modality.BEHIND] * share,
        measured=seen / max(seen + counts[depth_modality.MISSING], 1.0),
        points=int(counts[depth_modality.INLIER]),
        lines=lines,
        occluded_lines=hidden / max(lines + hidden, 1),
        contrast=float(table[used, region.CONTRAST].mean()) if lines else 0.0,
        variance=float(variance),
    )
