"""Frames waiting to be used: decoded only when somebody looks, remembered for the stages that look back."""

import threading
from collections.abc import Callable

from storm_core.types import Frame
from storm_ros.sync import RESTART_NS

BACKLOG = 3
"""Frames that wait when a node is held up for a moment, 100 ms at 30 Hz, instead of being skipped."""


class LazyFrame:
    """A synchronised frame whose pixels are converted on first use, in the thread that uses them."""

    def __init__(self, stamp_ns: int, frame_id: str, decode: Callable[[], Frame]) -> None:
        self.stamp_ns = stamp_ns
        self.frame_id = frame_id
        self._decode: Callable[[], Frame] | None = decode
        self._frame: Frame | None = None
        self._lock = threading.Lock()

    def frame(self) -> Frame:
        """The decoded frame. Raises InputError when the messages do not make one."""
        with self._lock:
            if self._decode is not None:
                self._frame = self._decode()
                self._decode = None
            assert self._frame is not None
            return self._frame


class FrameBuffer:
    """The newest `dense` frames, then every `every`-th of older ones, `sparse` in number, and pinned ones.

    A search can take longer than a full-rate buffer of reasonable size lasts; what tracking needs to get from the
    searched frame to the present are that very frame and stepping stones.
    """

    def __init__(self, dense: int = 30, sparse: int = 30, every: int = 3) -> None:
        self._dense, self._sparse, self._every = dense, sparse, every
        self._frames: list[tuple[int, LazyFrame]] = []
        self._pinned: dict[str, int] = {}
        self._count = 0
        self._lock = threading.Lock()

    def push(self, frame: LazyFrame) -> None:
        """Add the newest frame. A jump back in time empties the buffer."""
        with self._lock:
            if self._frames and frame.stamp_ns < self._frames[-1][1].stamp_ns - RESTART_NS:
                self._frames.clear()
            self._frames.append((self._count, frame))
            self._count += 1
            cut = max(0, len(self._frames) - self._dense)
            pinned = set(self._pinned.values())
            old = [(n, f) for n, f in self._frames[:cut] if n % self._every == 0 or f.stamp_ns in pinned]
            surplus = len(old) - self._sparse
            old = [(n, f) for k, (n, f) in enumerate(old) if k >= surplus or f.stamp_ns in pinned]
            self._frames[:cut] = old

    def pin(self, owner: str, stamp_ns: int) -> None:
        """Keep the frame of this stamp until the owner pins another one."""
        with self._lock:
            self._pinned[owner] = stamp_ns

    def unpin(self, owner: str) -> None:
        with self._lock:
            self._pinned.pop(owner, None)

    def newest(self) -> LazyFrame | None:
        with self._lock:
            return self._frames[-1][1] if self._frames else None

    def nearest(self, stamp_ns: int, tolerance_ns: int = 0) -> LazyFrame | None:
        """The frame of this stamp, or else the closest one within the tolerance; None when there is none."""
        with self._lock:
            best = min((f for _, f in self._frames), key=lambda f: abs(f.stamp_ns - stamp_ns), default=None)
        return best if best is not None and abs(best.stamp_ns - stamp_ns) <= tolerance_ns else None

    def after(self, stamp_ns: int) -> list[LazyFrame]:
        """All frames newer than the stamp, oldest first."""
        with self._lock:
            return [f for _, f in self._frames if f.stamp_ns > stamp_ns]
