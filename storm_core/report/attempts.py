"""Single pictures: what was searched and found in each, and whether it was right."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from storm_core.bags.truth import Truth
from storm_core.geometry.mesh import ObjectModel
from storm_core.metrics.pose_error import add, adds
from storm_core.metrics.scores import auc, quantiles, recall
from storm_core.report.evaluate import RECALL_SHARE

Key = tuple[int, int]
"""(scene_id, im_id)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Attempt:
    """One object searched in one image.

    Attributes:
      cam_from_obj: (4, 4) [m], None when it was not found or only segmented. mask: (H, W) bool or None.
      reason, detail: why not, or `registered`/`found`.
      stage_ms: localize, register, total.
    """

    key: Key
    object_name: str
    found: bool
    reason: str
    detail: str
    probability: float
    cam_from_obj: NDArray[np.float64] | None
    mask: NDArray[np.bool_] | None
    stage_ms: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How an attempt compares with the truth.

    Attributes:
      kind: `correct`, `wrong` (pose off), `missed` (annotated but not found), `rejected` (not annotated, not found),
        `false_accept` (not annotated but found), `unknown` (no ground truth, or the user said to ignore it).
      add_m, adds_m: errors against the nearest instance [m], inf without a pose, nan when not annotated.
    """

    kind: str
    add_m: float
    adds_m: float


def judge(attempt: Attempt, truth: Truth | None, index: int, model: ObjectModel, ignored: Collection[tuple[Key, str]],
          tree: Any | None = None) -> Verdict:
    """Compare one attempt with ground truth. index: of the image in the truth's recording.

    Right means ADD below 0.1 diameter, or ADD-S for objects with declared symmetries.
    """
    instances = None if truth is None else truth.frames.get(attempt.object_name, [None] * (index + 1))[index]
    if instances is None:
        return Verdict(kind="unknown", add_m=float("nan"), adds_m=float("nan"))
    if not instances:
        if (attempt.key, attempt.object_name) in ignored:
            return Verdict(kind="unknown", add_m=float("nan"), adds_m=float("nan"))
        return Verdict(kind="false_accept" if attempt.found else "rejected", add_m=float("nan"), adds_m=float("nan"))
    if attempt.cam_from_obj is None:
        return Verdict(kind="missed", add_m=float("inf"), adds_m=float("inf"))
    points = model.eval_vertices
    tree = cKDTree(points) if tree is None else tree
    pose = attempt.cam_from_obj
    errors = [(add(pose, i.cam_from_obj, points), adds(pose, i.cam_from_obj, points, tree)) for i in instances]
    symmetric = len(model.symmetries) > 1
    add_m, adds_m = min(errors, key=lambda e: e[symmetric])
    right = (adds_m if symmetric else add_m) < RECALL_SHARE * model.diameter
    return Verdict(kind="correct" if right else "wrong", add_m=add_m, adds_m=adds_m)


def attempt_record(attempt: Attempt, verdict: Verdict) -> dict[str, Any]:
    """One attempt as it stands in results.json."""
    return {"scene_id": attempt.key[0], "im_id": attempt.key[1], "object": attempt.object_name, "found": attempt.found,
            "reason": attempt.reason, "detail": attempt.detail, "probability": attempt.probability,
            "verdict": verdict.kind, "add_mm": 1e3 * verdict.add_m, "adds_mm": 1e3 * verdict.adds_m,
            "cam_from_obj": attempt.cam_from_obj, "stage_ms": dict(attempt.stage_ms)}


def object_figures(verdicts: Sequence[Verdict], model: ObjectModel) -> dict[str, Any]:
    """`objects.<name>` over the images in which the object is annotated; {} when there is none."""
    annotated = [v for v in verdicts if v.kind in ("correct", "wrong", "missed")]
    if not annotated:
        return {}
    add_m, adds_m = ([getattr(v, n) for v in annotated] for n in ("add_m", "adds_m"))
    limit = RECALL_SHARE * model.diameter
    return {"add_auc": auc(add_m), "adds_auc": auc(adds_m), "add_01d": recall(add_m, limit),
            "adds_01d": recall(adds_m, limit), "images": len(annotated),
            "adds_mm": quantiles([1e3 * e for e in adds_m], p50=0.5, p90=0.9)}


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many attempts ended in which way."""
    kinds = [v.kind for v in verdicts]
    return {kind: kinds.count(kind)
            for kind in ("correct", "wrong", "missed", "rejected", "false_accept", "unknown")}
