"""How well poses agree with the image: what geometric selection looks at."""

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.compare import ZNCC, compare
from storm_core.evidence.compare import scores as geometric_scores
from storm_core.evidence.features import FrameFeatures
from storm_core.geometry.mesh import ObjectModel
from storm_core.registration.given_mask import mask_agreement

SIDE = 56
"""Crop of one pose [px]."""

MASK_WEIGHT = 0.6
"""Fitness that a silhouette gains which fills its mask exactly."""


def fitness_of(features: FrameFeatures, model: ObjectModel, poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Depth inliers minus free-space violations of poses (N, 4, 4), and colour agreement of coloured meshes.

    About 1 for a perfect pose without colour; more is better.
    """
    return _fitness(_table(features, model, poses, None))


def explained_fitness(features: FrameFeatures, model: ObjectModel, poses: NDArray[np.float64],
                      mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fitness (N,) of poses that are to explain a mask (H, W), too: what they would show fills it and no more."""
    table = _table(features, model, poses, mask)
    return _fitness(table) + MASK_WEIGHT * mask_agreement(table, poses, model, features.frame.camera, mask, SIDE)


def _fitness(table: NDArray[np.float64]) -> NDArray[np.float64]:
    return geometric_scores(table) + 0.3 * np.nan_to_num(table[:, ZNCC])


def _table(features: FrameFeatures, model: ObjectModel, poses: NDArray[np.float64], mask: NDArray[np.bool_] | None
           ) -> NDArray[np.float64]:
    return compare(features, model, poses, side=SIDE, tau=max(0.004, 0.03 * model.diameter), mask=mask, contour=False)
