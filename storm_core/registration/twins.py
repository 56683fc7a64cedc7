"""Geometric twins: a cube looks nearly the same after a turn; print, outline and small differences can tell."""

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.compare import compare
from storm_core.evidence.features import FrameFeatures
from storm_core.evidence.verifier import DEFAULT as VERIFIER
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import from_rotation_translation, so3_exp, transform

FINALISTS, GLANCE = 40, 40
"""Twins that are looked at closely, and the crop resolution [px] of the glance that chooses them."""


def resolve_twins(
    features: FrameFeatures,
    model: ObjectModel,
    cam_from_objs: NDArray[np.float64],
    shape_symmetries: NDArray[np.float64],
    *,
    side: int = 72,
) -> NDArray[np.float64]:
    """Poses (N, 4, 4) and their turned twins, best first by the verifier's ranking.

    Args:
      shape_symmetries: (S, 4, 4) obj -> obj near-symmetries of the shape, identity first.
    """
    if len(shape_symmetries) < 2:
        return cam_from_objs
    twins = (cam_from_objs[:, None] @ shape_symmetries[None]).reshape(-1, 4, 4)
    if len(twins) > FINALISTS:
        rank = VERIFIER.ranking(compare(features, model, twins, side=GLANCE))
        twins = twins[np.argsort(-rank, kind="stable")[:FINALISTS]]
    rank = VERIFIER.ranking(compare(features, model, twins, side=side))
    return twins[np.argsort(-rank, kind="stable")]


def turned(model: ObjectModel, cam_from_objs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses (N, 4, 4) and their turns by multiples of 15 degrees about the three axes of the bounding box.

    Depth hardly feels how a can is turned about its axis, and no list of exact symmetries holds a dented one; print
    feels it, but only from near by.
    """
    about = so3_exp((np.arange(1, 24) * np.pi / 12)[None, :, None] * np.eye(3)[:, None]).reshape(-1, 3, 3)
    around_center = from_rotation_translation(about, model.center - about @ model.center)
    return np.concatenate([cam_from_objs, (cam_from_objs[:, None] @ around_center).reshape(-1, 4, 4)])


def declared_distance(model: ObjectModel, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Largest vertex distance [m] between two poses, the best declared symmetry chosen (MSSD)."""
    pick = model.eval_vertices[:: max(1, len(model.eval_vertices) // 500)]
    target = transform(b, pick)
    turned = a @ model.symmetries
    return float(np.linalg.norm(transform(turned, pick) - target, axis=-1).max(-1).min())
