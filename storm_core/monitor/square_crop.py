"""What the pair model looks at: a square of the picture around an object."""

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.types import Frame

MARGIN = 1.2
"""Side of the square crop / larger side of the projected box of the model."""


def square_crop(frame: Frame, model: ObjectModel, cam_from_obj: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """(size, size, 3) around the projected corners of the model's box; shifted into the picture where it can be."""
    low, high = model.vertices.min(0), model.vertices.max(0)
    corners = np.array(np.meshgrid(*np.stack([low, high], 1))).reshape(3, -1).T.astype(float)
    points = corners @ cam_from_obj[:3, :3].T + cam_from_obj[:3, 3]
    z = np.maximum(points[:, 2], 0.02)
    camera = frame.camera
    pixels = np.stack([camera.fx * points[:, 0] / z + camera.cx, camera.fy * points[:, 1] / z + camera.cy], 1)
    side = float(np.clip(MARGIN * np.ptp(pixels, 0).max(), 8, min(camera.width, camera.height)))
    first = (pixels.min(0) + pixels.max(0) - side) / 2
    first = np.clip(first, 0, np.array([camera.width, camera.height]) - side)
    x, y, n = int(first[0]), int(first[1]), int(side)
    return cv2.resize(frame.rgb[y:y + n, x:x + n], (size, size), interpolation=cv2.INTER_AREA)
