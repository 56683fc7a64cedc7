"""Notices a stream that repeats the same image: a driver that hangs looks like a perfectly still scene."""

import zlib

from storm_core.types import Frame


class FreezeDetector:
    """Counts identical images in a row; real sensors have noise, so two equal images are never two exposures."""

    def __init__(self, frames: int) -> None:
        """frames: identical images in a row that count as frozen."""
        self._frames = frames
        self._digest = 0
        self._stamp_ns = -1
        self._repeats = 0

    def frozen(self, frame: Frame) -> bool:
        """Whether the stream is frozen as of this frame. A frame asked about twice counts once."""
        if frame.stamp_ns == self._stamp_ns:
            return self._repeats >= self._frames - 1
        digest = zlib.crc32(frame.depth[::4].tobytes(), zlib.crc32(frame.rgb[::4].tobytes()))
        self._repeats = self._repeats + 1 if digest == self._digest else 0
        self._digest, self._stamp_ns = digest, frame.stamp_ns
        return self._repeats >= self._frames - 1
