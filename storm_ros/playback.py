"""Publishing recorded frames as a camera would: in real time, stamped, serialised ahead of time."""

import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from storm_core.types import Frame
from storm_ros import names, qos
from storm_ros.conversions import camera_info, depth_image, header, to_image, to_time

AHEAD = 64
"""Frames read and serialised before they are due."""

_STAMP_AT = 4
"""Where the stamp of a header that comes first lies in a serialised message: after the encapsulation."""


@dataclass(frozen=True, eq=False)
class Shot:
    """One frame as serialised messages; the stamp is written into them when they go out."""

    image: bytearray
    depth: bytearray
    info: bytearray


def shot_of(frame: Frame) -> Shot:
    at = header(frame.stamp_ns, frame.frame_id)
    messages = to_image(frame.rgb, "rgb8", at), depth_image(frame.depth, at), camera_info(frame.camera, at)
    return Shot(*(bytearray(serialize_message(message)) for message in messages))


def stamped(serialised: bytearray, stamp_ns: int) -> bytes:
    """A copy of a serialised message that begins with a header, under another stamp."""
    struct.pack_into("<iI" if serialised[1] == 1 else ">iI", serialised, _STAMP_AT, *divmod(stamp_ns, 1_000_000_000))
    return bytes(serialised)


class FramePublisher:
    """Publishes frames on the input topics of the graph."""

    def __init__(self, node: Node) -> None:
        self._publishers = [node.create_publisher(kind, topic, qos.sensor_data()) for kind, topic in (
            (CameraInfo, names.CAMERA_INFO), (Image, names.DEPTH_IMAGE), (Image, names.IMAGE))]
        self._clock = node.create_publisher(Clock, "/clock", qos.sensor_data())

    def publish(self, shot: Shot, stamp_ns: int, *, with_clock: bool = False) -> None:
        """Send one frame under this stamp; with_clock: and set ROS time to it."""
        if with_clock:
            self._clock.publish(Clock(clock=to_time(stamp_ns)))
        for publisher, serialised in zip(self._publishers, (shot.info, shot.depth, shot.image), strict=True):
            publisher.publish(stamped(serialised, stamp_ns))

    def matched(self) -> int:
        """Subscribers of the colour image."""
        return self._publishers[-1].get_subscription_count()

    def destroy(self, node: Node) -> None:
        for publisher in (*self._publishers, self._clock):
            node.destroy_publisher(publisher)


def ahead(frames: Iterable[Frame], stop: threading.Event) -> Iterator[tuple[int, Shot]]:
    """(stamp, messages) of frames, read and serialised in a thread of its own, at most AHEAD frames before the caller.

    Reading begins at once; it ends early when `stop` is set.
    """
    source = iter(frames)

    def read() -> tuple[int, Shot] | None:
        frame = None if stop.is_set() else next(source, None)
        return None if frame is None else (frame.stamp_ns, shot_of(frame))

    pool = ThreadPoolExecutor(1, "read-ahead")
    return _drain(pool, read, deque(pool.submit(read) for _ in range(AHEAD)))


def _drain(pool: ThreadPoolExecutor, read: "Callable[[], tuple[int, Shot] | None]",
           waiting: "deque[Future[tuple[int, Shot] | None]]") -> Iterator[tuple[int, Shot]]:
    with pool:
        while (item := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(read))
            yield item


class Pacer:
    """Waits until a frame is due. Late frames go out at once, and the ones after them keep the original rhythm."""

    def __init__(self, sleep: Callable[[float], object] = time.sleep) -> None:
        self._sleep = sleep
        self._origin: float | None = None

    def wait(self, at: float) -> float:
        """Block until `at` [s] on the clock that the first call set; returns how late it is already [s], at least 0."""
        now = time.perf_counter()
        if self._origin is None:
            self._origin = now - at
        pause = self._origin + at - now
        if pause > 0:
            self._sleep(pause)
        return max(0.0, -pause)


def to_and_fro(shots: list[Shot]) -> Iterator[tuple[int, Shot]]:
    """(index, frame) of the first frames forwards and backwards for ever, never the same one twice in a row.

    A camera that shows one frozen picture is a fault which the monitor reports; a waiting scene must not look like it.
    """
    forth = [*range(len(shots)), *range(len(shots) - 2, 0, -1)]
    while True:
        for k in forth:
            yield k, shots[k]
