"""ROS messages <-> core types: stamps, images, intrinsics, poses, covariances. Pure functions.

Quaternions are (x, y, z, w). Images go by `tobytes`: rclpy copies bytes at memory speed, any other type element by
element.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseWithCovariance, Quaternion, Vector3
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from storm_core.errors import InputError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.covariance import from_ros, to_ros
from storm_core.geometry.pose import from_rotation_translation
from storm_ros.quaternions import matrix_of, quaternion_of

_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
_YUV = {"yuv422": cv2.COLOR_YUV2RGB_UYVY, "uyvy": cv2.COLOR_YUV2RGB_UYVY,
        "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2, "yuyv": cv2.COLOR_YUV2RGB_YUY2}
CDR_LITTLE_ENDIAN = b"\x00\x01"


def stamp_ns(stamp: Time) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def to_time(ns: int) -> Time:
    return Time(sec=ns // 1_000_000_000, nanosec=ns % 1_000_000_000)


def header(ns: int, frame_id: str) -> Header:
    return Header(stamp=to_time(ns), frame_id=frame_id)


@dataclass(frozen=True, eq=False)
class RawImage:
    """The fields of a sensor_msgs/Image, its pixels not copied out of the received bytes."""

    stamp_ns: int
    frame_id: str
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


def read_image(raw: bytes) -> RawImage:
    """A serialised sensor_msgs/Image without the cost of deserialising its pixels."""
    if raw[:2] != CDR_LITTLE_ENDIAN:
        return raw_image(deserialize_message(raw, Image))
    sec, nanosec = struct.unpack_from("<iI", raw, 4)
    frame_id, at = read_text(raw, 12)
    at = aligned(at)
    height, width = struct.unpack_from("<II", raw, at)
    encoding, at = read_text(raw, at + 8)
    big_endian = raw[at]
    at = aligned(at + 1)
    step, size = struct.unpack_from("<II", raw, at)
    return RawImage(sec * 1_000_000_000 + nanosec, frame_id, height, width, encoding, big_endian, step,
                    memoryview(raw)[at + 8:at + 8 + size])


def read_text(raw: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from("<I", raw, at)
    return raw[at + 4:at + 3 + size].decode(), at + 4 + size


def aligned(at: int) -> int:
    """Next multiple of 4 after the 4 bytes of encapsulation."""
    return at + (-at) % 4


def raw_image(message: Image) -> RawImage:
    return RawImage(stamp_ns(message.header.stamp), message.header.frame_id, message.height, message.width,
                    message.encoding, message.is_bigendian, message.step, message.data)


def _pixels(image: RawImage, dtype: str, channels: int) -> NDArray[Any]:
    """(H, W, C) view of the message's bytes in `dtype`."""
    kind = np.dtype(dtype).newbyteorder(">" if image.is_bigendian else "<")
    row = image.width * channels * kind.itemsize
    if image.width < 1 or image.height < 1:
        raise InputError(f"image is empty ({image.width}x{image.height})")
    if image.step < row or len(image.data) < image.step * image.height:
        raise InputError(f"{image.encoding} image of {image.width}x{image.height} needs {row} bytes per row and "
                         f"{row * image.height} in all, got step {image.step} and {len(image.data)} bytes")
    rows = np.frombuffer(image.data, np.uint8, image.step * image.height).reshape(image.height, image.step)[:, :row]
    if image.step != row:
        rows = np.ascontiguousarray(rows)
    return rows.view(kind).reshape(image.height, image.width, channels)


def to_rgb(image: RawImage) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB from rgb8, bgr8, rgba8, bgra8, mono8 or yuv422."""
    if image.encoding in _YUV:
        if image.width % 2:
            raise InputError(f"{image.encoding} image is {image.width} px wide; it must be an even number")
        return cv2.cvtColor(np.ascontiguousarray(_pixels(image, "u1", 2)), _YUV[image.encoding])
    channels = _CHANNELS.get(image.encoding)
    if channels is None:
        raise InputError(f"colour image has encoding {image.encoding!r}; supported: {', '.join([*_CHANNELS, *_YUV])}")
    pixels = _pixels(image, "u1", channels)
    if image.encoding == "mono8":
        return np.repeat(pixels, 3, axis=2)
    if image.encoding.startswith("bgr"):
        return np.ascontiguousarray(pixels[..., 2::-1])
    return np.ascontiguousarray(pixels[..., :3])


def to_depth(image: RawImage) -> NDArray[np.float32]:
    """(H, W) float32 metres, 0 = missing, from 16UC1 (mm) or 32FC1 (m, nan or inf = missing)."""
    if image.encoding in ("16UC1", "mono16"):
        return _pixels(image, "u2", 1)[..., 0] * np.float32(0.001)
    if image.encoding == "32FC1":
        depth = _pixels(image, "f4", 1)[..., 0].astype(np.float32)
        depth[~(np.isfinite(depth) & (depth > 0))] = 0.0
        return depth
    raise InputError(f"depth image has encoding {image.encoding!r}; supported: 16UC1 (mm), 32FC1 (m)")


def to_mask(image: RawImage) -> NDArray[np.bool_]:
    """(H, W) bool from mono8: 0 is background, everything else object."""
    if image.encoding not in ("mono8", "8UC1"):
        raise InputError(f"mask has encoding {image.encoding!r}; it must be mono8")
    return _pixels(image, "u1", 1)[..., 0] > 0


def to_image(pixels: NDArray[Any], encoding: str, at: Header) -> Image:
    """Image message of (H, W) or (H, W, C) pixels that already have the encoding's type and channel order."""
    pixels = np.ascontiguousarray(pixels)
    message = Image(header=at, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, is_bigendian=0,
                    step=pixels.nbytes // pixels.shape[0])
    message.data = pixels.tobytes()
    return message


def depth_image(depth: NDArray[np.float32], at: Header) -> Image:
    """16UC1 message [mm] of depth (H, W) in metres; out of range becomes 0 = missing."""
    mm = np.rint(depth * np.float32(1000.0))
    return to_image(np.where((mm > 0) & (mm <= 65535), mm, 0).astype("<u2"), "16UC1", at)


def mask_image(mask: NDArray[np.bool_], at: Header) -> Image:
    return to_image(mask.astype(np.uint8) * 255, "mono8", at)


def to_camera(info: CameraInfo) -> PinholeCamera:
    """Intrinsics of the image as it is published. Raises InputError naming what is wrong with them."""
    return PinholeCamera.from_matrix(info.k, info.width, info.height)


def camera_info(camera: PinholeCamera, at: Header) -> CameraInfo:
    """CameraInfo of a rectified image."""
    k = camera.matrix
    message = CameraInfo(header=at, width=camera.width, height=camera.height, distortion_model="plumb_bob")
    message.d = [0.0] * 5
    message.k = k.ravel().tolist()
    message.r = np.eye(3).ravel().tolist()
    message.p = np.hstack([k, np.zeros((3, 1))]).ravel().tolist()
    return message


def to_pose(matrix: NDArray[np.float64]) -> Pose:
    """Pose message of a (4, 4) transform."""
    x, y, z, w = quaternion_of(matrix[:3, :3])
    tx, ty, tz = matrix[:3, 3].tolist()
    return Pose(position=Point(x=tx, y=ty, z=tz), orientation=Quaternion(x=x, y=y, z=z, w=w))


def from_pose(pose: Pose) -> NDArray[np.float64]:
    """(4, 4) transform of a Pose message. Raises InputError for a quaternion that is none."""
    t = pose.position
    return from_rotation_translation(rotation_of(pose.orientation), [t.x, t.y, t.z])


def rotation_of(q: Quaternion) -> NDArray[np.float64]:
    """(3, 3). Raises InputError when it is no unit quaternion."""
    xyzw = q.x, q.y, q.z, q.w
    if not abs(math.hypot(*xyzw) - 1.0) <= 1e-2:  # nan is neither
        raise InputError(f"orientation must be a unit quaternion, got (x, y, z, w) = {xyzw}")
    return matrix_of(xyzw)


def with_covariance(matrix: NDArray[np.float64], covariance: NDArray[np.float64]) -> PoseWithCovariance:
    """ROS form: covariance of (x, y, z) of the object's origin and rotations about the fixed camera axes, row-major.

    In the core, translation and rotation of an increment act at the camera's origin; in ROS at the object's.
    """
    return PoseWithCovariance(pose=to_pose(matrix), covariance=to_ros(matrix, covariance).ravel().tolist())


def from_covariance(message: PoseWithCovariance) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(4, 4) pose and (6, 6) covariance in the core's form; inverse of `with_covariance`."""
    matrix = from_pose(message.pose)
    return matrix, from_ros(matrix, np.asarray(message.covariance, float).reshape(6, 6))


def vector(values: Sequence[float]) -> Vector3:
    x, y, z = (float(v) for v in values)
    return Vector3(x=x, y=y, z=z)
