"""A frame in which what has been found is out of the way, so that the next search finds another instance."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.silhouette import modal_mask
from storm_core.geometry.mesh import ObjectModel
from storm_core.types import Frame

AT_THE_LENS = 0.05
"""Depth [m] given to explained pixels: whatever lies behind them counts as occluded, and nothing is searched there."""

RIM = 5
"""Pixels beside a silhouette that belong to it as well: blur, small pose errors."""


def without(frame: Frame, mask: NDArray[np.bool_]) -> Frame:
    """The frame with the pixels of `mask` (H, W) turned into something right before the camera."""
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)) > 0
    return replace(frame, depth=np.where(grown, np.float32(AT_THE_LENS), frame.depth))


def without_objects(frame: Frame, model: ObjectModel, cam_from_objs: NDArray[np.float64]) -> Frame:
    """The frame without the objects of this mesh at these poses (K, 4, 4)."""
    for pose in cam_from_objs:
        frame = without(frame, modal_mask(frame, model, pose))
    return frame
