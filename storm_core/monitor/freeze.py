"""Notices a stream that repeats the same image: a driver that hangs looks like a perfectly still scene."""

import threading

from storm_core.types import Frame

ROW_STEP = 16
"""Every so many-th row is compared: the noise of 30 rows is as unrepeatable as that of 480."""


class FreezeDetector:
    """Counts identical images in a row; real sensors have noise, so two equal images are never two exposures."""

    def __init__(self, frames: int) -> None:
        """frames: identical images in a row that count as frozen; below 2 no stream is ever called frozen."""
        self._frames = frames
        self._rows = b"", b""
        self._stamp_ns = -1
        self._repeats = 0
        self._lock = threading.Lock()

    def renew(self, frames: int) -> None:
        """Another number of frames from now on."""
        self._frames = frames

    def frozen(self, frame: Frame) -> bool:
        """Whether the stream is frozen as of this frame. A frame asked about twice counts once."""
        with self._lock:  # objects are judged on several threads
            if frame.stamp_ns != self._stamp_ns:
                rows = slice(None, None, ROW_STEP)
                seen = frame.rgb[rows].tobytes(), frame.depth[rows].tobytes()
                self._repeats = self._repeats + 1 if seen == self._rows else 0
                self._rows, self._stamp_ns = seen, frame.stamp_ns
            return 1 < self._frames <= self._repeats + 1
