"""What the nodes tell each other about every frame, read once per process however many of its nodes hear it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import deserialize_message
from vision_msgs.msg import Detection3DArray

from storm_ros.conversions import stamp_ns
from storm_ros.detections import EpochTrack, read_tracks
from storm_ros.records import Judged, read_judgements

T = TypeVar("T")

_KEPT = 16
"""Messages remembered: the nodes of one process hear each of them within a few milliseconds."""


@dataclass(frozen=True, eq=False)
class OfFrame(Generic[T]):
    """What was said about one frame; shared between nodes, so that nobody may change it."""

    stamp_ns: int
    frame_id: str
    items: list[T]


@lru_cache(_KEPT)
def tracks_of(raw: bytes) -> OfFrame[EpochTrack]:
    """A serialised message of the topic TRACKS. Raises InputError when it is malformed."""
    message = deserialize_message(raw, Detection3DArray)
    return OfFrame(stamp_ns(message.header.stamp), message.header.frame_id, read_tracks(message))


@lru_cache(_KEPT)
def judgements_of(raw: bytes) -> OfFrame[Judged]:
    """The same of the topic JUDGEMENTS."""
    message = deserialize_message(raw, DiagnosticArray)
    return OfFrame(stamp_ns(message.header.stamp), message.header.frame_id, read_judgements(message))
