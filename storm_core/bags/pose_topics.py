"""Poses of objects in a bag: which topics carry them, and every message type that does read the same way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from scipy.spatial.transform import Rotation

from storm_core.bags.decode import stamp_ns
from storm_core.bags.message_types import DETECTIONS
from storm_core.bags.rosbag import list_topics
from storm_core.bags.write import topic_name
from storm_core.errors import DatasetError
from storm_core.geometry.pose import from_rotation_translation

POSE = "geometry_msgs/msg/PoseStamped"
POSE_WITH_COVARIANCE = "geometry_msgs/msg/PoseWithCovarianceStamped"
TRANSFORM = "geometry_msgs/msg/TransformStamped"
SINGLE_TYPES = (POSE, POSE_WITH_COVARIANCE, TRANSFORM)
"""Message types that hold one pose."""
POSE_TYPES = (*SINGLE_TYPES, DETECTIONS)


@dataclass(frozen=True, eq=False, kw_only=True)
class StampedPose:
    """One pose of a message.

    Attributes:
      stamp_ns: header stamp. received_ns: when the bag recorded the message.
      labels: the id and the class of a detection, () for messages that hold one pose.
      frame_id: the frame that the pose is given in, "" when the message does not say.
      frame_from_obj: (4, 4) [m]. covariance: (6, 6) in ROS's form, None when the message has none.
      score: of a detection, nan for other messages.
    """

    stamp_ns: int
    received_ns: int
    labels: tuple[str, ...]
    frame_id: str
    frame_from_obj: NDArray[np.float64]
    covariance: NDArray[np.float64] | None
    score: float


def require_topic(reader: AnyReader, path: Path, topic: str, types: Sequence[str] = POSE_TYPES) -> None:
    """Raise DatasetError, which lists the topics of the bag, unless `topic` carries poses of these types."""
    if topic not in reader.topics or reader.topics[topic].msgtype not in types:
        short = ", ".join(t.rpartition("/")[2] for t in types)
        raise DatasetError(f"{path} has no topic {topic} with poses ({short}); it has: {list_topics(reader)}")


def topic_poses(reader: AnyReader, topics: Sequence[str]) -> Iterator[tuple[str, StampedPose]]:
    """(topic, pose) of every message on these topics, in the order of recording.

    Raises:
      DatasetError: an orientation is no unit quaternion, or a position is not finite.
    """
    for connection, received, raw in reader.messages(
            connections=[c for c in reader.connections if c.topic in topics]):
        message = reader.deserialize(raw, connection.msgtype)
        for pose in _poses(message, connection.msgtype, received, connection.topic):
            yield connection.topic, pose


def _poses(message: Any, kind: str, received: int, topic: str) -> Iterator[StampedPose]:
    if kind == DETECTIONS:
        for detection in message.detections:
            if len(detection.results):
                yield _detection(message, detection, received, topic)
        return
    covariance = None
    if kind == TRANSFORM:
        position, orientation = message.transform.translation, message.transform.rotation
    else:
        inner = message.pose.pose if kind == POSE_WITH_COVARIANCE else message.pose
        position, orientation = inner.position, inner.orientation
        if kind == POSE_WITH_COVARIANCE:
            covariance = _covariance(message.pose)
    yield StampedPose(stamp_ns=stamp_ns(message), received_ns=received, labels=(), frame_id=_frame(message),
                      frame_from_obj=matrix(position, orientation, topic), covariance=covariance, score=float("nan"))


def _detection(message: Any, detection: Any, received: int, topic: str) -> StampedPose:
    # Before vision_msgs 2 the class and the score were fields of the result itself.
    best = max(detection.results, key=lambda r: getattr(r, "hypothesis", r).score)
    said = getattr(best, "hypothesis", best)
    labels = (getattr(detection, "id", ""), str(getattr(said, "class_id", getattr(said, "id", ""))))
    pose = best.pose.pose
    return StampedPose(stamp_ns=stamp_ns(message), received_ns=received, labels=labels,
                       frame_id=_frame(message) or _frame(detection),
                       frame_from_obj=matrix(pose.position, pose.orientation, topic),
                       covariance=_covariance(best.pose), score=float(said.score))


def _covariance(pose: Any) -> NDArray[np.float64] | None:
    """All zeros means "not known" in ROS."""
    values = np.asarray(pose.covariance, float).reshape(6, 6)
    return values if values.any() else None


def _frame(message: Any) -> str:
    return message.header.frame_id.lstrip("/")


def matrix(position: Any, orientation: Any, source: str) -> NDArray[np.float64]:
    """(4, 4) of a position or translation [m] and a quaternion."""
    q = np.array([orientation.x, orientation.y, orientation.z, orientation.w])
    t = np.array([position.x, position.y, position.z])
    if not np.isfinite(t).all() or not 0.9 < np.linalg.norm(q) < 1.1:
        raise DatasetError(f"{source}: position {t.tolist()}, orientation {q.tolist()} is no pose; the orientation "
                           "must be a unit quaternion")
    return from_rotation_translation(Rotation.from_quat(q).as_matrix(), t)


def by_name(given: Mapping[str, str] | None, found: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """object name -> topic: as given, or of those found (name in the topic -> topic) the one with the object's name,
    or the only one for the only object."""
    if given is not None:
        return dict(given)
    out = {name: found[topic_name(name)] for name in names if topic_name(name) in found}
    if not out and len(found) == len(names) == 1:
        return {names[0]: next(iter(found.values()))}
    return out
