"""One mask for all copies of an object -> one mask for each: parts that lie apart, in the picture or in depth."""

import cv2
import numpy as np
from numpy.typing import NDArray

STEP = 0.15
"""Depth step between neighbouring pixels that separates two copies, in object diameters."""
SMALLEST = 0.15
"""Parts below this share of the largest one's area are no copies."""


def split(mask: NDArray[np.bool_], depth: NDArray[np.float32], diameter: float) -> list[NDArray[np.bool_]]:
    """Masks of single instances, largest first.

    Args:
      depth: (H, W) [m], 0 = unknown; all zeros when there is none.
      diameter: of the object [m].
    """
    cut = _steps(depth, STEP * diameter) if (depth > 0).any() else np.zeros_like(mask)
    count, labels = cv2.connectedComponents((mask & ~cut).astype(np.uint8), connectivity=4)
    if count < 2:
        return [mask] if mask.any() else []
    areas = np.bincount(labels.ravel(), minlength=count)
    areas[0] = 0
    kept = [k for k in np.argsort(-areas, kind="stable") if areas[k] > max(0, SMALLEST * areas.max() - 1)]
    # Pixels of the cuts, and of crumbs, belong to the nearest part.
    seeds = np.isin(labels, kept)
    _, nearest = cv2.distanceTransformWithLabels((~seeds).astype(np.uint8), cv2.DIST_L2, 5,
                                                 labelType=cv2.DIST_LABEL_PIXEL)
    owner = np.zeros(nearest.max() + 1, np.int64)
    owner[nearest[seeds]] = labels[seeds]
    full = owner[nearest]
    full[~mask] = 0
    return [full == k for k in kept]


def _steps(depth: NDArray[np.float32], least: float) -> NDArray[np.bool_]:
    """Pixels beside a step in depth of at least `least` [m]."""
    known = np.where(depth > 0, depth, np.nan)
    out = np.zeros(depth.shape, bool)
    with np.errstate(invalid="ignore"):
        out[:, 1:] |= np.abs(np.diff(known, axis=1)) > least
        out[1:] |= np.abs(np.diff(known, axis=0)) > least
    return out
