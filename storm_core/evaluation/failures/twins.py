"""Poses that could be mistaken for the right one, and whether anybody could see the difference."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from storm_core.evaluation.failures.labels import pose_errors
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import from_rotation_translation, so3_exp, transform
from storm_core.geometry.symmetry import shape_symmetries
from storm_core.rendering.raster import NumbaRenderer

Array = NDArray[np.float64]

WRONG = 0.2
"""Error [diameters] that a twin must have: less is no other pose."""
SEEN_COLOR = 20.0
"""Mean difference of a colour channel over common pixels from which a print looks different (0 to 255)."""
SEEN_DEPTH = 0.03
"""Mean difference in depth over common pixels / diameter from which a shape looks different."""
SEEN_OUTLINE = 0.1
"""Share of the joint silhouette that only one of two poses covers from which an outline looks different."""


def half_turn(model: ObjectModel, cam_from_obj: Array, camera: PinholeCamera) -> Array | None:
    """obj -> obj: of the half turns about the box axes that look different here, the one that fits the shape best.

    None when each is a symmetry, or looks the same in this view.
    """
    turns = so3_exp(np.pi * np.eye(3))
    candidates = from_rotation_translation(turns, model.center - turns @ model.center)
    points = model.eval_vertices[:: max(1, len(model.eval_vertices) // 1000)]
    misfit = cKDTree(points).query(transform(candidates, points))[0].mean(-1)
    for k in np.argsort(misfit):
        if _other_pose(model, candidates[k]) and looks_different(model, cam_from_obj, candidates[k], camera):
            return candidates[k]
    return None


def texture_turn(model: ObjectModel, cam_from_obj: Array, camera: PinholeCamera,
                 rng: np.random.Generator) -> Array | None:
    """obj -> obj: a turn that leaves the shape as it is and puts another print in its place; None without one."""
    if model.colors is None:
        return None
    turns = shape_symmetries(model, tolerance=0.01)[1:]
    for k in rng.permutation(len(turns)):
        if _other_pose(model, turns[k]) and looks_different(model, cam_from_obj, turns[k], camera):
            return turns[k]
    return None


def looks_different(model: ObjectModel, cam_from_obj: Array, turn: Array, camera: PinholeCamera) -> bool:
    """Whether a renderer tells both poses apart; a failure that nobody can see is no fair test."""
    r = NumbaRenderer().render(model, np.array([cam_from_obj, cam_from_obj @ turn]), camera)
    common, joint = r.mask[0] & r.mask[1], r.mask[0] | r.mask[1]
    if not common.any() or common.sum() < (1.0 - SEEN_OUTLINE) * joint.sum():
        return True
    if np.abs(r.depth[0] - r.depth[1])[common].mean() > SEEN_DEPTH * model.diameter:
        return True
    if r.color is None or model.colors is None:
        return False
    return bool(np.abs(r.color[0][common].astype(float) - r.color[1][common]).mean() > SEEN_COLOR)


def _other_pose(model: ObjectModel, turn: Array) -> bool:
    return bool(pose_errors(model, turn[None], np.eye(4)[None])[0] > WRONG)
