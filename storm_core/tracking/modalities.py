"""Which of the camera's modalities say nothing about an object in one frame."""

import numpy as np
from numpy.typing import NDArray

from storm_core.kernels import njit
from storm_core.tracking.histogram import BINS
from storm_core.types import Frame

DARK, BRIGHT = 10, 245
"""Grey levels [of 255] below and above which a sensor shows its own limits and not the scene."""

CLIPPED = 0.85
"""Share of the object's surroundings that must be at one limit before colour counts as missing."""

MEASURED = 0.2
"""Share of the object's visible points with depth below which depth counts as missing."""

UNDECIDED = np.full(BINS, 0.5, np.float32)
"""Foreground probabilities (4096,) of a picture without colour: the contour is then held by depth steps alone."""


def colorless(frame: Frame, center: NDArray[np.float64], diameter: float) -> bool:
    """The picture is black or overexposed in the square around an object.

    Args:
      center: of the object in the camera frame (3,) [m]. diameter: [m].
    """
    cam = frame.camera
    x, y, z = center.tolist()
    u, v = cam.fx * x / z + cam.cx, cam.fy * y / z + cam.cy
    reach = max(0.75 * diameter * cam.fx / z, 8.0)
    dark, bright = clipped_kernel(frame.rgb, u, v, reach, DARK, BRIGHT)
    return bool(max(dark, bright) > CLIPPED)


@njit(cache=True)
def clipped_kernel(rgb, u, v, reach, low, high):
    """Shares of the pixels (every third) within `reach` px of (u, v) whose channels are all < low, all > high."""
    h, w = rgb.shape[:2]
    count, dark, bright = 0, 0, 0
    for y in range(max(int(v - reach), 0), min(int(v + reach), h), 3):
        for x in range(max(int(u - reach), 0), min(int(u + reach), w), 3):
            r, g, b = rgb[y, x, 0], rgb[y, x, 1], rgb[y, x, 2]
            count += 1
            dark += max(r, g, b) < low
            bright += min(r, g, b) > high
    return dark / max(count, 1), bright / max(count, 1)
