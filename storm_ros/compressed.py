"""Images as image_transport compresses them: `compressed` colour (JPEG, PNG) and `compressedDepth` (PNG)."""

import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage

from storm_core.bags.compressed_depth import decode_compressed_depth
from storm_core.errors import InputError
from storm_ros.conversions import CDR_LITTLE_ENDIAN, aligned, read_text, stamp_ns

COLOR_SUFFIX, DEPTH_SUFFIX = "/compressed", "/compressedDepth"
"""What image_transport appends to the topic of the raw image."""


@dataclass(frozen=True, eq=False)
class CompressedFrame:
    """The fields of a sensor_msgs/CompressedImage, its data not copied out of the received bytes."""

    stamp_ns: int
    frame_id: str
    format: str
    data: Any


def read_compressed(raw: bytes) -> CompressedFrame:
    """A serialised sensor_msgs/CompressedImage without the cost of deserialising its data."""
    if raw[:2] != CDR_LITTLE_ENDIAN:
        message = deserialize_message(raw, CompressedImage)
        return CompressedFrame(stamp_ns(message.header.stamp), message.header.frame_id, message.format, message.data)
    sec, nanosec = struct.unpack_from("<iI", raw, 4)
    frame_id, at = read_text(raw, 12)
    form, at = read_text(raw, aligned(at))
    at = aligned(at)
    (size,) = struct.unpack_from("<I", raw, at)
    return CompressedFrame(sec * 1_000_000_000 + nanosec, frame_id, form, memoryview(raw)[at + 4:at + 4 + size])


def color_of(image: CompressedFrame) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB."""
    if "compressedDepth" in image.format:
        raise InputError(f"the colour topic carries depth ({image.format}); remap image to the colour camera")
    data = np.frombuffer(image.data, np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if pixels is None:
        raise InputError(f"a compressed image ({image.format or 'no format'}, {data.size} bytes) cannot be decoded; "
                         "it must be a whole JPEG or PNG")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def depth_of(image: CompressedFrame) -> NDArray[np.float32]:
    """(H, W) float32 metres, 0 = missing; InputError as `decode_compressed_depth`."""
    return decode_compressed_depth(image.format, image.data)
