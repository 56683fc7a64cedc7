"""Streams between nodes of one process: what is said is handed over as it is, and no message is made of it.

Writing, sending and reading the two streams took a third of the interpreter's time of the composed graph. As with
rclcpp's intra-process communication the topics stay: whoever listens from another process gets messages.
"""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from storm_ros.between import Link, Mouth, OfFrame, Stream, TopicEar, TopicMouth

if TYPE_CHECKING:
    from storm_ros.lifecycle import ManagedNode

T = TypeVar("T")


class ProcessWays:
    """Connects nodes that are spun by one executor."""

    def __init__(self, node_names: Collection[str]) -> None:
        """node_names: of this process; what others say comes by topic."""
        self._here = frozenset(node_names)
        self._ears: dict[str, list[ProcessEar[Any]]] = {}

    def mouth(self, node: "ManagedNode", stream: Stream[T]) -> Mouth[T]:
        return ProcessMouth(self, node, stream)

    def ear(self, node: "ManagedNode", stream: Stream[T], heard: Callable[[OfFrame[T]], None]) -> Link:
        if stream.said_by not in self._here:
            return TopicEar(node, stream, heard)
        return ProcessEar(self, node, stream, heard)

    def ears(self, topic: str) -> "list[ProcessEar[Any]]":
        """Those who listen to a topic here; the list itself."""
        return self._ears.setdefault(topic, [])


class ProcessMouth(Generic[T]):
    """Hands over to the ears of the process, in the executor's thread, and publishes for those outside it."""

    def __init__(self, ways: ProcessWays, node: "ManagedNode", stream: Stream[T]) -> None:
        self._ears, self._node, self._topic = ways.ears(stream.topic), node, TopicMouth(node, stream)

    def say(self, said: OfFrame[T]) -> None:
        if self._topic.listeners:
            self._topic.say(said)
        # Subscriptions are called by the executor as well: no node hears two things at once.
        self._node.executor.create_task(self._hand_over, said)

    def _hand_over(self, said: OfFrame[T]) -> None:
        for ear in tuple(self._ears):
            ear.hear(said)

    def destroy(self) -> None:
        self._topic.destroy()


class ProcessEar(Generic[T]):
    def __init__(self, ways: ProcessWays, node: "ManagedNode", stream: Stream[T],
                 heard: Callable[[OfFrame[T]], None]) -> None:
        self._ears, self._node, self._heard = ways.ears(stream.topic), node, heard
        self._ears.append(self)

    def hear(self, said: OfFrame[T]) -> None:
        try:
            self._node.while_active(self._heard, said)
        except Exception as error:  # noqa: BLE001  the events executor does not survive a task that raises
            self._node.fail(error)

    def destroy(self) -> None:
        self._ears.remove(self)
