"""Faults put into any sequence of frames: what cameras, drivers, networks and people do to a recording.

Every fault takes frames in order and gives frames in order. `span` = range of positions in the sequence that it hits.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import cv2
import numpy as np

from storm_core.types import Frame


def occlude(frames: Iterable[Frame], span: range, *, box: tuple[int, int, int, int], distance: float,
            color: tuple[int, int, int] = (120, 96, 80)) -> Iterator[Frame]:
    """A flat thing in front of the scene.

    Args:
      box: (x0, y0, x1, y1) half-open [px]. distance: its z-depth [m]. color: RGB.
    """
    x0, y0, x1, y1 = box
    for k, frame in enumerate(frames):
        if k in span:
            rgb, depth = frame.rgb.copy(), frame.depth.copy()
            patch = depth[y0:y1, x0:x1]
            front = (patch == 0) | (patch > distance)
            rgb[y0:y1, x0:x1][front] = color
            patch[front] = distance
            frame = replace(frame, rgb=rgb, depth=depth)
        yield frame


def freeze(frames: Iterable[Frame], span: range) -> Iterator[Frame]:
    """A stream that repeats its last picture under new stamps."""
    held: Frame | None = None
    for k, frame in enumerate(frames):
        if k in span and held is not None:
            yield replace(held, stamp_ns=frame.stamp_ns)
        else:
            held = frame
            yield frame


def lose_depth(frames: Iterable[Frame], span: range, *, share: float, seed: int = 0) -> Iterator[Frame]:
    """Depth that is missing in clumps covering about `share` of the image."""
    for k, frame in enumerate(frames):
        if k in span:
            h, w = frame.depth.shape
            rng = np.random.default_rng([seed, k])
            field = cv2.GaussianBlur(rng.standard_normal((h, w), np.float32), (0, 0), 6)
            frame = replace(frame, depth=np.where(field < np.quantile(field, share), np.float32(0), frame.depth))
        yield frame


def blur(frames: Iterable[Frame], span: range, *, length: int, angle: float = 0.0) -> Iterator[Frame]:
    """Motion blur of the colour image along a line of `length` px at `angle` [rad] to the x axis."""
    kernel = np.zeros((length, length), np.float32)
    reach = (length - 1) / 2
    for s in np.linspace(-reach, reach, 4 * length):
        kernel[int(round(reach + s * np.sin(angle))), int(round(reach + s * np.cos(angle)))] = 1
    kernel /= kernel.sum()
    for k, frame in enumerate(frames):
        yield replace(frame, rgb=cv2.filter2D(frame.rgb, -1, kernel)) if k in span else frame


def delay_depth(frames: Iterable[Frame], span: range, *, by: int) -> Iterator[Frame]:
    """Depth that is `by` frames older than the colour it comes with: a broken synchronisation."""
    past: deque[Frame] = deque(maxlen=by + 1)
    for k, frame in enumerate(frames):
        past.append(frame)
        yield replace(frame, depth=past[0].depth) if k in span else frame


def skip(frames: Iterable[Frame], span: range) -> Iterator[Frame]:
    """Frames that never arrive."""
    return (frame for k, frame in enumerate(frames) if k not in span)


def shift_stamps(frames: Iterable[Frame], span: range, *, by_ns: int) -> Iterator[Frame]:
    """A clock that jumps by `by_ns` [ns], e.g. when it is set."""
    for k, frame in enumerate(frames):
        yield replace(frame, stamp_ns=frame.stamp_ns + by_ns) if k in span else frame
