"""What the nodes tell each other about every frame, and the ways it takes: a topic, or none within one process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import deserialize_message
from vision_msgs.msg import Detection3DArray

from storm_ros import names, qos
from storm_ros.conversions import stamp_ns
from storm_ros.detections import EpochTrack, read_tracks, tracks_message
from storm_ros.records import Judged, judgements_message, read_judgements

if TYPE_CHECKING:
    from storm_ros.lifecycle import ManagedNode

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class OfFrame(Generic[T]):
    """What is said about one frame; within a process all listeners get the same, so that nobody may change it."""

    stamp_ns: int
    frame_id: str
    items: Sequence[T]


@dataclass(frozen=True, eq=False)
class Stream(Generic[T]):
    """One kind of what is said in every frame, and its messages.

    Attributes:
      said_by: name of the node that says it.
      write: (items, stamp [ns], frame id) -> message. read: its inverse; raises InputError for a malformed one.
    """

    topic: str
    said_by: str
    message_type: Any
    write: Callable[[Sequence[T], int, str], Any]
    read: Callable[[Any], Sequence[T]]


TRACKS: Stream[EpochTrack] = Stream(names.TRACKS, "pose_node", Detection3DArray, tracks_message, read_tracks)
JUDGEMENTS: Stream[Judged] = Stream(names.JUDGEMENTS, "tom_node", DiagnosticArray, judgements_message, read_judgements)


class Link(Protocol):
    """One end of a way; valid while its node is active."""

    def destroy(self) -> None: ...


class Mouth(Link, Protocol[T]):
    """The end that speaks, from any thread."""

    def say(self, said: OfFrame[T]) -> None: ...


class Ways(Protocol):
    """How nodes are connected."""

    def mouth(self, node: "ManagedNode", stream: Stream[T]) -> Mouth[T]: ...

    def ear(self, node: "ManagedNode", stream: Stream[T], heard: Callable[[OfFrame[T]], None]) -> Link:
        """heard: called in the node's executor, in the order in which it was said."""
        ...


class TopicMouth(Generic[T]):
    """Publishes."""

    def __init__(self, node: "ManagedNode", stream: Stream[T]) -> None:
        self._node, self._stream = node, stream
        self._publisher = node.create_publisher(stream.message_type, stream.topic, qos.requests())

    @property
    def listeners(self) -> int:
        """Subscriptions that get what is said."""
        return int(self._publisher.get_subscription_count())

    def say(self, said: OfFrame[T]) -> None:
        self._publisher.publish(self._stream.write(said.items, said.stamp_ns, said.frame_id))

    def destroy(self) -> None:
        self._node.destroy_publisher(self._publisher)


class TopicEar(Generic[T]):
    """Subscribes."""

    def __init__(self, node: "ManagedNode", stream: Stream[T], heard: Callable[[OfFrame[T]], None]) -> None:
        def received(raw: bytes) -> None:
            message = deserialize_message(raw, stream.message_type)
            heard(OfFrame(stamp_ns(message.header.stamp), message.header.frame_id, stream.read(message)))

        self._node = node
        self._subscription = node.create_subscription(stream.message_type, stream.topic, received, qos.requests(),
                                                      raw=True)

    def destroy(self) -> None:
        self._node.destroy_subscription(self._subscription)


class TopicWays:
    """Every stream is a topic: the nodes are processes of their own."""

    def mouth(self, node: "ManagedNode", stream: Stream[T]) -> TopicMouth[T]:
        return TopicMouth(node, stream)

    def ear(self, node: "ManagedNode", stream: Stream[T], heard: Callable[[OfFrame[T]], None]) -> TopicEar[T]:
        return TopicEar(node, stream, heard)
