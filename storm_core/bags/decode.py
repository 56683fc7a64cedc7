"""ROS message content -> arrays, for messages that `rosbags` deserialised (no ROS needed)."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.bags.compressed_depth import decode_compressed_depth
from storm_core.errors import DatasetError, InputError

COLOR_ENCODINGS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "8UC3": 3, "mono8": 1}
DEPTH_ENCODINGS = {"16UC1": 1e-3, "mono16": 1e-3, "32FC1": 1.0}
"""Encoding -> metres per count."""


def stamp_ns(message: Any) -> int:
    """Header stamp [ns]."""
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def is_compressed(message: Any) -> bool:
    return hasattr(message, "format")


def kind_of(message: Any) -> str:
    """`color`, `depth`, or `` for an image that is neither (e.g. infrared)."""
    if is_compressed(message):
        return "depth" if "compressedDepth" in message.format or message.format.startswith("16UC1") else "color"
    if message.encoding in DEPTH_ENCODINGS:
        return "depth"
    return "color" if message.encoding in COLOR_ENCODINGS and message.encoding != "mono8" else ""


def decode_color(message: Any, topic: str) -> NDArray[np.uint8]:
    """(H, W, 3) RGB."""
    if is_compressed(message):
        pixels = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise DatasetError(f"{topic}: a compressed image ({message.format}) cannot be decoded; it is damaged")
        return np.ascontiguousarray(pixels[..., ::-1])
    channels = COLOR_ENCODINGS.get(message.encoding)
    if channels is None:
        raise DatasetError(f"{topic} has encoding {message.encoding}; colour must be one of "
                           f"{', '.join(COLOR_ENCODINGS)}")
    pixels = _rows(message, topic, np.dtype(np.uint8), channels)
    if channels == 1:
        return np.repeat(pixels, 3, -1)
    if message.encoding.startswith("bgr") or message.encoding == "8UC3":
        return np.ascontiguousarray(pixels[..., 2::-1])
    return np.ascontiguousarray(pixels[..., :3])


def decode_depth(message: Any, topic: str) -> NDArray[np.float32]:
    """(H, W) z-depth [m], 0 = missing."""
    if is_compressed(message):
        try:
            return decode_compressed_depth(message.format, message.data)
        except InputError as error:
            raise DatasetError(f"{topic}: {error}") from error
    unit = DEPTH_ENCODINGS.get(message.encoding)
    if unit is None:
        raise DatasetError(f"{topic} has encoding {message.encoding}; depth must be one of "
                           f"{', '.join(DEPTH_ENCODINGS)}")
    kind = np.dtype(np.float32 if message.encoding == "32FC1" else np.uint16)
    raw = _rows(message, topic, kind, 1)[..., 0].astype(np.float32)
    return np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0) * np.float32(unit)


def _rows(message: Any, topic: str, kind: np.dtype, channels: int) -> NDArray[Any]:
    """(H, W, channels) pixels, without the padding at the end of rows and in this machine's byte order."""
    h, w, step = message.height, message.width, message.step
    need = w * channels * kind.itemsize
    data = np.asarray(message.data, np.uint8)
    if h < 1 or w < 1 or step < need or data.size < h * step:
        raise DatasetError(f"{topic}: a {w}x{h} {message.encoding} image needs {need} bytes a row and {h * need} in "
                           f"all, the message has step {step} and {data.size} bytes")
    rows = np.ascontiguousarray(data[:h * step].reshape(h, step)[:, :need])
    return rows.view(kind.newbyteorder(">" if message.is_bigendian else "<")).reshape(h, w, channels)
