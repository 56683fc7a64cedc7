"""Is the object there? How often the answer is right when it is and when it is not, over all thresholds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.metrics.bootstrap import block_resamples, ratio_samples, share_interval
from storm_core.metrics.ranking import auroc
from storm_core.report.mask_table import JudgedImage, Key

RIGHT_IOU = 0.75
"""IoU from which a mask counts as the object's."""

POINTS = 200
"""Points of a curve that are kept."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One object asked for in one image.

    Attributes:
      present: it is there. score: of the best mask, -inf without any. right: that mask is the object's.
    """

    key: Key
    obj_id: int
    present: bool
    score: float
    right: bool


def questions(judged: Sequence[JudgedImage]) -> list[Question]:
    """All that can be judged: an object of which almost nothing is visible is neither there nor not."""
    out = []
    for j in judged:
        shown = ~j.matches.ignored
        if j.annotated and not shown.any():
            continue
        best = int(j.matches.scores.argmax()) if len(j.matches.scores) else None
        out.append(Question(
            key=j.key, obj_id=j.obj_id, present=j.annotated,
            score=-np.inf if best is None else float(j.matches.scores[best]),
            right=best is not None and j.annotated and bool(j.matches.ious[best][shown].max() >= RIGHT_IOU)))
    return out


def presence_figures(asked: Sequence[Question], accept: float, textured: Mapping[int, bool],
                     seed: int) -> dict[str, Any]:
    """{`all`, `textured`, `untextured`: figures} of the groups that anything was asked of; see `_figures`.

    Args:
      accept: probability from which a mask claims to be the object. textured: of each object.
    """
    groups = {"all": list(asked), "textured": [q for q in asked if textured[q.obj_id]],
              "untextured": [q for q in asked if not textured[q.obj_id]]}
    return {name: _figures(group, accept, seed) for name, group in groups.items() if group}


def _figures(asked: Sequence[Question], accept: float, seed: int) -> dict[str, Any]:
    """recall: share of the present that are accepted with a right mask. misplaced: accepted with another mask.

    false_accept: share of the absent that are accepted. auroc: rightly masked present against absent.
    roc: false_accept and recall at falling thresholds `probability`. ci95: from drawing images.
    """
    present = np.array([q.present for q in asked])
    sure = np.array([q.score >= accept for q in asked])
    right = np.array([q.right for q in asked])
    rated = np.array([q.score if q.right or not q.present else -np.inf for q in asked])
    figures = {"recall": (present, sure & right), "misplaced": (present, sure & ~right),
               "false_accept": (~present, sure)}
    out: dict[str, Any] = {"present": int(present.sum()), "absent": int((~present).sum())}
    out |= {name: float(values[counted].mean()) if counted.any() else None
            for name, (counted, values) in figures.items()}
    out["auroc"] = auroc(rated, present)
    out["roc"] = _curve(rated, present)
    places = list(dict.fromkeys(q.key for q in asked))
    if len(places) > 1:
        image = np.array([places.index(q.key) for q in asked])
        resamples = block_resamples(len(places), seed=seed)
        intervals = {
            name: share_interval(ratio_samples(resamples, np.bincount(image, counted & values, len(places)),
                                               np.bincount(image, counted, len(places))), len(resamples.lengths))
            for name, (counted, values) in figures.items() if counted.any()}
        out["ci95"] = {name: list(found) for name, found in intervals.items() if found is not None}
    return out


def _curve(rated: NDArray[np.float64], present: NDArray[np.bool_]) -> dict[str, list[float]]:
    limits = np.unique(rated[np.isfinite(rated)])[::-1]
    limits = limits[np.unique(np.linspace(0, len(limits) - 1, min(POINTS, len(limits))).round().astype(int))] \
        if len(limits) else limits
    above = rated[None] >= limits[:, None]
    return {"probability": limits.tolist(), "recall": ((above & present).sum(1) / max(1, present.sum())).tolist(),
            "false_accept": ((above & ~present).sum(1) / max(1, (~present).sum())).tolist()}
