"""Figures of segmentation masks: COCO's average precision as BOP 2022 uses it, and STORM's own recall."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from storm_core.metrics.average_precision import average_precision

IOUS = np.linspace(0.5, 0.95, 10)
"""Thresholds of intersection over union."""
MASKS_PER_IMAGE = 100
"""Those of highest score count, per object."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskMatches:
    """The masks found for one object in one image against those of its annotated instances.

    Attributes:
      scores: (D,). ious: (D, G) intersection over union.
      ignored: (G,) instances that need not be found (in BOP: visible by less than a tenth); who finds one is neither
        right nor wrong.
    """

    scores: NDArray[np.float64]
    ious: NDArray[np.float64]
    ignored: NDArray[np.bool_]


def pairwise_iou(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Intersection over union (D, G) of masks (D, h, w) and (G, h, w); 0 for two empty ones."""
    a, b = (m.reshape(len(m), int(np.prod(m.shape[1:]))).astype(np.float32) for m in (found, true))
    both = (a @ b.T).astype(float)
    union = a.sum(1, dtype=float)[:, None] + b.sum(1, dtype=float)[None] - both
    return both / np.maximum(union, 1)


def ap_bop(objects: Mapping[int, Sequence[MaskMatches]]) -> tuple[float, dict[int, float]]:
    """COCO AP over IoU 0.50:0.05:0.95, mean over the annotated objects, and of each object (nan: not annotated).

    Args:
      objects: obj_id -> its images, also those in which it is not annotated: what was found there is wrong.
    """
    out = {obj_id: _object_ap(images) for obj_id, images in objects.items()}
    known = [ap for ap in out.values() if not np.isnan(ap)]
    return (float(np.mean(known)) if known else float("nan")), out


def ap_storm(ious: ArrayLike) -> float:
    """Mean over instances of the share of IoU thresholds 0.50:0.05:0.95 that are reached; nan without instances.

    The "AP" of the STORM paper. It knows neither scores nor false alarms, so it is no average precision. Here an
    instance without a mask has IoU 0 and counts.
    """
    values = np.asarray(ious, float)
    return float((values[:, None] >= IOUS).mean()) if values.size else float("nan")


def iou_mean(ious: ArrayLike) -> float:
    """Mean IoU over instances, 0 for one without a mask; nan without instances."""
    values = np.asarray(ious, float)
    return float(values.mean()) if values.size else float("nan")


def _object_ap(images: Sequence[MaskMatches]) -> float:
    wanted = sum(int(np.count_nonzero(~i.ignored)) for i in images)
    if not wanted:
        return float("nan")
    orders = [np.argsort(-i.scores, kind="stable")[:MASKS_PER_IMAGE] for i in images]
    judged = [_judged(i.ious[order], i.ignored) for i, order in zip(images, orders, strict=True)]
    scores = np.concatenate([i.scores[order] for i, order in zip(images, orders, strict=True)])
    right, aside = (np.concatenate(parts) for parts in zip(*judged, strict=True))
    return float(average_precision(scores, right, aside, wanted).mean())


def _judged(ious: NDArray[np.float64], ignored: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(D, T) twice: the mask takes an instance at the threshold; it takes an ignored one.

    Masks choose in order, each the best free instance that reaches the threshold, an ignored one only when there is no
    other; the last of equals, as COCO does.
    """
    count, instances = ious.shape
    right, aside = (np.zeros((count, len(IOUS)), bool) for _ in range(2))
    if not instances:
        return right, aside
    free = np.ones((len(IOUS), instances), bool)
    rows = np.arange(len(IOUS))
    for d, iou in enumerate(ious):
        reached = free & (iou >= IOUS[:, None])
        reached &= ~ignored | ~(reached & ~ignored).any(1, keepdims=True)
        best = instances - 1 - np.where(reached, iou, -1.0)[:, ::-1].argmax(1)
        found = reached[rows, best]
        free[rows[found], best[found]] = False
        right[d], aside[d] = found & ~ignored[best], found & ignored[best]
    return right, aside
