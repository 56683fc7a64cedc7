"""The three input topics of a node, synchronised; pixels stay serialised bytes until a stage wants them."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage
from sensor_msgs.msg import Image as ImageMessage

from storm_core.config import InputConfig
from storm_ros import compressed, conversions, names, qos
from storm_ros.camera_motion import CameraMotion, listen_to_tf
from storm_ros.frame_decoder import DepthCamera, FrameDecoder, Image
from storm_ros.frames import LazyFrame
from storm_ros.sync import FrameSync, Synced

if TYPE_CHECKING:
    from storm_ros.tf_listener import TfListener


class CameraInput:
    """Subscribes to image, depth_image and camera_info and hands on every synchronised frame, undecoded."""

    def __init__(self, node: Node, config: InputConfig, on_frame: Callable[[LazyFrame], None]) -> None:
        """
        Args:
          node: the subscriber.
          config: slop and timeout.
          on_frame: called in the executor for every frame, stamps increasing.
        """
        self._node, self._config, self._on_frame = node, config, on_frame
        self._sync = FrameSync(round(config.slop * 1e9))
        self._started = time.monotonic()
        self.info: CameraInfo | None = None
        self._depth_info: CameraInfo | None = None
        self._tf: TfListener | None = None
        depth_camera = None
        if config.align_depth:
            self._tf = listen_to_tf(node)
            depth_camera = DepthCamera(lambda: self._depth_info, node.resolve_topic_name(names.DEPTH_IMAGE),
                                       self._tf.lookup)
        self._motion = CameraMotion(node, config.fixed_frame)
        self._decoder = FrameDecoder(node.resolve_topic_name(names.IMAGE), depth_camera, self._motion.pose)
        # Longest first: `image` is also the end of `depth_image`.
        self._actual = {topic: node.resolve_topic_name(topic)
                        for topic in (names.DEPTH_IMAGE, names.CAMERA_INFO, names.IMAGE)}
        self._subscriptions = [
            self._images(names.IMAGE, compressed.COLOR_SUFFIX if config.image_transport == "compressed" else ""),
            self._images(names.DEPTH_IMAGE,
                         compressed.DEPTH_SUFFIX if config.depth_transport == "compressedDepth" else ""),
            node.create_subscription(CameraInfo, names.CAMERA_INFO, self._on_info, qos.sensor_data(),
                                     qos_overriding_options=qos.overridable())]
        if config.align_depth:
            self._subscriptions.append(node.create_subscription(
                CameraInfo, names.DEPTH_CAMERA_INFO, self._on_depth_info, qos.sensor_data()))

    def _images(self, topic: str, suffix: str) -> Subscription:
        """Images of a topic, raw or compressed: bytes, of which the header alone is read here."""
        read: Callable[[bytes], Image] = compressed.read_compressed if suffix else conversions.read_image

        def receive(raw: bytes) -> None:
            image = read(raw)
            self._add(topic, image.stamp_ns, image)

        self._actual[topic] += suffix
        return self._node.create_subscription(
            CompressedImage if suffix else ImageMessage, self._actual[topic], receive,
            qos.sensor_data(), raw=True, qos_overriding_options=qos.overridable())

    def problems(self) -> list[str]:
        """What is missing, by topic as it is called after remapping."""
        now = time.monotonic()
        if now - self._started < self._config.timeout:
            return []
        lines = self._sync.problems(now, self._config.timeout)
        for topic, actual in self._actual.items():
            lines = [line.replace(f" {topic} ", f" {actual} ") for line in lines]
        return lines + self._motion.problems()

    def reconfigure(self, config: InputConfig) -> None:
        """Another slop or timeout from now on."""
        self._config = config
        self._sync.slop_ns = round(config.slop * 1e9)

    def destroy(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._motion.destroy()
        if self._tf is not None:
            self._tf.destroy()

    def _on_info(self, message: CameraInfo) -> None:
        self.info = message
        self._add(names.CAMERA_INFO, conversions.stamp_ns(message.header.stamp), message)

    def _on_depth_info(self, message: CameraInfo) -> None:
        self._depth_info = message

    def _add(self, topic: str, stamp_ns: int, payload: object) -> None:
        synced = self._sync.add(topic, stamp_ns, payload, time.monotonic())
        if synced is not None:
            self._on_frame(self._lazy(synced))

    def _lazy(self, synced: Synced) -> LazyFrame:
        return LazyFrame(synced.stamp_ns, synced.image.frame_id,
                         lambda: self._decoder.decode(synced.image, synced.depth, synced.info))
