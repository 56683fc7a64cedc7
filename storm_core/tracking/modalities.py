"""Which of the camera's modalities say nothing about an object in one frame."""

import numpy as np
from numpy.typing import NDArray

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
    u, v = cam.fx * center[0] / center[2] + cam.cx, cam.fy * center[1] / center[2] + cam.cy
    reach = max(0.75 * diameter * cam.fx / center[2], 8.0)
    x0, x1 = np.clip([u - reach, u + reach], 0, cam.width).astype(int)
    y0, y1 = np.clip([v - reach, v + reach], 0, cam.height).astype(int)
    patch = frame.rgb[y0:y1:3, x0:x1:3]
    if patch.size == 0:
        return False
    dark, bright = (patch.max(-1) < DARK).mean(), (patch.min(-1) > BRIGHT).mean()
    return bool(max(dark, bright) > CLIPPED)
