"""The square part of a picture that the network sees, with the exact map between its pixels and the picture's.

The published method cuts the centre square and stretches the mask back over the whole picture, which is wrong for every
picture that is not square. Here a window carries its transform, may reach beyond the picture, and is undone exactly.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.errors import InputError

_Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """A square of a picture, sampled with size x size px.

    Attributes:
      x0, y0: its left and top border [picture px; pixel centres are at integers, so the picture begins at -0.5].
      side: its width and height [picture px]. size: samples along a side.
    """

    x0: float
    y0: float
    side: float
    size: int

    def __post_init__(self) -> None:
        if not (np.isfinite([self.x0, self.y0, self.side]).all() and self.side > 0 and self.size > 0):
            raise InputError(f"a window needs a finite place and positive size, got {self}")

    @property
    def crop_from_px(self) -> _Matrix:
        """(2, 3) affine map of picture pixels to samples."""
        s = self.size / self.side
        return np.array([[s, 0, -self.x0 * s - 0.5], [0, s, -self.y0 * s - 0.5]])

    @property
    def px_from_crop(self) -> _Matrix:
        """(2, 3), the inverse of `crop_from_px`."""
        s = self.side / self.size
        return np.array([[s, 0, self.x0 + 0.5 * s], [0, s, self.y0 + 0.5 * s]])

    def sampled(self, size: int) -> "Window":
        """The same square with another number of samples."""
        return Window(self.x0, self.y0, self.side, size)

    def cut(self, picture: NDArray, *, fill: float = 0.0, nearest: bool = False) -> NDArray:
        """(size, size[, C]) samples of a picture (H, W[, C]); `fill` where it ends.

        Shrinking averages first, so that nothing flickers; `nearest` takes single pixels, for depth and masks.
        """
        border = [fill] * 4
        if nearest:
            return cv2.warpAffine(picture, self.crop_from_px, (self.size, self.size), flags=cv2.INTER_NEAREST,
                                  borderValue=border)
        shrink = self.side / self.size
        if shrink > 1:
            sigma = 0.5 * np.sqrt(shrink**2 - 1)
            picture = cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        return cv2.warpAffine(picture, self.crop_from_px, (self.size, self.size), flags=cv2.INTER_LINEAR,
                              borderValue=border)

    def paste(self, samples: NDArray[np.float32], height: int, width: int, *, fill: float) -> NDArray[np.float32]:
        """(height, width) picture from samples (size, size), interpolated; `fill` outside the window."""
        # Replicated borders reach half a sample beyond the outermost centres: up to the border of the window itself.
        out = cv2.warpAffine(samples, self.px_from_crop, (width, height), flags=cv2.INTER_LINEAR,
                             borderMode=cv2.BORDER_REPLICATE)
        x, y = np.arange(width), np.arange(height)
        out[:, (x < self.x0) | (x > self.x0 + self.side)] = fill
        out[(y < self.y0) | (y > self.y0 + self.side)] = fill
        return out


def whole(height: int, width: int, size: int) -> Window:
    """The smallest square that holds the whole picture, centred on it."""
    side = float(max(height, width))
    return Window((width - side) / 2 - 0.5, (height - side) / 2 - 0.5, side, size)


def around(box: tuple[float, float, float, float], size: int, *, grow: float, least: float) -> Window:
    """A square around a box (x0, y0, x1, y1; half-open) [px], `grow` times its longer side, at least `least` px."""
    x0, y0, x1, y1 = box
    side = max(grow * max(x1 - x0, y1 - y0), least)
    return Window((x0 + x1 - side) / 2 - 0.5, (y0 + y1 - side) / 2 - 0.5, side, size)
