"""Pose errors between one estimate and one ground-truth pose. Pure functions; poses are cam_from_obj (4, 4) [m]."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.pose import inverse, transform

Array = NDArray[np.float64]


def add(estimate: Array, truth: Array, points: Array) -> float:
    """ADD: mean distance of corresponding model points (P, 3) [m]."""
    return float(np.linalg.norm(transform(estimate, points) - transform(truth, points), axis=1).mean())


def adds(estimate: Array, truth: Array, points: Array, tree: Any | None = None) -> float:
    """ADD-S: mean distance of each true model point to the nearest estimated one [m].

    Args:
      tree: cKDTree of `points`, to save its construction. Distances do not change with the frame they are measured
        in, so one tree in the object frame serves all poses.
    """
    tree = cKDTree(points) if tree is None else tree
    distances, _ = tree.query(transform(inverse(estimate) @ truth, points))
    return float(distances.mean())


def mssd(estimate: Array, truth: Array, points: Array, symmetries: Array) -> float:
    """Maximum symmetry-aware surface distance [m]: over declared symmetries (S, 4, 4), the best of the largest
    distances."""
    here = transform(estimate, points)
    return min(float(np.sqrt(((here - transform(truth @ s, points)) ** 2).sum(1).max())) for s in symmetries)


def mspd(estimate: Array, truth: Array, points: Array, symmetries: Array, camera: PinholeCamera) -> float:
    """Maximum symmetry-aware projection distance [px]; inf when a point lies behind the camera."""
    here = camera.project(transform(estimate, points))
    best = float("inf")
    for s in symmetries:
        there = camera.project(transform(truth @ s, points))
        worst = float(np.linalg.norm(here - there, axis=1).max())
        if worst < best:  # False for nan
            best = worst
    return best


def projected_error(estimate: Array, truth: Array, points: Array, camera: PinholeCamera) -> float:
    """Mean distance of corresponding projected points [px]; inf when a point lies behind the camera."""
    distances = np.linalg.norm(camera.project(transform(estimate, points)) - camera.project(transform(truth, points)),
                               axis=1)
    return float(distances.mean()) if np.isfinite(distances).all() else float("inf")


def mask_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks; 1 for two empty ones."""
    union = int(np.count_nonzero(a | b))
    return 1.0 if union == 0 else float(np.count_nonzero(a & b) / union)
