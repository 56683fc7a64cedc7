"""Published poses against ground truth, frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from storm_core.bags.truth import VISIBLE_SHARE, TruthPose
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.symmetry import free_axis, turned_to
from storm_core.metrics.pose_error_batch import add_batch, adds_batch, extreme_points
from storm_core.metrics.symmetric_error import mssd_pairs
from storm_core.types import ObjectOutput

INF = float("inf")
ADDS_POINTS = 2000
"""ADD-S of a frame is the mean over at most so many vertices, to the nearest of all: recordings have many frames."""
Truths = Sequence[tuple[TruthPose, ...] | None]


@dataclass(frozen=True, eq=False, kw_only=True)
class ObjectErrors:
    """Per-frame errors of one object; all arrays (N,).

    Attributes:
      trusted: a trusted pose was published.
      visible: the object is known to be visible. accurate: visible, and the truth is good enough to measure against.
      judged: it can be told whether a trusted pose is right (accurate truth, or known not to be in the picture).
      add_m, adds_m, mssd_m: errors of trusted poses against the nearest instance [m]; inf without a trusted pose or
        without an instance in the picture.
      visible_share: largest visible share of an instance; 1 where it is visible but not measured, nan where unknown.
    """

    trusted: NDArray[np.bool_]
    visible: NDArray[np.bool_]
    accurate: NDArray[np.bool_]
    judged: NDArray[np.bool_]
    add_m: NDArray[np.float64]
    adds_m: NDArray[np.float64]
    mssd_m: NDArray[np.float64]
    visible_share: NDArray[np.float64]

    @property
    def hidden(self) -> NDArray[np.bool_]:
        """Less than 10 % of the object is visible, or it is not in the picture; False where that is unknown."""
        return self.visible_share < VISIBLE_SHARE


@dataclass(frozen=True, eq=False, kw_only=True)
class TruthMatch:
    """Every published pose, trusted or not, beside the instance it is nearest to (by MSSD); all arrays (N, ...).

    Attributes:
      add_m, adds_m, mssd_m: errors of the published pose [m]; inf without one or without an instance.
      add_turned_m: ADD against `truth` [m], which does not punish what the declared symmetries leave open.
      truth: (N, 4, 4) [m], the nearest instance turned by the symmetry nearest to the estimate, about a continuous axis
        by exactly the angle that comes nearest; without an estimate the only instance; nan where there is none or
        several.
      only: (N, 4, 4) [m], the only instance as annotated; nan where its motion cannot be followed, because there is
        none, there are several, or the truth is coarse.
    """

    add_m: NDArray[np.float64]
    adds_m: NDArray[np.float64]
    mssd_m: NDArray[np.float64]
    add_turned_m: NDArray[np.float64]
    truth: NDArray[np.float64]
    only: NDArray[np.float64]


def match_truth(items: Sequence[ObjectOutput], truths: Truths, model: ObjectModel) -> TruthMatch:
    """Match the poses of one object over all frames. items, truths: one per frame."""
    n = len(items)
    only, truth = np.full((n, 4, 4), np.nan), np.full((n, 4, 4), np.nan)
    errors = np.full((4, n), INF)
    pairs: list[tuple[int, NDArray[np.float64], NDArray[np.float64]]] = []
    for k, (item, instances) in enumerate(zip(items, truths, strict=True)):
        if instances is not None and len(instances) == 1:
            truth[k] = instances[0].cam_from_obj
            if instances[0].good:
                only[k] = instances[0].cam_from_obj
        if item.cam_from_obj is not None:
            pairs += [(k, item.cam_from_obj, i.cam_from_obj) for i in instances or ()]
    if pairs:
        frame = np.array([p[0] for p in pairs])
        estimates, instance = np.array([p[1] for p in pairs], float), np.array([p[2] for p in pairs], float)
        points = model.eval_vertices
        mssd, turn = mssd_pairs(estimates, instance, extreme_points(points), model.symmetries)
        order = np.lexsort((mssd, frame))
        best = order[np.r_[True, np.diff(frame[order]) > 0]]
        at = frame[best]
        errors[0, at] = add_batch(estimates[best], instance[best], points)
        some = points[np.linspace(0, len(points) - 1, min(len(points), ADDS_POINTS)).round().astype(int)]
        errors[1, at] = adds_batch(estimates[best], instance[best], some, cKDTree(points))
        errors[2, at] = mssd[best]
        truth[at] = instance[best] @ model.symmetries[turn[best]]
        free = free_axis(model.symmetries)
        if free is not None:
            truth[at] = turned_to(truth[at], estimates[best], *free)
        errors[3, at] = add_batch(estimates[best], truth[at], points)
    return TruthMatch(add_m=errors[0], adds_m=errors[1], mssd_m=errors[2], add_turned_m=errors[3], truth=truth,
                      only=only)


def object_errors(items: Sequence[ObjectOutput], truths: Truths, model: ObjectModel,
                  match: TruthMatch | None = None) -> ObjectErrors:
    """Errors of one object's trusted poses over all frames. match: `match_truth` of the same arguments, if known."""
    match = match_truth(items, truths, model) if match is None else match
    trusted = np.array([i.trusted and i.cam_from_obj is not None for i in items], bool)
    visible = np.array([bool(i) and any(t.is_visible for t in i) for i in truths], bool)
    good = np.array([i is not None and all(t.good for t in i) for i in truths], bool)
    return ObjectErrors(
        trusted=trusted, visible=visible, accurate=visible & good, judged=good,
        add_m=np.where(trusted, match.add_m, INF), adds_m=np.where(trusted, match.adds_m, INF),
        mssd_m=np.where(trusted, match.mssd_m, INF), visible_share=np.array([_share(i) for i in truths], float))


def _share(instances: tuple[TruthPose, ...] | None) -> float:
    if instances is None:
        return float("nan")
    return max((1.0 if np.isnan(t.visible) else t.visible for t in instances), default=0.0)
