"""camera_info -> pinhole camera, and the remapping that makes distorted images fit it."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.errors import DatasetError, InputError
from storm_core.geometry.camera import PinholeCamera


@dataclass(frozen=True, eq=False)
class Lens:
    """A camera and, for distorted images, where each pixel of the ideal image is found in the recorded one.

    Attributes:
      map_x, map_y: (H, W) float32 [px], None when there is no distortion.
    """

    camera: PinholeCamera
    map_x: NDArray[np.float32] | None = None
    map_y: NDArray[np.float32] | None = None

    def undistort(self, rgb: NDArray[np.uint8],
                  depth: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Both images without distortion; depth is never mixed between neighbouring pixels."""
        if self.map_x is None:
            return rgb, depth
        return (cv2.remap(rgb, self.map_x, self.map_y, cv2.INTER_LINEAR),
                cv2.remap(depth, self.map_x, self.map_y, cv2.INTER_NEAREST))


def lens_of(info: Any, topic: str, *, rectified: bool) -> Lens:
    """From a camera_info message.

    Args:
      rectified: the images were rectified already, so P (not K and D) describes them.
    """
    k, d, p = (np.asarray(getattr(info, n) if hasattr(info, n) else getattr(info, n.upper()), float)
               for n in ("k", "d", "p"))
    try:
        if rectified and p.size == 12 and p[0] > 0:
            return Lens(PinholeCamera.from_matrix(p.reshape(3, 4)[:, :3], info.width, info.height))
        camera = PinholeCamera.from_matrix(k, info.width, info.height)
    except InputError as error:
        raise DatasetError(f"{topic}: {error}") from error
    if not (0 <= camera.cx < camera.width and 0 <= camera.cy < camera.height):
        raise DatasetError(f"{topic}: the principal point ({camera.cx:.1f}, {camera.cy:.1f}) lies outside the "
                           f"{camera.width}x{camera.height} image; these intrinsics belong to another image size")
    if not np.any(d):
        return Lens(camera)
    size, matrix = (camera.width, camera.height), camera.matrix
    model = info.distortion_model
    if model in ("plumb_bob", "rational_polynomial", ""):
        maps = cv2.initUndistortRectifyMap(matrix, d, np.eye(3), matrix, size, cv2.CV_32FC1)
    elif model in ("equidistant", "fisheye"):
        maps = cv2.fisheye.initUndistortRectifyMap(matrix, d[:4], np.eye(3), matrix, size, cv2.CV_32FC1)
    else:
        raise DatasetError(f"{topic}: distortion model {model!r} is not known; rectify the images first "
                           "(plumb_bob, rational_polynomial and equidistant are undistorted here)")
    return Lens(camera, maps[0], maps[1])
