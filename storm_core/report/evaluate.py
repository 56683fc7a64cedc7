"""Published outputs against ground truth: the figures of `objects.<name>` in results.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from storm_core.bags.truth import Truth, TruthPose
from storm_core.geometry.mesh import ObjectModel
from storm_core.metrics.pose_error import add, adds, mssd
from storm_core.metrics.scores import auc, quantiles, recall
from storm_core.metrics.tracking import confidently_wrong, coverage, first, jumps, reappearances
from storm_core.types import Evidence, ObjectOutput, Reason, StepOutput

RECALL_SHARE = 0.1
"""Share of the diameter below which a pose counts as right."""
INF = float("inf")


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


def object_errors(items: Sequence[ObjectOutput], truths: Sequence[tuple[TruthPose, ...] | None],
                  model: ObjectModel) -> ObjectErrors:
    """Errors of one object over all frames. items, truths: one per frame."""
    n = len(items)
    tree = cKDTree(model.eval_vertices)
    errors = np.full((3, n), INF)
    for k, (item, instances) in enumerate(zip(items, truths, strict=True)):
        if item.trusted and item.cam_from_obj is not None and instances:
            errors[:, k] = min((_errors(item.cam_from_obj, i.cam_from_obj, model, tree) for i in instances),
                               key=lambda e: e[2])
    visible = np.array([bool(i) and any(t.is_visible for t in i) for i in truths], bool)
    good = np.array([i is not None and all(t.good for t in i) for i in truths], bool)
    return ObjectErrors(
        trusted=np.array([i.trusted and i.cam_from_obj is not None for i in items], bool), visible=visible,
        accurate=visible & good, judged=good, add_m=errors[0], adds_m=errors[1], mssd_m=errors[2],
        visible_share=np.array([_share(i) for i in truths]))


def evaluate(outputs: Sequence[StepOutput], truth: Truth | None,
             models: Mapping[str, ObjectModel]) -> dict[str, dict[str, Any]]:
    """{object name: figures}. Accuracy figures are missing where there is no ground truth.

    A frame without a trusted pose counts as a failure in every accuracy figure; coasting poses are not trusted.
    """
    out: dict[str, dict[str, Any]] = {}
    for name in models:
        items = object_items(outputs, name)
        figures = _run_figures(outputs, items, name)
        if truth is not None and name in truth.frames:
            figures |= _truth_figures(outputs, items, truth.frames[name], models[name])
        out[name] = figures
    return out


def recovery_figures(errors: ObjectErrors, stamps_ns: Sequence[int], diameter: float) -> dict[str, Any]:
    """The `recovery` section for one object: what happened each time the object came back into view.

    `wrong_object` counts returns whose first trusted pose was confidently wrong.
    """
    share = np.nan_to_num(errors.visible_share, nan=1.0)
    events = reappearances(share, errors.trusted, stamps_ns)
    back = [e for e in events if e.trusted_at is not None]
    wrong = sum(bool(errors.judged[e.trusted_at]) and errors.mssd_m[e.trusted_at] > 0.2 * diameter for e in back)
    hidden = share < 0.1
    return {"recovered": len(back) - wrong, "missed": len(events) - len(back), "wrong_object": wrong,
            **{f"time_s_{k}": v for k, v in quantiles([e.time_s for e in back], p50=0.5, p95=0.95).items()},
            "trusted_while_hidden": int((errors.trusted & hidden).sum()),
            "events": [{"lost_at": e.lost_at, "due_at": e.due_at, "trusted_at": e.trusted_at, "time_s": e.time_s}
                       for e in events]}


def object_items(outputs: Sequence[StepOutput], name: str) -> list[ObjectOutput]:
    """The outputs of one object, one per frame; a frame nobody answered (dropped in real time) has no pose."""
    return [next((i for i in o.objects if i.object_name == name), _silence(o.stamp_ns, name)) for o in outputs]


def _silence(stamp_ns: int, name: str) -> ObjectOutput:
    return ObjectOutput(object_name=name, stamp_ns=stamp_ns, state="UNKNOWN", reason=Reason.INPUT_TIMEOUT,
                        cam_from_obj=None, covariance=None, probability=0.0, trusted=False, coasting=False,
                        evidence=Evidence())


def _run_figures(outputs: Sequence[StepOutput], items: Sequence[ObjectOutput], name: str) -> dict[str, Any]:
    """What the run says about itself."""
    trusted = np.array([i.trusted for i in items], bool)
    index = first(trusted)
    entered = [t.after for o in outputs for t in o.transitions if t.object_name == name]
    # A recovery is a verification after the object had been trusted already (with ROS the first one may lie before).
    recoveries = sum(t.before == "VERIFYING" and t.after == "TRACKING" and bool(trusted[:frame].any())
                     for frame, o in enumerate(outputs) for t in o.transitions if t.object_name == name)
    return {"first_pose_s": None if index is None else _elapsed_s(outputs[:index + 1]), "first_pose_frame": index,
            "trusted_share": float(trusted.mean()) if len(items) else None,
            "registrations": entered.count("VERIFYING"), "recoveries": recoveries,
            "losses": entered.count("LOST")}


def _elapsed_s(outputs: Sequence[StepOutput]) -> float:
    """Processing time of these frames; of frames that came in real time (no total per frame) the time that passed."""
    if all("total" in o.stage_ms for o in outputs):
        return sum(o.stage_ms["total"] for o in outputs) * 1e-3
    return (outputs[-1].stamp_ns - outputs[0].stamp_ns) * 1e-9


def _truth_figures(outputs: Sequence[StepOutput], items: Sequence[ObjectOutput],
                   truths: Sequence[tuple[TruthPose, ...] | None], model: ObjectModel) -> dict[str, Any]:
    e = object_errors(items, truths, model)
    d = model.diameter
    add_m, adds_m, mssd_m = e.add_m[e.accurate], e.adds_m[e.accurate], e.mssd_m[e.accurate]
    right = add_m if len(model.symmetries) == 1 else adds_m
    estimates = [i.cam_from_obj if i.trusted else None for i in items]
    # The motion of an object is only known where exactly one instance is in the picture.
    single = [t[0].cam_from_obj if t is not None and len(t) == 1 and t[0].good else None for t in truths]
    return {
        "add_auc": auc(add_m), "adds_auc": auc(adds_m), "add_01d": recall(add_m, RECALL_SHARE * d),
        "adds_01d": recall(adds_m, RECALL_SHARE * d), "add_or_adds_01d": recall(right, RECALL_SHARE * d),
        "mssd_mm": quantiles(1e3 * mssd_m, p50=0.5, p90=0.9, p99=0.99), "coverage": coverage(e.trusted, e.visible),
        "confidently_wrong": confidently_wrong(e.mssd_m, e.trusted, e.judged, d),
        "jumps": jumps(estimates, single, model.eval_vertices, model.symmetries, d),
        "frames_visible": int(e.visible.sum()), "frames_accurate": int(e.accurate.sum()),
        "recovery": recovery_figures(e, [o.stamp_ns for o in outputs], d)}


def _errors(estimate: NDArray[np.float64], truth: NDArray[np.float64], model: ObjectModel,
            tree: Any) -> tuple[float, float, float]:
    points = model.eval_vertices
    return (add(estimate, truth, points), adds(estimate, truth, points, tree),
            mssd(estimate, truth, points, model.symmetries))


def _share(instances: tuple[TruthPose, ...] | None) -> float:
    if instances is None:
        return float("nan")
    return max((1.0 if np.isnan(t.visible) else t.visible for t in instances), default=0.0)
