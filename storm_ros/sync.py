"""Pairing colour, depth and intrinsics by stamp. Knows nothing of ROS: payloads are opaque."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from storm_ros.names import CAMERA_INFO, DEPTH_IMAGE, IMAGE

RESTART_NS = 1_000_000_000
"""A stamp this much older than the newest one means that the recording or the clock has started again."""

_KEPT = 8


@dataclass(frozen=True, eq=False)
class Synced:
    """Payloads that belong together; stamp_ns is the colour image's."""

    stamp_ns: int
    image: Any
    depth: Any
    info: Any


class FrameSync:
    """Approximate synchronisation; newest wins, and what it gives out never goes back in time.

    Colour and depth must lie within the slop. The intrinsics need not: they belong to the camera rather than to one
    frame, so the newest ones serve when those of this very frame are lost, late, or not sent with every frame.
    """

    def __init__(self, slop_ns: int) -> None:
        self.slop_ns = slop_ns
        self._images: OrderedDict[int, Any] = OrderedDict()
        self._depths: OrderedDict[int, Any] = OrderedDict()
        self._infos: OrderedDict[int, Any] = OrderedDict()
        self._last_ns: int | None = None
        self._seen: dict[str, float] = {}
        self._newest_ns: dict[str, int] = {}
        self._paired_at: float | None = None

    def add(self, topic: str, stamp_ns: int, payload: Any, now: float) -> Synced | None:
        """A message has arrived.

        Args:
          topic: IMAGE, DEPTH_IMAGE or CAMERA_INFO.
          stamp_ns: of its header.
          payload: returned as it is in `Synced`.
          now: time of arrival on any steady clock [s].

        Returns:
          The newest complete frame, if this message completed one.
        """
        if stamp_ns < self._newest_ns.get(topic, stamp_ns) - RESTART_NS:
            self._restart()
        self._seen[topic] = now
        self._newest_ns[topic] = stamp_ns
        waiting = {IMAGE: self._images, DEPTH_IMAGE: self._depths, CAMERA_INFO: self._infos}[topic]
        waiting[stamp_ns] = payload
        while len(waiting) > _KEPT:
            waiting.popitem(last=False)
        return self._complete(now)

    def _complete(self, now: float) -> Synced | None:
        if not self._infos:
            return None
        newest_info = self._infos[next(reversed(self._infos))]
        for stamp_ns in sorted(self._images, reverse=True):
            if self._last_ns is not None and stamp_ns <= self._last_ns:
                return None
            nearest = min(self._depths, key=lambda other: abs(other - stamp_ns), default=None)
            if nearest is None or abs(nearest - stamp_ns) > self.slop_ns:
                continue
            frame = Synced(stamp_ns, self._images[stamp_ns], self._depths[nearest],
                           self._infos.get(stamp_ns, newest_info))
            for waiting, used in ((self._images, stamp_ns), (self._depths, nearest)):
                for old in [stamp for stamp in waiting if stamp <= used]:
                    del waiting[old]
            self._last_ns, self._paired_at = stamp_ns, now
            return frame
        return None

    def _restart(self) -> None:
        self._images.clear()
        self._depths.clear()
        self._newest_ns.clear()
        self._last_ns = None

    def problems(self, now: float, timeout: float) -> list[str]:
        """What keeps frames from being complete, one line per cause; empty while all is well.

        Args:
          now: on the clock given to `add` [s].
          timeout: silence that counts [s].
        """
        lines = []
        for topic in (IMAGE, DEPTH_IMAGE, CAMERA_INFO):
            if topic not in self._seen:
                lines.append(f"no message on {topic} yet")
            elif now - self._seen[topic] > timeout and topic != CAMERA_INFO:
                lines.append(f"no message on {topic} for {now - self._seen[topic]:.1f} s")
        both = {IMAGE, DEPTH_IMAGE} <= self._newest_ns.keys()  # not in the moment after a jump in time
        if not lines and both and (self._paired_at is None or now - self._paired_at > timeout):
            apart_ms = abs(self._newest_ns[IMAGE] - self._newest_ns[DEPTH_IMAGE]) * 1e-6
            lines.append(f"{IMAGE} and {DEPTH_IMAGE} arrive, but their stamps differ by {apart_ms:.0f} ms, more than "
                         f"input.slop ({self.slop_ns * 1e-6:.0f} ms)")
        return lines
