"""Figures of the failure benchmark: pure functions over plays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.evaluation.failures.labels import Labels
from storm_core.evaluation.failures.monitors import MONITORS, Word, numbers
from storm_core.metrics.bootstrap import block_resamples, interval, ratio_samples
from storm_core.metrics.calibration import calibration
from storm_core.metrics.loss_detection import false_reregistrations
from storm_core.metrics.ranking import auroc, fpr_at_tpr, roc
from storm_core.metrics.scores import quantile

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

TPR = 0.99
MERGED = 5
"""Good frames between bad ones that still belong to the same failure [frames]."""
RESAMPLES = 300
GREY = (0.1, 0.2)
"""Errors [diameters] that `auroc_clear` leaves out: neither right nor plainly wrong."""
IN_VIEW = 0.4
"""Visible share from which giving up a right pose has no excuse: up to 60 % occlusion."""
INTERVALS = ("auroc", "fpr_at_tpr99", "coverage", "false_alarms_per_10k", "detected_5")


@dataclass(frozen=True, eq=False, kw_only=True)
class Watched:
    """One play as one monitor saw it."""

    scene: int
    cause: str
    labels: Labels
    word: Word


def labels_of(play: Mapping[str, Any]) -> Labels:
    error = np.array([np.inf if e is None else e for e in play["error"]], float)
    return Labels(error=error, visible=numbers(play["visible"]), stale=np.array(play["stale"], bool),
                  known=np.array(play["known"], bool))


def watched(plays: Sequence[Mapping[str, Any]], monitor: str) -> list[Watched]:
    return [Watched(scene=p["scene"], cause=p["cause"], labels=labels_of(p), word=MONITORS[monitor](p)) for p in plays]


def latencies(trusted: Bools, bad: Bools, known: Bools) -> list[float]:
    """Frames from the beginning of each failure to the first frame without trust; inf when trust outlasts it.

    Stretches of `bad` frames with at most MERGED other ones between them are one failure.
    """
    index = np.flatnonzero(bad & known)
    if not len(index):
        return []
    out = []
    for part in np.split(index, np.flatnonzero(np.diff(index) > MERGED + 1) + 1):
        doubt = np.flatnonzero(~trusted[part[0]:part[-1] + 1])
        out.append(float(doubt[0]) if len(doubt) else float("inf"))
    return out


def figures(items: Sequence[Watched], *, curves: bool = False) -> dict[str, Any]:
    """Figures of one monitor over some plays; nan where nothing can be said.

    auroc, fpr_at_tpr99: of wrong against right poses in frames that show the object; auroc_clear without errors of 0.1
    to 0.2 diameters. latency_frames_*: see `latencies`, inf = missed. detected_5: share of failures noticed within 5
    frames. false_alarms_per_10k: healthy frames in which the pose is called lost. coverage: share of healthy frames
    with trust. needless_reregistrations: the false ones of objects of which IN_VIEW was to be seen all the time;
    in_view_frames: healthy frames of such. trusted_wrong: share of frames that deserve no trust in which it is given.
    """
    label = _joined([i.labels for i in items])
    score, trusted, lost = (np.concatenate([getattr(i.word, key) for i in items]) if items else np.empty(0)
                            for key in ("score", "trusted", "lost"))
    trusted, lost = trusted.astype(bool), lost.astype(bool)
    use = label.judged & ~np.isnan(score)
    doubt, wrong = -score[use], ~label.right[use]
    clear = (label.error[use] <= GREY[0]) | (label.error[use] > GREY[1])
    late = [v for i in items for v in latencies(i.word.trusted, i.labels.untrustworthy, i.labels.known)]
    healthy, bad = label.healthy, label.untrustworthy
    false = sum(false_reregistrations(i.word.reregistered, i.word.published, i.labels.healthy,
                                      i.labels.hidden | i.labels.stale) for i in items)
    needless, in_view = 0, 0
    for i in items:
        seen = i.labels.healthy & ~(i.labels.visible < IN_VIEW)
        needless += false_reregistrations(i.word.reregistered, i.word.published, seen, i.labels.hidden | i.labels.stale)
        in_view += int(seen.sum())
    stated = bool(items) and items[0].word.stated
    calibrated = calibration(np.clip(score[use], 0, 1), label.right[use]) if stated else None
    out: dict[str, Any] = {
        "frames": len(label.error), "healthy_frames": int(healthy.sum()), "bad_frames": int(bad.sum()),
        "auroc": auroc(doubt, wrong), "auroc_clear": auroc(doubt[clear], wrong[clear]),
        "fpr_at_tpr99": fpr_at_tpr(doubt, wrong, TPR),
        "failures": len(late), "missed": int(np.isinf(late).sum()) if late else 0,
        "latency_frames_p50": quantile(late, 0.5), "latency_frames_p95": quantile(late, 0.95),
        "detected_5": float((np.array(late) <= 5).mean()) if late else float("nan"),
        "false_alarms_per_10k": _per(lost & healthy, healthy) * 1e4,
        "false_reregistrations": false,
        "false_reregistrations_per_20k": 2e4 * false / int(healthy.sum()) if healthy.any() else float("nan"),
        "needless_reregistrations": needless, "in_view_frames": in_view,
        "needless_reregistrations_per_20k": 2e4 * needless / in_view if in_view else float("nan"),
        "coverage": _per(trusted & healthy, healthy), "trusted_wrong": _per(trusted & bad, bad),
        "ece": float("nan") if calibrated is None else calibrated.ece}
    if curves:
        fpr, tpr = roc(doubt, wrong)
        out["curves"] = {"fpr": fpr.tolist(), "tpr": tpr.tolist(), "latency_frames": sorted(late)}
        if calibrated is not None:
            out["curves"] |= {"stated": calibrated.p.tolist(), "observed": calibrated.right.tolist(),
                              "count": calibrated.n.tolist()}
    return out


def benchmark_figures(plays: Sequence[Mapping[str, Any]], seed: int) -> dict[str, dict[str, Any]]:
    """monitor -> figures over everything, with `ci95` from drawing whole scenes, and `causes`: the same by cause."""
    out = {}
    for name in MONITORS:
        items = watched(plays, name)
        causes = {cause: figures([i for i in items if i.cause == cause])
                  for cause in dict.fromkeys(i.cause for i in items)}
        out[name] = figures(items, curves=True) | {"ci95": _intervals(items, seed), "causes": causes}
    return out


def _intervals(items: Sequence[Watched], seed: int) -> dict[str, list[float] | None]:
    """95 % intervals of the main figures; None with fewer than two scenes."""
    scenes = sorted({i.scene for i in items})
    if len(scenes) < 2:
        return dict.fromkeys(INTERVALS)
    by_scene = [[i for i in items if i.scene == scene] for scene in scenes]
    drawn = block_resamples(len(scenes), seed=seed, resamples=RESAMPLES, block=1)
    joined = [_joined([i.labels for i in of_one]) for of_one in by_scene]
    score, trusted, lost = ([np.concatenate([getattr(i.word, key) for i in of_one]) for of_one in by_scene]
                            for key in ("score", "trusted", "lost"))
    use = [label.judged & ~np.isnan(s) for label, s in zip(joined, score, strict=True)]
    doubt = [-s[u] for s, u in zip(score, use, strict=True)]
    wrong = [~label.right[u] for label, u in zip(joined, use, strict=True)]
    healthy = np.array([label.healthy.sum() for label in joined], float)
    late = [np.array([v for i in of_one for v in latencies(i.word.trusted, i.labels.untrustworthy, i.labels.known)])
            for of_one in by_scene]
    ranked = [(np.concatenate([doubt[k] for k in row]), np.concatenate([wrong[k] for k in row]))
              for row in drawn.indices(slice(None))]
    samples = {
        "auroc": np.array([auroc(*pair) for pair in ranked]),
        "fpr_at_tpr99": np.array([fpr_at_tpr(*pair, TPR) for pair in ranked]),
        "coverage": ratio_samples(drawn, _hits(trusted, joined), healthy),
        "false_alarms_per_10k": 1e4 * ratio_samples(drawn, _hits(lost, joined), healthy),
        "detected_5": ratio_samples(drawn, np.array([float((v <= 5).sum()) for v in late]),
                                    np.array([float(len(v)) for v in late]))}
    found = {key: interval(samples[key]) for key in INTERVALS}
    return {key: None if bounds is None else list(bounds) for key, bounds in found.items()}


def _hits(said: Sequence[Bools], labels: Sequence[Labels]) -> Array:
    """Healthy frames of each scene (S,) of which something was said."""
    return np.array([float((word & label.healthy).sum()) for word, label in zip(said, labels, strict=True)])


def _joined(labels: Sequence[Labels]) -> Labels:
    if not labels:
        none = np.empty(0)
        return Labels(error=none, visible=none, stale=none.astype(bool), known=none.astype(bool))
    return replace(labels[0], **{key: np.concatenate([getattr(i, key) for i in labels])
                                 for key in ("error", "visible", "stale", "known")})


def _per(hits: Bools, of: Bools) -> float:
    return float(hits.sum() / of.sum()) if of.any() else float("nan")
