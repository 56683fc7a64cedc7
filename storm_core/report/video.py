"""Overlay videos: mp4 for players, a small GIF for web pages."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from storm_core.errors import StormError

Image = NDArray[np.uint8]


class VideoWriter:
    """mp4 and, when asked for, a GIF of the same images; used as a context manager.

    The GIF has at most `gif_frames` images of `gif_width` px, chosen so that all of the recording is seen.
    """

    def __init__(self, mp4: Path, *, rate_hz: float, gif: Path | None = None, frames: int = 0, gif_frames: int = 90,
                 gif_width: int = 320) -> None:
        """frames: how many images will come (for the choice of the GIF's)."""
        self._mp4, self._gif, self._rate = mp4, gif, rate_hz
        self._every = max(1, -(-frames // gif_frames))
        self._width = gif_width
        self._writer: Any = None
        self._small: list[Any] = []
        self._count = 0

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.release()
        if kind is None and self._gif is not None and self._small:
            self._small[0].save(self._gif, save_all=True, append_images=self._small[1:], loop=0, optimize=True,
                                duration=max(20, round(1000 * self._every / self._rate)))

    def add(self, image: Image) -> None:
        """Append one image (H, W, 3) RGB; all must have the size of the first."""
        h, w = image.shape[:2]
        if self._writer is None:
            self._writer = cv2.VideoWriter(str(self._mp4), cv2.VideoWriter.fourcc(*"mp4v"), self._rate, (w, h))
            if not self._writer.isOpened():
                raise StormError(f"cannot write the video {self._mp4}; choose a writable folder or --no-video")
        self._writer.write(np.ascontiguousarray(image[..., ::-1]))
        if self._gif is not None and self._count % self._every == 0:
            size = (self._width, round(h * self._width / w))
            small = PillowImage.fromarray(image).resize(size, PillowImage.Resampling.BOX)
            self._small.append(small.quantize(128))
        self._count += 1


def key_frames(interesting: Sequence[bool], count: int) -> list[int]:
    """`count` frame indices: the interesting ones first (spread evenly if too many), then evenly spaced ones."""
    n = len(interesting)
    spread: Callable[[list[int], int], list[int]] = lambda pool, k: [  # noqa: E731
        pool[round(i)] for i in np.linspace(0, len(pool) - 1, min(k, len(pool)))] if pool else []
    chosen = set(spread([i for i, flag in enumerate(interesting) if flag], count))
    for i in spread(list(range(n)), count):
        if len(chosen) >= count:
            break
        chosen.add(i)
    return sorted(chosen)
