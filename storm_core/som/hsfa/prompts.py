"""Prompts for a promptable segmenter, read off a mask."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.errors import InputError

GROW = 0.1
"""The box is larger than the mask by this share of its longer side, on every side."""


class Prompts(NamedTuple):
    """point: (u, v) [px] on the mask. box: (x0, y0, x1, y1), half-open [px], inside the picture."""

    point: tuple[float, float]
    box: tuple[float, float, float, float]


def prompts_from(mask: NDArray[np.bool_]) -> Prompts:
    """The centroid of a mask, or the pixel deepest inside it where the centroid lies beside it, and a grown box.

    Raises:
      InputError: the mask is empty; there is nothing to ask about, and a made-up prompt would be answered too.
    """
    if not mask.any():
        raise InputError("an empty mask gives no prompt; nothing was found in this picture")
    rows, columns = np.nonzero(mask)
    u, v = float(columns.mean()), float(rows.mean())
    if not mask[round(v), round(u)]:
        inside = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        v, u = (float(i) for i in np.unravel_index(inside.argmax(), inside.shape))
    height, width = mask.shape
    x0, y0, x1, y1 = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    more = GROW * max(x1 - x0, y1 - y0)
    return Prompts((u, v), (max(0.0, x0 - more), max(0.0, y0 - more), min(float(width), x1 + more),
                            min(float(height), y1 + more)))
