"""The three input topics of a node, synchronised; pixels stay serialised bytes until a stage wants them."""

import time
from collections.abc import Callable

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from storm_core.bags.lens import Lens, lens_of
from storm_core.config import InputConfig
from storm_core.types import Frame
from storm_ros import conversions, names, qos
from storm_ros.conversions import RawImage
from storm_ros.diagnostics import NodeDiagnostics
from storm_ros.frames import LazyFrame
from storm_ros.sync import FrameSync, Synced


class FrameDecoder:
    """Messages -> Frame; keeps the lens it saw last."""

    def __init__(self, image_topic: str) -> None:
        """image_topic: its full name, by which it is called in errors and which tells rectified images apart."""
        self._topic = image_topic
        self._lens: tuple[tuple[object, ...], Lens] | None = None

    def decode(self, image: RawImage, depth: RawImage, info: CameraInfo) -> Frame:
        """Raises StormError when the messages do not make a frame."""
        key = (info.width, info.height, info.distortion_model, *info.k, *info.d, *info.p)
        if self._lens is None or self._lens[0] != key:
            self._lens = (key, lens_of(info, self._topic, rectified="rect" in self._topic))
        lens = self._lens[1]
        rgb, metres = conversions.to_rgb(image), conversions.to_depth(depth)
        if rgb.shape[:2] == metres.shape == (lens.camera.height, lens.camera.width):
            rgb, metres = lens.undistort(rgb, metres)
        return Frame(rgb=rgb, depth=metres, camera=lens.camera, stamp_ns=image.stamp_ns, frame_id=image.frame_id)


class CameraInput:
    """Subscribes to image, depth_image and camera_info and hands on every synchronised frame, undecoded."""

    def __init__(self, node: Node, config: InputConfig, on_frame: Callable[[LazyFrame], None],
                 diagnostics: NodeDiagnostics) -> None:
        """
        Args:
          node: the subscriber.
          config: slop and timeout.
          on_frame: called in the executor for every frame, stamps increasing.
          diagnostics: counts frames and latency.
        """
        self._node, self._config, self._on_frame, self._diagnostics = node, config, on_frame, diagnostics
        self._sync = FrameSync(round(config.slop * 1e9))
        self._decoder = FrameDecoder(node.resolve_topic_name(names.IMAGE))
        self._started = time.monotonic()
        self.info: CameraInfo | None = None
        self._subscriptions = [
            node.create_subscription(Image, names.IMAGE, self._on_image, qos.sensor_data(), raw=True),
            node.create_subscription(Image, names.DEPTH_IMAGE, self._on_depth, qos.sensor_data(), raw=True),
            node.create_subscription(CameraInfo, names.CAMERA_INFO, self._on_info, qos.sensor_data()),
        ]

    def problems(self) -> list[str]:
        """What is missing, by topic as it is called after remapping."""
        now = time.monotonic()
        if now - self._started < self._config.timeout:
            return []
        lines = self._sync.problems(now, self._config.timeout)
        for topic in (names.DEPTH_IMAGE, names.CAMERA_INFO, names.IMAGE):
            actual = self._node.resolve_topic_name(topic)
            lines = [line.replace(f" {topic} ", f" {actual} ") for line in lines]
        return lines

    def reconfigure(self, config: InputConfig) -> None:
        """Another slop or timeout from now on."""
        self._config = config
        self._sync.slop_ns = round(config.slop * 1e9)

    def destroy(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _on_image(self, raw: bytes) -> None:
        image = conversions.read_image(raw)
        self._add(names.IMAGE, image.stamp_ns, image)

    def _on_depth(self, raw: bytes) -> None:
        image = conversions.read_image(raw)
        self._add(names.DEPTH_IMAGE, image.stamp_ns, image)

    def _on_info(self, message: CameraInfo) -> None:
        self.info = message
        self._add(names.CAMERA_INFO, conversions.stamp_ns(message.header.stamp), message)

    def _add(self, topic: str, stamp_ns: int, payload: object) -> None:
        synced = self._sync.add(topic, stamp_ns, payload, time.monotonic())
        if synced is not None:
            self._diagnostics.event("frames")
            self._on_frame(self._lazy(synced))

    def _lazy(self, synced: Synced) -> LazyFrame:
        return LazyFrame(synced.stamp_ns, synced.image.frame_id,
                         lambda: self._decoder.decode(synced.image, synced.depth, synced.info))
