"""Geometric twins: a cube looks the same after a turn; only colour can tell. Colour decides near-ties only."""

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.compare import N_INLIER, ZNCC, compare, scores
from storm_core.evidence.features import FrameFeatures
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import transform

NEAR_TIE = 0.06
"""Geometric score difference up to which colour may overrule geometry."""


def resolve_twins(
    features: FrameFeatures,
    model: ObjectModel,
    cam_from_objs: NDArray[np.float64],
    shape_symmetries: NDArray[np.float64],
    *,
    side: int = 72,
) -> NDArray[np.float64]:
    """Poses (N, 4, 4) and their turned twins, best first: geometric near-ties ordered by colour correlation.

    Args:
      shape_symmetries: (S, 4, 4) obj -> obj near-symmetries of the shape, identity first.
    """
    if model.colors is None or len(shape_symmetries) < 2:
        return cam_from_objs
    twins = (cam_from_objs[:, None] @ shape_symmetries[None]).reshape(-1, 4, 4)
    table = compare(features, model, twins, side=side, contour=False)
    score = scores(table)
    color = np.where(np.isfinite(table[:, ZNCC]) & (table[:, N_INLIER] > 30), table[:, ZNCC], -1.0)
    tie = score > score.max() - NEAR_TIE
    order = np.lexsort((-color, ~tie))
    return twins[order]


def declared_distance(model: ObjectModel, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Largest vertex distance [m] between two poses, the best declared symmetry chosen (MSSD)."""
    pick = model.eval_vertices[:: max(1, len(model.eval_vertices) // 500)]
    target = transform(b, pick)
    turned = a @ model.symmetries
    return float(np.linalg.norm(transform(turned, pick) - target, axis=-1).max(-1).min())
