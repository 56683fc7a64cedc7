"""Poses of any other system as the outputs of a run, so that they get the same figures and the same report.

Readers for BOP results, TUM trajectories and bags. Nothing of STORM looks at the images here. What a foreign system
publishes counts as trusted; a frame without a pose of it is a failure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storm_core.bags.bag_truth import in_camera, tree_for
from storm_core.bags.pose_topics import POSE_TYPES, StampedPose, by_name, require_topic, topic_poses
from storm_core.bags.recording import Recording
from storm_core.bags.rosbag import BagRecording, list_topics, open_bag
from storm_core.bags.trajectory import read_tum
from storm_core.bags.transforms import read_tree
from storm_core.bags.write import TRUTH_PREFIX, topic_name
from storm_core.bop.results import read_predictions
from storm_core.errors import DatasetError
from storm_core.geometry.covariance import from_ros
from storm_core.report.belonging import require_finite_scores
from storm_core.types import Evidence, ObjectOutput, Reason, StepOutput

PUBLISHED, SILENT = "PUBLISHED", "SILENT"
"""States of an object in a system that says nothing of states."""
LONGEST_LATENCY_NS = 10_000_000_000
"""A bag whose messages are recorded later than this after their stamp was not recorded live [ns]."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ForeignPose:
    """One pose of another system.

    Attributes:
      score: as the system gives it, nan without one.
      covariance: (6, 6) in the core's form, None when not given.
      total_ms: processing time of the frame, latency_ms: stamp to arrival; nan when not known.
    """

    cam_from_obj: NDArray[np.float64]
    score: float = float("nan")
    covariance: NDArray[np.float64] | None = None
    total_ms: float = float("nan")
    latency_ms: float = float("nan")


Found = Mapping[str, Mapping[int, ForeignPose]]
"""object name -> {frame number: pose}"""


def outputs_of(found: Found, recording: Recording, names: Sequence[str]) -> list[StepOutput]:
    """One output per frame of the recording, in its order.

    Scores become probabilities when all of an object's are in [0, 1]; otherwise there are none, and no figures of
    calibration.
    """
    calibrated = {name: all(0.0 <= p.score <= 1.0 for p in found.get(name, {}).values()) for name in names}
    return [_output(k, stamp, found, names, calibrated) for k, stamp in enumerate(recording.stamps_ns)]


def from_bop(file: Path, recording: Recording, ids: Mapping[str, int], names: Sequence[str]) -> Found:
    """A BOP CSV, or a scene_pred.json of the only scene; of several estimates of an object the best score counts.

    Raises:
      DatasetError: the file is malformed, or has no estimate for any frame and object that is evaluated.
    """
    frame_of = {frame: k for k, frame in enumerate(recording.ids)}
    name_of = {ids[name]: name for name in names if name in ids}
    scenes = sorted({scene_id for scene_id, _ in recording.ids})
    if file.suffix == ".json" and len(scenes) > 1:
        raise DatasetError(f"{file} does not say its scene, and {recording.path} has {len(scenes)}; pass one scene")
    out: dict[str, dict[int, ForeignPose]] = {name: {} for name in names}
    estimates = read_predictions(file, scenes[0])
    require_finite_scores(file, estimates)
    for e in estimates:
        k, name = frame_of.get((e.scene_id, e.im_id)), name_of.get(e.obj_id)
        if k is None or name is None or (k in out[name] and out[name][k].score >= e.score):
            continue
        ms = e.time_s * 1e3 if e.time_s >= 0 else float("nan")
        out[name][k] = ForeignPose(cam_from_obj=e.cam_from_obj, score=e.score, total_ms=ms)
    return _required(out, f"{file}: no estimate for a frame of {recording.path} of scene "
                          f"{', '.join(map(str, scenes))} and an object of {', '.join(names)}")


def from_tum(files: Mapping[str, Path], recording: Recording) -> Found:
    """{object name: TUM trajectory of its pose in the camera}, matched by stamp within half a frame."""
    return {name: _required({name: _matched([(s, ForeignPose(cam_from_obj=pose)) for s, pose in sorted(
        read_tum(file).items())], recording)}, f"{file}: no stamp is that of a frame of {recording.path} "
        f"({recording.stamps_ns[0] * 1e-9:.3f} to {recording.stamps_ns[-1] * 1e-9:.3f} s)")[name]
        for name, file in files.items()}


def from_bag(bag: Path, recording: Recording, names: Sequence[str], given: Mapping[str, str] | None) -> Found:
    """Pose topics of a bag, matched by stamp within half a frame.

    Args:
      given: object name -> topic; None = /object_pose/<object>/pose, or the only topic with poses. On a topic with
        detections of several objects the one with the object's name or id counts.

    Raises:
      DatasetError: no such topic (lists what there is), or nothing on it belongs to a frame.
    """
    with open_bag(bag) as reader:
        there = [n for n, info in sorted(reader.topics.items())
                 if info.msgtype in POSE_TYPES and not n.startswith(TRUTH_PREFIX)]
        own = {topic_name(n): f"/object_pose/{topic_name(n)}/pose" for n in names}
        topics = by_name(given, {n: t for n, t in own.items() if t in there}, names)
        if not topics and len(there) == 1:
            topics = dict.fromkeys(names, there[0])
        if not topics:
            raise DatasetError(f"{bag}: which topic holds the poses of {', '.join(names)}? Name it with --pred-topic; "
                               f"it has: {list_topics(reader)}")
        for topic in topics.values():
            require_topic(reader, bag, topic)
        poses = list(topic_poses(reader, list(topics.values())))
        tree = tree_for(reader, recording, [p for _, p in poses]) if isinstance(recording, BagRecording) else None
    if tree is not None and any(not tree.connects(recording.frame_id, p.frame_id) for _, p in poses if p.frame_id):
        # Whoever records only the poses leaves the tf in the bag with the images.
        with open_bag(recording.path) as reader:
            tree = read_tree(reader)
    out: dict[str, Mapping[int, ForeignPose]] = {}
    for name, topic in topics.items():
        mine = _best(p for t, p in poses if t == topic and (not p.labels or {name, topic_name(name)} & set(p.labels)))
        moved = {p.stamp_ns: p.frame_from_obj for p in mine} if tree is None else in_camera(
            mine, recording, tree, topic)
        out[name] = _matched(_with_latency(mine, moved), recording)
    labels = sorted({label for _, p in poses for label in p.labels if label})
    return _required(out, f"{bag}: nothing on {', '.join(sorted(set(topics.values())))} has the stamp of a frame of "
                          f"{recording.path} and the name of an object ({', '.join(names)})"
                          + (f"; the detections are named {', '.join(labels[:12])}" if labels else ""))


def _best(poses: Iterable[StampedPose]) -> list[StampedPose]:
    """Of the poses with one stamp (several instances) the one with the best score."""
    out: dict[int, StampedPose] = {}
    for pose in poses:
        if pose.stamp_ns not in out or not pose.score <= out[pose.stamp_ns].score:
            out[pose.stamp_ns] = pose
    return list(out.values())


def _with_latency(poses: Sequence[StampedPose],
                  cam_from_obj: Mapping[int, NDArray[np.float64]]) -> list[tuple[int, ForeignPose]]:
    """(stamp, pose), by stamp. The latency only where the bag was recorded live: recorded after the stamps, not by a
    program that writes the stamp as the time of recording."""
    lags = np.array([p.received_ns - p.stamp_ns for p in poses], np.int64)
    live = len(lags) > 0 and lags.min() >= 0 and 0 < lags.max() < LONGEST_LATENCY_NS
    found = {}
    for pose, lag in zip(poses, lags, strict=True):
        if pose.stamp_ns in cam_from_obj:
            matrix = cam_from_obj[pose.stamp_ns]
            # A covariance in another frame's axes would have to be turned; only that of the camera's is taken.
            same = pose.covariance is not None and matrix is pose.frame_from_obj
            found[pose.stamp_ns] = ForeignPose(
                cam_from_obj=matrix, score=pose.score, latency_ms=lag * 1e-6 if live else float("nan"),
                covariance=from_ros(matrix, pose.covariance) if same else None)  # type: ignore[arg-type]
    return sorted(found.items(), key=lambda item: item[0])


def _matched(poses: Sequence[tuple[int, ForeignPose]], recording: Recording) -> dict[int, ForeignPose]:
    """{frame number: pose}: each frame gets the nearest pose, if it is at most half a frame period away."""
    frames = np.asarray(recording.stamps_ns, np.int64)
    reach = int(np.median(np.diff(frames))) // 2 if len(frames) > 1 else 0
    out: dict[int, tuple[int, ForeignPose]] = {}
    for stamp, pose in poses:
        at = int(np.searchsorted(frames, stamp))
        k = min((i for i in (at - 1, at) if 0 <= i < len(frames)), key=lambda i: abs(int(frames[i]) - stamp))
        away = abs(int(frames[k]) - stamp)
        if away <= reach and (k not in out or away < out[k][0]):
            out[k] = away, pose
    return {k: pose for k, (_, pose) in sorted(out.items())}


def _required(found: Mapping[str, Mapping[int, ForeignPose]], complaint: str) -> Found:
    if not any(found.values()):
        raise DatasetError(complaint)
    return found


def _output(k: int, stamp_ns: int, found: Found, names: Iterable[str], calibrated: Mapping[str, bool]) -> StepOutput:
    poses = {name: found.get(name, {}).get(k) for name in names}
    times = {"total": [p.total_ms for p in poses.values() if p is not None and np.isfinite(p.total_ms)],
             "end_to_end": [p.latency_ms for p in poses.values() if p is not None and np.isfinite(p.latency_ms)]}
    return StepOutput(
        stamp_ns=stamp_ns, objects=tuple(_object(name, stamp_ns, p, calibrated[name]) for name, p in poses.items()),
        transitions=(), stage_ms={stage: max(ms) for stage, ms in times.items() if ms})


def _object(name: str, stamp_ns: int, pose: ForeignPose | None, calibrated: bool) -> ObjectOutput:
    return ObjectOutput(
        object_name=name, stamp_ns=stamp_ns, state=SILENT if pose is None else PUBLISHED,
        reason=Reason.NOT_PUBLISHED if pose is None else Reason.PUBLISHED,
        cam_from_obj=None if pose is None else pose.cam_from_obj, covariance=None if pose is None else pose.covariance,
        probability=pose.score if pose is not None and calibrated else float("nan"), trusted=pose is not None,
        coasting=False, evidence=Evidence())
