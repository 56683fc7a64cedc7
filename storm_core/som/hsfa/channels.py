"""From pixels to the network's input: colour, and what depth says about shape and size."""

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.camera import PinholeCamera
from storm_core.som.hsfa.window import Window

CHANNELS = 8
"""RGB (3, ImageNet-normalised), surface normal (3), log size of a pixel (1), depth known (1)."""

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
"""Of ImageNet, which DINOv2 was trained with."""


def channels(rgb: NDArray[np.uint8], depth: NDArray[np.float32], camera: PinholeCamera, window: Window,
             diameter: float) -> NDArray[np.float32]:
    """(8, S, S) input of one picture.

    Args:
      rgb: (H, W, 3). depth: (H, W) [m], 0 = not measured; all zeros for a picture without depth.
      diameter: of the wanted object [m]: the size channel is log(diameter in input pixels / S), so that the network
        knows how large the object would be at each place.
    """
    s = window.size
    out = np.zeros((CHANNELS, s, s), np.float32)
    color = window.cut(rgb, fill=128).astype(np.float32) / 255
    out[:3] = ((color - MEAN) / STD).transpose(2, 0, 1)
    z = window.cut(depth, nearest=True)
    known = z > 0
    if not known.any():
        return out
    focal = camera.fx * s / window.side
    out[3:6] = _normals(z, known, camera, window)
    out[6] = np.where(known, np.log(np.maximum(diameter * focal / (np.where(known, z, 1.0) * s), 1e-3)), 0)
    out[7] = known
    return out


def _normals(z: NDArray[np.float32], known: NDArray[np.bool_], camera: PinholeCamera,
             window: Window) -> NDArray[np.float32]:
    """(3, S, S) unit normals of the depth samples, facing the camera; 0 where depth or a neighbour is unknown."""
    s = window.size
    columns, rows = np.meshgrid(np.arange(s), np.arange(s))
    u = window.px_from_crop[0, 0] * columns + window.px_from_crop[0, 2]
    v = window.px_from_crop[1, 1] * rows + window.px_from_crop[1, 2]
    smooth = cv2.blur(np.where(known, z, 0), (3, 3)) / np.maximum(cv2.blur(known.astype(np.float32), (3, 3)), 1e-6)
    points = np.stack([(u - camera.cx) / camera.fx * smooth, (v - camera.cy) / camera.fy * smooth, smooth], -1)
    right, down = np.zeros_like(points), np.zeros_like(points)
    right[:, 1:-1] = points[:, 2:] - points[:, :-2]
    down[1:-1] = points[2:] - points[:-2]
    normal = np.cross(down, right)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    whole = cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    # Across a step in depth the difference is no surface.
    step = np.maximum(np.abs(right[..., 2]), np.abs(down[..., 2])) < 0.1 * smooth
    good = (whole & step)[..., None] & (length > 0)
    return np.where(good, normal / np.maximum(length, 1e-12), 0).transpose(2, 0, 1).astype(np.float32)
