"""Depth images as image_transport's `compressedDepth` packs them: a PNG of counts, or of quantised inverse depth."""

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.errors import InputError

_HEADER = struct.Struct("<iff")
"""Before the PNG of compressedDepth: kind of compression, then the two parameters of quantised inverse depth."""


def decode_compressed_depth(form: str, content: Any) -> NDArray[np.float32]:
    """(H, W) float32 metres, 0 = missing, from 16UC1 (mm) or quantised 32FC1.

    Args:
      form: `format` of the CompressedImage, e.g. `16UC1; compressedDepth png`. content: its bytes.

    Raises:
      InputError: another compression than PNG, or damaged content.
    """
    if "rvl" in form.lower():
        raise InputError(f"depth is compressed as {form!r}; set the publisher's compressedDepth format to png")
    data = np.frombuffer(content, np.uint8)
    quantised = form.startswith("32FC1")
    headed = "compressedDepth" in form
    body = data[_HEADER.size if headed else 0:]
    pixels = cv2.imdecode(body, cv2.IMREAD_UNCHANGED) if body.size else None
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise InputError(f"compressed depth ({form or 'no format'}, {data.size} bytes) must hold a 16-bit PNG")
    if not quantised:
        return pixels * np.float32(0.001)
    if not headed:
        raise InputError(f"compressed depth {form!r} lacks the parameters of its quantisation; use 16UC1")
    _, a, b = _HEADER.unpack_from(data.tobytes())
    inverse = pixels.astype(np.float32) - np.float32(b)
    there = (pixels > 0) & (inverse > 0)
    return np.where(there, np.float32(a) / np.where(there, inverse, 1), 0).astype(np.float32)
