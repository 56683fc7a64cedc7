"""Messages of one moment -> Frame: pixels decoded, distortion taken out, depth seen from the colour camera."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo

from storm_core.bags.lens import Lens, lens_of
from storm_core.errors import InputError
from storm_core.geometry.depth import register_depth
from storm_core.types import Frame
from storm_ros import compressed, conversions
from storm_ros.compressed import CompressedFrame
from storm_ros.conversions import RawImage

logger = logging.getLogger(__name__)

Image = RawImage | CompressedFrame
CameraPose = Callable[[str, int], NDArray[np.float64] | None]
"""(frame of the camera, stamp [ns]) -> fixed_from_cam (4, 4), or None when it is not known."""

Where = Callable[[str, str, int], NDArray[np.float64]]
"""(target frame, source frame, stamp [ns]) -> target_from_source (4, 4); raises InputError when tf does not say."""


@dataclass(frozen=True)
class DepthCamera:
    """A depth camera that is not the colour camera.

    Attributes:
      info: its intrinsics as they are now; None while none have arrived.
      topic: of its image, for errors and to tell rectified ones apart.
      where: tf.
    """

    info: Callable[[], CameraInfo | None]
    topic: str
    where: Where


class FrameDecoder:
    """Keeps the lenses it saw last; a camera that changes its resolution or focus gets a new one."""

    def __init__(self, image_topic: str, depth_camera: DepthCamera | None = None,
                 camera_pose: CameraPose = lambda frame_id, stamp_ns: None) -> None:
        """
        Args:
          image_topic: its full name, by which it is called in errors and which tells rectified images apart.
          depth_camera: None when depth is aligned to colour already.
          camera_pose: where the camera is in something that does not move.
        """
        self._camera_pose = camera_pose
        self._topic = image_topic
        self._depth_camera = depth_camera
        self._wondered = False
        self._lenses: dict[str, tuple[tuple[object, ...], Lens]] = {}

    def decode(self, image: Image, depth: Image, info: CameraInfo) -> Frame:
        """Raises StormError when the messages do not make a frame."""
        lens = self._lens(self._topic, info)
        rgb = compressed.color_of(image) if isinstance(image, CompressedFrame) else conversions.to_rgb(image)
        metres = compressed.depth_of(depth) if isinstance(depth, CompressedFrame) else conversions.to_depth(depth)
        if self._depth_camera is not None:
            if rgb.shape[:2] == (lens.camera.height, lens.camera.width) and lens.map_x is not None:
                rgb = cv2.remap(rgb, lens.map_x, lens.map_y, cv2.INTER_LINEAR)
            metres = self._registered(self._depth_camera, metres, depth, image.frame_id, lens)
        elif depth.frame_id.lstrip("/") != image.frame_id.lstrip("/") and not self._wondered:
            self._wondered = True
            logger.warning("depth is in frame %r, colour in %r; if depth is not aligned to colour, set "
                           "input.align_depth", depth.frame_id, image.frame_id)
        if self._depth_camera is None and rgb.shape[:2] == metres.shape == (lens.camera.height, lens.camera.width):
            rgb, metres = lens.undistort(rgb, metres)
        return Frame(rgb=rgb, depth=metres, camera=lens.camera, stamp_ns=image.stamp_ns, frame_id=image.frame_id,
                     fixed_from_cam=self._camera_pose(image.frame_id, image.stamp_ns))

    def _registered(self, camera: DepthCamera, metres: NDArray[np.float32], depth: Image, color_frame: str,
                    color: Lens) -> NDArray[np.float32]:
        info = camera.info()
        if info is None:
            raise InputError(f"input.align_depth is set, but nothing has arrived yet that describes the camera of "
                             f"{camera.topic}; remap depth_camera_info to its camera_info")
        lens = self._lens(camera.topic, info)
        if lens.map_x is not None and metres.shape == lens.map_x.shape:
            metres = cv2.remap(metres, lens.map_x, lens.map_y, cv2.INTER_NEAREST)
        color_from_depth = camera.where(color_frame, depth.frame_id, depth.stamp_ns)
        return register_depth(metres, lens.camera, color_from_depth, color.camera)

    def _lens(self, topic: str, info: CameraInfo) -> Lens:
        key = (info.width, info.height, info.distortion_model, *info.k, *info.d, *info.p)
        if topic not in self._lenses or self._lenses[topic][0] != key:
            self._lenses[topic] = (key, lens_of(info, topic, rectified="rect" in topic))
        return self._lenses[topic][1]
