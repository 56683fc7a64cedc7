"""One job of the failure benchmark: every cause played in one scene, each pose judged by the configured monitor."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.bop.dataset import Annotation, read_annotations
from storm_core.config import StormConfig, build
from storm_core.errors import ConfigError, DatasetError
from storm_core.evaluation.failures.ablation import Ablation
from storm_core.evaluation.failures.causes import MIN_FRAMES, POSE_CAUSES, Cause, FaultEvent, causes_of, plan_event
from storm_core.evaluation.failures.labels import RIGHT, Labels, pose_errors
from storm_core.evaluation.failures.pictures import Pictures, inject_picture_fault
from storm_core.evaluation.failures.poses import Around, inject_pose_fault
from storm_core.evaluation.failures.recover import PLAYED, System, recover
from storm_core.evaluation.failures.streams import Fed, Stream, innovations, noisy_truth, tracked
from storm_core.evaluation.images import ImageFiles, read_image
from storm_core.evaluation.jobs import Job, Outcome
from storm_core.evidence.verifier import DEFAULT as VERIFIER
from storm_core.geometry.mesh import ObjectModel
from storm_core.interfaces import Monitor
from storm_core.monitor.monitor import EvidenceMonitor
from storm_core.pipeline.build import build_models, build_monitor, build_tracker
from storm_core.types import Evidence, Frame, Track

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FailureJob(Job):
    """A scene of the failure benchmark.

    Attributes:
      causes: names. frames: of the clip at most, from the first image on. tracker: poses of the real tracker.
      pipeline: also run the whole system through the faults. ablation: also judge with every term left out.
    """

    causes: tuple[str, ...]
    frames: int
    tracker: bool = False
    pipeline: bool = False
    ablation: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Clip:
    """One object in one scene; arrays (N,). centers: of other objects in each frame (K, 3) [m]."""

    pictures: Pictures
    known: NDArray[np.bool_]
    centers: Sequence[Array]


def perform(job: FailureJob) -> Outcome:
    """`records`: one per object and cause, see `play`; `recoveries`: see `recover`; `skipped`: what cannot be used."""
    config: StormConfig = build(job.config)
    models = build_models(config)
    monitor = build_monitor(config, models)
    if job.ablation:
        if not isinstance(monitor, EvidenceMonitor):
            raise ConfigError("--ablation leaves terms of the monitor out; set monitor.enable to true")
        monitor = Ablation(monitor, config.monitor)
    stream = tracked(build_tracker(config, models)) if job.tracker else noisy_truth
    records: list[dict[str, Any]] = []
    recoveries: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    scene = Path(job.images[0].folder)
    annotations, frames = read_annotations(scene), _read(job.images[:job.frames], skipped)
    for query in job.queries:
        name, obj_id = query.name, int(query.name)
        clip = clip_of(frames, annotations, obj_id, models)
        if isinstance(clip, str):
            skipped.append({"scene_id": job.images[0].scene_id, "im_id": job.images[0].im_id,
                            "reason": f"object {name}: {clip}"})
            continue
        seed = (config.seed, job.images[0].scene_id, obj_id)
        system = System(config, models[name]) if job.pipeline else None
        for cause in causes_of(list(job.causes)):
            event = plan_event(cause, len(clip.known), seed)
            record = play(clip, event, models[name], monitor, stream)
            if record is not None:
                records.append({"scene": job.images[0].scene_id, "object": name} | record)
            if system is not None and cause in PLAYED:
                recovery = recover(clip.pictures, clip.centers, event, system)
                if recovery is not None:
                    recoveries.append({"scene": job.images[0].scene_id, "object": name} | recovery)
    return {"records": records, "recoveries": recoveries, "skipped": skipped}


def _read(images: Sequence[ImageFiles], skipped: list[dict[str, Any]]) -> list[tuple[ImageFiles, Frame]]:
    out = []
    for image in images:
        try:
            out.append((image, read_image(image)))
        except DatasetError as error:
            skipped.append({"scene_id": image.scene_id, "im_id": image.im_id, "reason": str(error)})
    return out


def clip_of(frames: Sequence[tuple[ImageFiles, Frame]], annotations: dict[int, tuple[Annotation, ...]], obj_id: int,
            models: dict[str, ObjectModel]) -> Clip | str:
    """The frames in which the one instance of an object is annotated; or why there is no clip."""
    rows = []
    for image, frame in frames:
        here = [a for a in annotations.get(image.im_id, ()) if a.obj_id == obj_id]
        if len(here) > 1:
            return f"{len(here)} instances in image {image.im_id}; which one is tracked cannot be told"
        if here:
            # A neighbour whose mesh is not loaded has a frame, but where its middle is nobody knows.
            others = [(models[str(a.obj_id)], a.cam_from_obj) for a in annotations[image.im_id]
                      if a.obj_id != obj_id and str(a.obj_id) in models]
            centers = [pose[:3, :3] @ model.center + pose[:3, 3] for model, pose in others]
            rows.append((frame, here[0], np.array(centers).reshape(-1, 3)))
    if len(rows) < MIN_FRAMES:
        return f"annotated in {len(rows)} readable frames, the failure benchmark needs {MIN_FRAMES}"
    pictures = Pictures(frames=[r[0] for r in rows], truths=np.array([r[1].cam_from_obj for r in rows]),
                        visible=np.array([r[1].visible for r in rows]), stale=np.zeros(len(rows), bool))
    return Clip(pictures=pictures, known=np.array([r[1].good for r in rows]), centers=[r[2] for r in rows])


def faulty(clip: Clip, event: FaultEvent, model: ObjectModel, stream: Stream = noisy_truth,
           ) -> tuple[Pictures, Fed, Labels] | None:
    """The clip with the event, the poses to be judged, and the labels; None: the cause does not apply."""
    pictures = inject_picture_fault(clip.pictures, event, model)
    fed = stream(model, pictures.truths, pictures.visible, pictures.frames, pictures.stale, event.seed)
    if event.cause in POSE_CAUSES:
        k = event.first
        changed = inject_pose_fault(fed.poses, event, model, Around(
            frame=pictures.frames[k], cam_from_obj=pictures.truths[k], others=clip.centers[k]))
        if changed is None:
            return None
        fed = fed.changed(changed)
    error = np.full(len(fed.poses), np.inf)
    has = ~np.isnan(fed.poses).any((1, 2))
    known = clip.known & has
    error[has] = pose_errors(model, fed.poses[has], pictures.truths[has])
    if pictures.depth_truths is not None:
        # Colour and depth that show the object at two places: no pose is right, and none can be called wrong.
        known = known & (pose_errors(model, pictures.truths, pictures.depth_truths) <= RIGHT)
    return pictures, fed, Labels(error=error, visible=pictures.visible, stale=pictures.stale, known=known)


def play(clip: Clip, event: FaultEvent, model: ObjectModel, monitor: Monitor, stream: Stream = noisy_truth,
         ) -> dict[str, Any] | None:
    """What happened frame by frame, as JSON data; None when the cause does not apply to this object.

    cause, first, last, size: the event. stamps_ns. error, visible, stale, known: see Labels. probability, verdict,
    reason: the monitor's word (of frames without a pose: nan, lost). single: probability of this frame alone.
    inlier: share of the silhouette whose depth agrees. innovation. ms: time of the judgement. With an Ablation also
    without: see there, and evidence: everything that was measured, by name.
    """
    made = faulty(clip, event, model, stream)
    if made is None:
        return None
    pictures, fed, labels = made
    stamps = np.array([frame.stamp_ns for frame in pictures.frames])
    innovation = innovations(model, fed.poses, stamps)
    monitor.reset(model.name)
    rows: dict[str, list[Any]] = {key: [] for key in ("probability", "verdict", "reason", "single", "inlier", "ms")}
    evidence: list[dict[str, float]] = []
    for k, frame in enumerate(pictures.frames):
        if k == event.last + 1 and event.cause in (*POSE_CAUSES, Cause.EXIT):
            monitor.reset(model.name)  # the right pose comes from a new registration
        if np.isnan(fed.poses[k]).any():
            monitor.reset(model.name)
            if isinstance(monitor, Ablation):
                monitor.skip()
            for key, value in (("verdict", "lost"), ("reason", "not_in_view")):
                rows[key].append(value)
            for key in ("probability", "single", "inlier", "ms"):
                rows[key].append(float("nan"))
            evidence.append(Evidence().as_dict())
            continue
        begin = time.perf_counter()
        judged = monitor.judge(frame, Track(
            object_name=model.name, stamp_ns=frame.stamp_ns, cam_from_obj=fed.poses[k], covariance=fed.covariances[k],
            innovation=float(innovation[k]), region=float(fed.region[k])))
        rows["ms"].append((time.perf_counter() - begin) * 1e3)
        rows["probability"].append(judged.probability)
        rows["verdict"].append(judged.verdict.value)
        rows["reason"].append(judged.reason.value)
        rows["single"].append(_alone(judged.evidence))
        rows["inlier"].append(judged.evidence.inlier)
        evidence.append(judged.evidence.as_dict())
    return {"cause": event.cause.value, "first": event.first, "last": event.last, "size": event.size,
            "stamps_ns": stamps.tolist(), "error": labels.error.tolist(), "visible": labels.visible.tolist(),
            "stale": labels.stale.tolist(), "known": labels.known.tolist(), "innovation": innovation.tolist(), **rows,
            **({"without": monitor.take(), "evidence": _columns(evidence)} if isinstance(monitor, Ablation) else {})}


def _columns(rows: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Number -> its values frame by frame, to four digits."""
    return {name: [float(f"{row[name]:.4g}") for row in rows] for name in rows[0]}


def _alone(evidence: Any) -> float:
    """The verifier's probability of one frame; 0 for a pose of which nothing was inside the image."""
    return 0.0 if not evidence.inside > 0 else VERIFIER.probability(evidence)
