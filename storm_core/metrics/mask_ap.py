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
    """

    scores: NDArray[np.float64]
    ious: NDArray[np.float64]


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
    wanted = sum(i.ious.shape[1] for i in images)
    orders = [np.argsort(-i.scores, kind="stable")[:MASKS_PER_IMAGE] for i in images]
    if not wanted:
        return float("nan")
    scores = np.concatenate([i.scores[order] for i, order in zip(images, orders, strict=True)])
    correct = np.concatenate([_correct(i.ious[order]) for i, order in zip(images, orders, strict=True)])
    return float(average_precision(scores, correct, np.zeros_like(correct), wanted).mean())


def _correct(ious: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(D, T): the mask takes a free instance at the threshold. Masks choose in order, each the best; the last of
    equals, as COCO does."""
    count, instances = ious.shape
    free = np.ones((len(IOUS), instances), bool)
    out = np.zeros((count, len(IOUS)), bool)
    rows = np.arange(len(IOUS))
    if not instances:
        return out
    for d, iou in enumerate(ious):
        left = np.where(free, iou, -1.0)
        best = instances - 1 - left[:, ::-1].argmax(1)
        found = left[rows, best] >= IOUS
        free[rows[found], best[found]] = False
        out[d] = found
    return out
