"""One modality's terms at one pose: what the compiled loop of the tracker adds up, callable from a test."""

import numpy as np
from numpy.typing import NDArray

from storm_core.tracking import texture
from storm_core.tracking.depth import depth_kernel
from storm_core.tracking.region import STEP, lines_kernel, odds_kernel
from storm_core.tracking.sparse_model import SparseView
from storm_core.types import Frame

Array = NDArray[np.float64]


def add_depth(frame: Frame, view: SparseView, pose: Array, pivot: Array, sigma: float, gate: float, tau: float,
              hessian: Array, gradient: Array) -> Array:
    """Add the depth terms of a view at a pose (4, 4) in place; returns the counts, see `depth_kernel`."""
    return depth_kernel(pose, frame.camera.vector, pivot, view.surface_points, view.surface_normals, frame.depth, sigma,
                        gate, tau, hessian, gradient)


def measure_lines(frame: Frame, view: SparseView, pose: Array, posterior: NDArray[np.float32], scale: int, gap: float,
                  behind: float) -> tuple[Array, Array]:
    """Line table and geometry of a view at a pose (4, 4); see `lines_kernel`."""
    odds = np.empty_like(posterior)
    odds_kernel(posterior, odds)
    return lines_kernel(pose, frame.camera.vector, view.contour_points, view.contour_normals, view.inner_runs,
                        view.outer_runs, frame.rgb, frame.depth, odds, STEP, scale, gap, behind)


def add_texture(frame: Frame, key: texture.KeyFrame, pose: Array, pivot: Array, tolerance: float, hessian: Array,
                gradient: Array, level: int) -> int:
    """Add the brightness terms of a pose (4, 4) in place; returns the number of points used."""
    seen = texture.look(frame, key.points, key.normals, pose, level, tolerance)
    return texture.texture_kernel(seen, key.brightness[level], frame.camera.vector, pivot, texture.SIGMA_FLOOR,
                                  texture.CORRELATED_POINTS, hessian, gradient)
