"""Which frames of a run deserve a look: the worst ones, each with the reason why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.recovery.machine import State
from storm_core.report.frame_errors import ObjectErrors
from storm_core.report.series import object_items
from storm_core.types import ObjectOutput, StepOutput

GIVEN_UP = (State.SUSPECT.value, State.LOST.value)
_APART = 40
"""Chosen frames with large errors lie at least this part of the run apart: one bad moment is one picture."""

_RANKS = ("", "second ", "third ", "fourth ", "fifth ", "sixth ")


@dataclass(frozen=True, kw_only=True)
class WorstFrame:
    """Attributes:
      index: of the frame. why: what is bad about it. detail: error, state, reason and probability in words.
    """

    index: int
    object_name: str
    why: str
    detail: str


def worst_frames(errors: Mapping[str, ObjectErrors], outputs: Sequence[StepOutput], count: int) -> list[WorstFrame]:
    """At most `count` frames, each once, worst kind first.

    In turn one of each kind: trusted poses with the largest error (or of a hidden object), frames with the object in
    view but without a trusted pose, and changes of state that were wrong. Without ground truth: the least certain
    trusted poses, frames without one, and losses.

    Args:
      errors: per object; objects without an entry have no ground truth.
    """
    names = list(dict.fromkeys(i.object_name for o in outputs for i in o.objects))
    queues: list[list[WorstFrame]] = [[], [], []]
    for name in names:
        items = object_items(outputs, name)
        known = errors.get(name)
        found = _blind(name, items, outputs, count) if known is None else _judged(name, items, known, outputs, count)
        for queue, frames in zip(queues, found, strict=True):
            queue.extend(frames)
    out: dict[int, WorstFrame] = {}
    while len(out) < count and any(queues):
        for queue in queues:
            while queue and queue[0].index in out:
                queue.pop(0)
            if queue and len(out) < count:
                frame = queue.pop(0)
                out[frame.index] = frame
    rank = {f.index: k for k, f in enumerate(out.values())}
    return sorted(out.values(), key=lambda f: rank[f.index])


def _judged(name: str, items: Sequence[ObjectOutput], e: ObjectErrors, outputs: Sequence[StepOutput],
            count: int) -> tuple[list[WorstFrame], list[WorstFrame], list[WorstFrame]]:
    error_mm = 1e3 * e.mssd_m
    trusted = e.trusted & e.judged
    large = _apart(np.where(trusted, error_mm, -1.0), min(count, len(_RANKS)))
    wrong = [_frame(k, name, items, "Trusted, but it cannot be there" if np.isinf(error_mm[k]) else
                    f"Trusted pose with the {_RANKS[rank]}largest error", error_mm[k])
             for rank, k in enumerate(large)]
    missed = _gaps(e.visible & ~e.trusted, np.nan_to_num(e.visible_share, nan=1.0))
    unseen = [_frame(k, name, items, "In view, but without a trusted pose", error_mm[k],
                     f"{e.visible_share[k]:.0%} visible" if np.isfinite(e.visible_share[k]) else "") for k in missed]
    typical = float(np.median(error_mm[trusted & np.isfinite(error_mm)])) if np.isfinite(error_mm[trusted]).any() else 0
    changed = []
    for k, output in enumerate(outputs):
        for t in output.transitions:
            if t.object_name != name or not e.judged[k]:
                continue
            gave_up = k > 0 and t.after in GIVEN_UP and bool(e.trusted[k - 1]) and e.judged[k - 1]
            if gave_up and e.visible[k] and error_mm[k - 1] <= max(2 * typical, 1.0):
                changed.append(_frame(k, name, items, f"{t.before} → {t.after} although the pose was right",
                                      error_mm[k - 1], "before"))
            elif t.after == State.TRACKING.value and e.trusted[k] and error_mm[k] > 10 * typical:
                changed.append(_frame(k, name, items, f"{t.before} → {t.after} with a doubtful pose", error_mm[k]))
    return wrong, unseen, changed


def _blind(name: str, items: Sequence[ObjectOutput], outputs: Sequence[StepOutput],
           count: int) -> tuple[list[WorstFrame], list[WorstFrame], list[WorstFrame]]:
    trusted = np.array([i.trusted for i in items], bool)
    doubt = np.array([1.0 - i.probability for i in items])
    least = _apart(np.where(trusted, doubt, -1.0), min(count, len(_RANKS)))
    unsure = [_frame(k, name, items, f"{_RANKS[rank]}least certain trusted pose".capitalize())
              for rank, k in enumerate(least)]
    silent = [_frame(k, name, items, "Without a trusted pose") for k in _gaps(~trusted, np.ones(len(items)))]
    lost = [_frame(k, name, items, f"{t.before} → {t.after}") for k, o in enumerate(outputs) for t in o.transitions
            if t.object_name == name and t.after == State.LOST.value]
    return unsure, silent, lost


def _apart(badness: NDArray[np.float64], count: int) -> list[int]:
    """Indices of the `count` largest values that are not negative, not close to each other, largest first."""
    left = badness.astype(float).copy()
    reach = max(1, len(left) // _APART)
    out: list[int] = []
    while len(out) < count and len(left) and left.max() >= 0:
        k = int(left.argmax())
        out.append(k)
        left[max(0, k - reach):k + reach + 1] = -1.0
    return out


def _gaps(missing: NDArray[np.bool_], share: NDArray[np.float64]) -> list[int]:
    """Of each stretch of missing frames, longest first, the middle one of those with the largest visible share."""
    edges = np.flatnonzero(np.diff(np.r_[False, missing, False].astype(int)))
    gaps = sorted(zip(edges[::2], edges[1::2], strict=True), key=lambda gap: gap[0] - gap[1])
    best = [start + np.flatnonzero(share[start:end] == share[start:end].max()) for start, end in gaps]
    return [int(frames[len(frames) // 2]) for frames in best]


def _frame(k: int, name: str, items: Sequence[ObjectOutput], why: str, error_mm: float | None = None,
           extra: str = "") -> WorstFrame:
    item = items[k]
    error = "" if error_mm is None or not np.isfinite(error_mm) else f"MSSD {error_mm:.1f} mm"
    if error and extra == "before":
        error, extra = f"{error} just before", ""
    reason = "" if item.trusted else item.reason.value.replace("_", " ")
    probability = "" if item.cam_from_obj is None or np.isnan(item.probability) else f"p = {item.probability:.2f}"
    return WorstFrame(index=k, object_name=name, why=why, detail=", ".join(
        t for t in (error, extra, item.state, reason, probability) if t))
