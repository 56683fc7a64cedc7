"""Poses as vision_msgs: what is published for everybody, and localizations and tracks between the nodes."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vision_msgs.msg import BoundingBox3D, Detection3D, Detection3DArray, ObjectHypothesis, ObjectHypothesisWithPose

from storm_core.errors import InputError
from storm_core.geometry.instances import mesh_name
from storm_core.geometry.mesh import ObjectModel
from storm_core.types import Evidence, ObjectOutput, Reason, Track
from storm_ros.conversions import from_covariance, from_pose, header, stamp_ns, to_pose, vector, with_covariance

_INNOVATION = "innovation"
_REGION = "region"


@dataclass(frozen=True, eq=False, kw_only=True)
class EpochTrack:
    """A track and the epoch of the registration it comes from."""

    track: Track
    epoch: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Hypotheses:
    """A localization without its mask, which travels on a topic of its own: poses (K, 4, 4), K may be 0."""

    object_name: str
    epoch: int
    stamp_ns: int
    cam_from_objs: NDArray[np.float64]
    probability: float


def tag(object_name: str, epoch: int) -> str:
    return f"{object_name}/{epoch}"


def _read_tag(text: str) -> tuple[str, int]:
    name, slash, epoch = text.rpartition("/")
    if not slash or not epoch.isdigit():
        raise InputError(f"detection id {text!r} is not <object>/<epoch>; do all nodes run the same version?")
    return name, int(epoch)


def box(cam_from_obj: NDArray[np.float64], model: ObjectModel) -> BoundingBox3D:
    """The model's bounding box at a pose."""
    center = cam_from_obj.copy()
    center[:3, 3] += cam_from_obj[:3, :3] @ model.center
    return BoundingBox3D(center=to_pose(center), size=vector(model.size))


def hypothesis(class_id: str, score: float) -> ObjectHypothesisWithPose:
    return ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(class_id=class_id, score=float(score)))


def detections_message(outputs: Iterable[ObjectOutput], models: dict[str, ObjectModel], frame_id: str,
                       stamp: int) -> Detection3DArray:
    """Every object that has a pose; results are never empty, so a viewer may always read the first."""
    message = Detection3DArray(header=header(stamp, frame_id))
    for output in outputs:
        if output.cam_from_obj is None or output.covariance is None:
            continue
        # Of a frozen stream nothing can be said, and a reader's `score < limit` lets nan through.
        score = output.probability if math.isfinite(output.probability) else 0.0
        result = hypothesis(mesh_name(output.object_name), score)
        result.pose = with_covariance(output.cam_from_obj, output.covariance)
        message.detections.append(Detection3D(header=message.header, id=output.object_name, results=[result],
                                              bbox=box(output.cam_from_obj, models[output.object_name])))
    return message


def read_detections(message: Detection3DArray) -> list[ObjectOutput]:
    """What others learn of the published objects: poses, covariances, scores. State and trust are in the status."""
    out = []
    for detection in message.detections:
        first = detection.results[0]
        pose, covariance = from_covariance(first.pose)
        out.append(ObjectOutput(
            object_name=detection.id, stamp_ns=stamp_ns(message.header.stamp), state="", reason=Reason.CONFIRMED,
            cam_from_obj=pose, covariance=covariance, probability=first.hypothesis.score, trusted=False, coasting=False,
            evidence=Evidence()))
    return out


def tracks_message(tracks: Sequence[EpochTrack], stamp: int, frame_id: str) -> Detection3DArray:
    """Poses of one frame before the monitor has judged them.

    The first result's score is 0 for a coasting track and 1 otherwise; the next carry the innovation and what the
    colours say of the outline (nan: nothing); each further one names a modality that said nothing about the object.
    """
    message = Detection3DArray(header=header(stamp, frame_id))
    for item in tracks:
        track = item.track
        pose = hypothesis(track.object_name, 0.0 if track.coasting else 1.0)
        pose.pose = with_covariance(track.cam_from_obj, track.covariance)
        message.detections.append(Detection3D(
            header=message.header, id=tag(track.object_name, item.epoch),
            results=[pose, hypothesis(_INNOVATION, track.innovation), hypothesis(_REGION, track.region),
                     *(hypothesis(reason.value, 1.0) for reason in track.missing)]))
    return message


def read_tracks(message: Detection3DArray) -> list[EpochTrack]:
    out = []
    for detection in message.detections:
        name, epoch = _read_tag(detection.id)
        if len(detection.results) < 3:
            raise InputError(f"track {detection.id} has {len(detection.results)} results instead of 3 or more")
        first, second, third, *others = detection.results
        try:
            missing = tuple(Reason(other.hypothesis.class_id) for other in others)
        except ValueError as error:
            raise InputError(f"malformed track message ({error}); do all nodes run the same version?") from error
        pose, covariance = from_covariance(first.pose)
        track = Track(object_name=name, stamp_ns=stamp_ns(message.header.stamp), cam_from_obj=pose,
                      covariance=covariance, innovation=second.hypothesis.score, coasting=first.hypothesis.score == 0.0,
                      missing=missing, region=third.hypothesis.score)
        out.append(EpochTrack(track=track, epoch=epoch))
    return out


def localization_message(found: Hypotheses, frame_id: str) -> Detection3DArray:
    """One detection whose results are the pose hypotheses, best first; without any, one result without a pose."""
    at = header(found.stamp_ns, frame_id)
    detection = Detection3D(header=at, id=tag(found.object_name, found.epoch))
    for pose in found.cam_from_objs:
        result = hypothesis(found.object_name, found.probability)
        result.pose.pose = to_pose(pose)
        detection.results.append(result)
    if not detection.results:
        detection.results.append(hypothesis("", found.probability))
    return Detection3DArray(header=at, detections=[detection])


def read_localizations(message: Detection3DArray) -> list[Hypotheses]:
    out = []
    for detection in message.detections:
        name, epoch = _read_tag(detection.id)
        poses = [from_pose(result.pose.pose) for result in detection.results if result.hypothesis.class_id]
        out.append(Hypotheses(object_name=name, epoch=epoch, stamp_ns=stamp_ns(message.header.stamp),
                              cam_from_objs=np.array(poses).reshape(-1, 4, 4),
                              probability=detection.results[0].hypothesis.score))
    return out
