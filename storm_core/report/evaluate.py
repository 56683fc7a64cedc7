"""Published outputs against ground truth: the figures of `objects.<name>` in results.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from storm_core.bags.truth import Truth
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.metrics.latency import frame_latencies
from storm_core.metrics.motion import flips, jumps
from storm_core.metrics.reappearance import reappearances
from storm_core.metrics.scores import auc, quantiles, recall
from storm_core.metrics.tracking import confidently_wrong, coverage, first
from storm_core.report.frame_errors import ObjectErrors, TruthMatch, Truths, match_truth, object_errors
from storm_core.report.main_figures import RECALL_SHARE, FrameRows, confidence
from storm_core.report.series import ObjectSeries, object_items, object_series
from storm_core.report.suspicion import pose_suspicions
from storm_core.report.trust_figures import covariance_figures, loss_figures, probability_figures
from storm_core.types import StepOutput


@dataclass(frozen=True, eq=False, kw_only=True)
class Assessment:
    """One object of one run.

    Attributes:
      figures: `objects.<name>` of results.json. suspicion: its part of `suspicion`.
      errors: None without ground truth. match: the same for every published pose, trusted or not.
    """

    figures: dict[str, Any]
    suspicion: list[dict[str, Any]]
    series: ObjectSeries
    errors: ObjectErrors | None
    match: TruthMatch | None


def assess(outputs: Sequence[StepOutput], truth: Truth | None, models: Mapping[str, ObjectModel], *, seed: int = 0,
           camera: PinholeCamera | None = None) -> dict[str, Assessment]:
    """{object name: everything that can be said}. Accuracy figures are missing where there is no ground truth.

    A frame without a trusted pose counts as a failure in every accuracy figure; coasting poses are not trusted.

    Args:
      truth: of exactly these frames. seed: of the confidence intervals. camera: of the frames, to find poses that
        cannot be seen.
    """
    return {name: _assess(outputs, None if truth is None else truth.frames.get(name), name, model, seed, camera)
            for name, model in models.items()}


def evaluate(outputs: Sequence[StepOutput], truth: Truth | None,
             models: Mapping[str, ObjectModel]) -> dict[str, dict[str, Any]]:
    """{object name: figures}, see `assess`."""
    return {name: a.figures for name, a in assess(outputs, truth, models).items()}


def recovery_figures(errors: ObjectErrors, stamps_ns: Sequence[int], diameter: float) -> dict[str, Any]:
    """The `recovery` section for one object: what happened each time the object came back into view.

    `wrong_object` counts returns whose first trusted pose was confidently wrong.
    """
    share = np.nan_to_num(errors.visible_share, nan=1.0)
    events = reappearances(share, errors.trusted, stamps_ns)
    back = [e for e in events if e.trusted_at is not None]
    wrong = sum(bool(errors.judged[e.trusted_at]) and errors.mssd_m[e.trusted_at] > 0.2 * diameter for e in back)
    return {"recovered": len(back) - wrong, "missed": len(events) - len(back), "wrong_object": wrong,
            **{f"time_s_{k}": v for k, v in quantiles([e.time_s for e in back], p50=0.5, p95=0.95).items()},
            "trusted_while_hidden": int((errors.trusted & errors.hidden).sum()),
            "events": [{"lost_at": e.lost_at, "due_at": e.due_at, "trusted_at": e.trusted_at, "time_s": e.time_s}
                       for e in events]}


def _assess(outputs: Sequence[StepOutput], truths: Truths | None, name: str, model: ObjectModel, seed: int,
            camera: PinholeCamera | None) -> Assessment:
    series = object_series(outputs, name)
    figures = _run_figures(outputs, series, name)
    match = errors = None
    if truths is not None:
        items = object_items(outputs, name)
        match = match_truth(items, truths, model)
        errors = object_errors(items, truths, model, match)
        figures |= _accuracy_figures(series, errors, match, model)
        figures |= loss_figures(series, errors, match, model.diameter)
        figures |= probability_figures(series, errors, match, model)
        figures |= covariance_figures(series, errors, match)
        _, latency_ms = frame_latencies([o.stage_ms for o in outputs])
        figures["ci95"] = confidence(frame_rows(errors, latency_ms, model.diameter), seed)
    return Assessment(figures=figures, suspicion=pose_suspicions(name, series, match, model, camera), series=series,
                      errors=errors, match=match)


def frame_rows(errors: ObjectErrors, latency_ms: np.ndarray, diameter: float) -> FrameRows:
    """The rows behind the main figures of one object."""
    return FrameRows(trusted=errors.trusted, visible=errors.visible, accurate=errors.accurate, judged=errors.judged,
                     add_m=errors.add_m, adds_m=errors.adds_m, mssd_m=errors.mssd_m, latency_ms=latency_ms,
                     diameter_m=diameter)


def _run_figures(outputs: Sequence[StepOutput], series: ObjectSeries, name: str) -> dict[str, Any]:
    """What the run says about itself; None where the system says nothing of its states."""
    trusted = series.trusted
    index = first(trusted)
    silent = series.reregistered is None
    entered = [t.after for o in outputs for t in o.transitions if t.object_name == name]
    # A recovery is a verification after the object had been trusted already (with ROS the first one may lie before).
    recoveries = sum(t.before == "VERIFYING" and t.after == "TRACKING" and bool(trusted[:frame].any())
                     for frame, o in enumerate(outputs) for t in o.transitions if t.object_name == name)
    return {"first_pose_s": None if index is None else _elapsed_s(outputs[:index + 1]), "first_pose_frame": index,
            "trusted_share": float(trusted.mean()) if len(trusted) else None,
            "registrations": None if silent else entered.count("VERIFYING"),
            "recoveries": None if silent else recoveries, "losses": None if silent else entered.count("LOST")}


def _elapsed_s(outputs: Sequence[StepOutput]) -> float:
    """Processing time of these frames; of frames that came in real time the time until the last one was answered."""
    late_ms = outputs[-1].stage_ms.get("end_to_end")
    if late_ms is None and all("total" in o.stage_ms for o in outputs):
        return sum(o.stage_ms["total"] for o in outputs) * 1e-3
    return (outputs[-1].stamp_ns - outputs[0].stamp_ns) * 1e-9 + (late_ms or 0.0) * 1e-3


def _accuracy_figures(series: ObjectSeries, e: ObjectErrors, match: TruthMatch, model: ObjectModel) -> dict[str, Any]:
    """Accuracy, coverage, recovery, and steps that the object did not make."""
    d = model.diameter
    add_m, adds_m, mssd_m = e.add_m[e.accurate], e.adds_m[e.accurate], e.mssd_m[e.accurate]
    right = add_m if len(model.symmetries) == 1 else adds_m
    estimates = np.where(series.trusted[:, None, None], series.cam_from_obj, np.nan)
    turns = flips(estimates, match.only, model.symmetries)
    return {
        "add_auc": auc(add_m), "adds_auc": auc(adds_m), "add_01d": recall(add_m, RECALL_SHARE * d),
        "adds_01d": recall(adds_m, RECALL_SHARE * d), "add_or_adds_01d": recall(right, RECALL_SHARE * d),
        "mssd_mm": quantiles(1e3 * mssd_m, p50=0.5, p90=0.9, p99=0.99), "coverage": coverage(e.trusted, e.visible),
        "confidently_wrong": confidently_wrong(e.mssd_m, e.trusted, e.judged, d),
        "jumps": jumps(estimates, match.only, model.eval_vertices, model.symmetries, d),
        "flips": {"symmetric": turns.symmetric, "turned": turns.turned},
        "frames_visible": int(e.visible.sum()), "frames_accurate": int(e.accurate.sum()),
        "recovery": recovery_figures(e, series.stamps_ns.tolist(), d)}
