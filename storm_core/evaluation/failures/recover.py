"""How long the whole system takes to be right again after a fault: the real pipeline over the faulty pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.config import StormConfig
from storm_core.evaluation.failures.causes import POSE_CAUSES, Cause, FaultEvent
from storm_core.evaluation.failures.labels import RIGHT, pose_errors
from storm_core.evaluation.failures.pictures import Pictures, inject_picture_fault
from storm_core.evaluation.failures.poses import CLEARLY_WRONG, Around, inject_pose_fault
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import inverse
from storm_core.interfaces import Tracker
from storm_core.metrics.scores import quantile
from storm_core.pipeline.build import (
    build_localizer,
    build_monitor,
    build_registrar,
    build_score_refiner,
    build_tracker,
)
from storm_core.pipeline.system import Pipeline
from storm_core.types import Frame, Registration, Track, TrackFailure

Array = NDArray[np.float64]

PLAYED = (Cause.JUMP, Cause.WRONG_OBJECT, Cause.FLIP, Cause.TEXTURE_TURN, Cause.HIDDEN, Cause.EXIT, Cause.FROZEN,
          Cause.DEPTH_LOSS)
"""Faults that a system has to recover from. The tracker is put into a wrong pose once, in the event's first frame."""


class Kidnapped:
    """A tracker whose pose is made wrong once; otherwise the tracker that it wraps."""

    def __init__(self, inner: Tracker, stamp_ns: int, offset: Array) -> None:
        """offset: obj -> obj (4, 4), put into the pose before the frame at stamp_ns is tracked."""
        self._inner, self._stamp_ns, self._offset = inner, stamp_ns, offset
        self._newest: dict[str, tuple[int, Array]] = {}

    def start(self, frame: Frame, registration: Registration) -> Registration:
        started = self._inner.start(frame, registration)
        self._newest[started.object_name] = (started.stamp_ns, started.cam_from_obj)
        return started

    def stop(self, object_name: str) -> None:
        self._inner.stop(object_name)

    def reset(self, object_name: str) -> None:
        self._inner.reset(object_name)

    def nudge(self, object_name: str, stamp_ns: int, correction: Array) -> bool:
        return self._inner.nudge(object_name, stamp_ns, correction)

    def track(self, frame: Frame) -> dict[str, Track | TrackFailure]:
        if frame.stamp_ns == self._stamp_ns:
            for name, (stamp, pose) in self._newest.items():
                self._inner.nudge(name, stamp, pose @ self._offset @ inverse(pose))
        results = self._inner.track(frame)
        self._newest |= {name: (r.stamp_ns, r.cam_from_obj) for name, r in results.items() if isinstance(r, Track)}
        return results


class System:
    """The stages of the pipeline for one object, built once; they hold no memory but what `fresh` makes them forget."""

    def __init__(self, config: StormConfig, model: ObjectModel) -> None:
        models = {model.name: model}
        self.model = model
        self._recovery = config.recovery
        self._localizer = build_localizer(config, models)
        self._registrar = build_registrar(config, models)
        self._tracker = build_tracker(config, models)
        self._monitor = build_monitor(config, models)
        self._refiner = build_score_refiner(config, models) if config.score_model.enable else None

    def fresh(self, stamp_ns: int, offset: Array | None) -> Pipeline:
        """A pipeline that has seen nothing yet; see `Kidnapped`."""
        self._tracker.reset(self.model.name)
        self._monitor.reset(self.model.name)
        tracker = self._tracker if offset is None else Kidnapped(self._tracker, stamp_ns, offset)
        return Pipeline((self.model.name,), self._localizer, self._registrar, tracker, self._monitor, self._refiner,
                        self._recovery)


def recover(clip: Pictures, centers: Sequence[Array], event: FaultEvent, system: System) -> dict[str, Any] | None:
    """One fault through the real system, in lock-step with the frames; None when the cause does not apply.

    started: trusted and right just before the event. time_s: from the fault (of the pose) or its end (of the pictures)
    to a trusted right pose, by the frames' stamps; inf when the clip ends before. wrong: a trusted pose more than 0.2
    diameters off was published after the fault. compute_s: processing time in between.
    """
    model, k = system.model, event.first
    pictures, offset = inject_picture_fault(clip, event, model), None
    if event.cause in POSE_CAUSES:
        truth = pictures.truths[k]
        changed = inject_pose_fault(pictures.truths, event, model, Around(
            frame=pictures.frames[k], cam_from_obj=truth, others=centers[k]))
        if changed is None:
            return None
        offset = inverse(truth) @ changed[k]
    pipeline = system.fresh(pictures.frames[k].stamp_ns, offset)
    outputs = [pipeline.step(frame) for frame in pictures.frames]
    error = np.full(len(outputs), np.inf)
    for n, output in enumerate(outputs):
        item = output.objects[0]
        if item.trusted and item.cam_from_obj is not None:
            error[n] = pose_errors(model, item.cam_from_obj[None], pictures.truths[n:n + 1])[0]
    begin = k if offset is not None else event.last + 1
    stamps = np.array([frame.stamp_ns for frame in pictures.frames])
    right = np.flatnonzero(error[begin:] <= RIGHT) + begin
    end = int(right[0]) if len(right) else len(outputs)
    after = error[begin:]
    return {"cause": event.cause.value, "started": bool(error[k - 1] <= RIGHT),
            "time_s": float(stamps[end] - stamps[begin]) * 1e-9 if len(right) else float("inf"),
            "wrong": bool((np.isfinite(after) & (after > CLEARLY_WRONG)).any()),
            "compute_s": sum(o.stage_ms["total"] for o in outputs[begin:end + 1]) * 1e-3}


def recovery_figures(recoveries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures over the plays in which the system was right before the fault; the others count as `not_started`."""
    used = [r for r in recoveries if r["started"]]
    times = [float("inf") if r["time_s"] is None else r["time_s"] for r in used]
    return {"plays": len(used), "not_started": len(recoveries) - len(used),
            "recovered": int(np.isfinite(times).sum()), "missed": int(np.isinf(times).sum()),
            "wrong_object": sum(r["wrong"] for r in used),
            "time_s_p50": quantile(times, 0.5), "time_s_p95": quantile(times, 0.95),
            "compute_s_p50": quantile([r["compute_s"] for r in used], 0.5)}
