"""Pinhole camera. Optical frame: x right, y down, z forward. Pixel centres are at integer coordinates."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from storm_core.errors import InputError

_ROUNDED = 1e-6
"""Entries of K that must be 0 or 1 may be off by rounding."""
_SKEW = 1e-3
"""Skew / fx that moves no pixel of a usual image by half a pixel, so that it may be left out."""


@dataclass(frozen=True)
class PinholeCamera:
    """Intrinsics of an undistorted image; u = fx X/Z + cx, v = fy Y/Z + cy, pixel (0, 0) has its centre at (0, 0).

    Attributes:
      width, height: image size [px].
      fx, fy, cx, cy: focal lengths and principal point [px].
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        values = (self.fx, self.fy, self.cx, self.cy)
        if self.width < 1 or self.height < 1:
            raise InputError(f"camera size must be positive, got {self.width}x{self.height}")
        if not np.isfinite(values).all() or self.fx <= 0 or self.fy <= 0:
            raise InputError(
                f"camera intrinsics must be finite with fx, fy > 0, got fx={self.fx} fy={self.fy} "
                f"cx={self.cx} cy={self.cy}; is camera_info filled in?"
            )

    @staticmethod
    def from_matrix(k: ArrayLike, width: int, height: int) -> "PinholeCamera":
        """From a 3x3 matrix K [px] of a whole image (row-major list of 9 accepted).

        Raises:
          InputError: K is not 9 numbers, has skew or another last row than 0 0 1, or is implausible for this image
            size (crops may be; whole images may not).
        """
        m = np.asarray(k, float)
        if m.size != 9:
            raise InputError(f"K must have 9 numbers, got {m.size}")
        m = m.reshape(3, 3)
        camera = PinholeCamera(width, height, float(m[0, 0]), float(m[1, 1]), float(m[0, 2]), float(m[1, 2]))
        # A transposed K would otherwise pass with the principal point in the corner.
        if np.abs(m[[1, 2, 2], [0, 0, 1]]).max() > _ROUNDED or abs(m[2, 2] - 1) > _ROUNDED:
            raise InputError(f"K must be [fx 0 cx; 0 fy cy; 0 0 1], got {m.tolist()}; is it transposed?")
        if abs(m[0, 1]) > _SKEW * camera.fx:
            raise InputError(f"K has a skew of {m[0, 1]:.4g} px, which is not supported; rectify the images")
        camera.require_plausible()
        return camera

    def require_plausible(self) -> None:
        """InputError when the intrinsics cannot belong to a whole image of this size."""
        if not (-self.width < self.cx < 2 * self.width and -self.height < self.cy < 2 * self.height):
            raise InputError(
                f"principal point ({self.cx}, {self.cy}) lies far outside the {self.width}x{self.height} "
                "image; the intrinsics belong to another image size"
            )
        if not 0.2 < self.fx / self.fy < 5 or not 0.1 * self.width < self.fx < 20 * self.width:
            raise InputError(
                f"focal lengths fx={self.fx}, fy={self.fy} are implausible for a {self.width}x{self.height} "
                "image; K must be in pixels"
            )

    @property
    def matrix(self) -> NDArray[np.float64]:
        """K, (3, 3)."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    @property
    def vector(self) -> NDArray[np.float64]:
        """(fx, fy, cx, cy), the form the kernels take."""
        return np.array([self.fx, self.fy, self.cx, self.cy])

    def project(self, points_cam: ArrayLike) -> NDArray[np.float64]:
        """Pixels (..., 2) of camera-frame points (..., 3) [m]; points with z <= 0 give nan."""
        p = np.asarray(points_cam, float)
        z = np.where(p[..., 2] > 0, p[..., 2], np.nan)
        return np.stack([self.fx * p[..., 0] / z + self.cx, self.fy * p[..., 1] / z + self.cy], -1)

    def back_project(self, px: ArrayLike, z: ArrayLike) -> NDArray[np.float64]:
        """Camera-frame points (..., 3) of pixels (..., 2) at z-depths (...) [m]."""
        p, z = np.asarray(px, float), np.asarray(z, float)
        return np.stack([(p[..., 0] - self.cx) / self.fx * z, (p[..., 1] - self.cy) / self.fy * z, z], -1)

    def crop(self, x0: float, y0: float, scale: float, width: int, height: int) -> "PinholeCamera":
        """Camera of a crop: crop pixel = scale * (pixel - (x0, y0)), so neighbouring centres stay exact."""
        return PinholeCamera(
            width, height, self.fx * scale, self.fy * scale, (self.cx - x0) * scale, (self.cy - y0) * scale
        )

    def resized(self, width: int, height: int) -> "PinholeCamera":
        """Camera of the image resized to width x height (half-pixel-exact, as cv2.resize samples)."""
        sx, sy = width / self.width, height / self.height
        return PinholeCamera(
            width, height, self.fx * sx, self.fy * sy, (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5
        )
