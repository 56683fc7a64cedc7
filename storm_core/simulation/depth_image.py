"""What a depth image tells a simulated sensor: where it steps, how steeply it is seen, what another eye misses."""

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.camera import PinholeCamera


def unit_noise(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of unit variance, part white, part correlated over a matching window."""
    white = rng.standard_normal(shape, np.float32)
    smooth = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), 1.5)
    # A Gaussian filter of sigma s keeps 1 / (4 pi s^2) of the variance of white noise.
    return np.float32(0.6) * white + np.float32(0.8 * np.sqrt(4 * np.pi) * 1.5) * smooth


def window_range(depth: NDArray[np.float32], size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Least and greatest depth in a square window around every pixel."""
    kernel = np.ones((size, size), np.uint8)
    return cv2.erode(depth, kernel), cv2.dilate(depth, kernel)


def stepped(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels at a depth step. 1/z is linear on planes however steep, so only a step bends it. depth > 0."""
    inverse_depth = 1 / depth
    bend = [np.abs(cv2.filter2D(inverse_depth, -1, k, borderType=cv2.BORDER_REPLICATE)) * depth
            for k in (np.float32([[1, -2, 1]]), np.float32([[1], [-2], [1]]))]
    return np.maximum(*bend) > 0.02


def grazing(depth: NDArray[np.float32], camera: PinholeCamera) -> NDArray[np.float32]:
    """Angle [rad] between viewing ray and surface normal, from differences of neighbouring depths."""
    h, w = depth.shape
    v, u = np.ogrid[:h, :w]
    rx = ((u - camera.cx) / camera.fx).astype(np.float32)
    ry = ((v - camera.cy) / camera.fy).astype(np.float32)
    log_z = np.log(np.maximum(depth, 1e-3))
    du = (cv2.Sobel(log_z, cv2.CV_32F, 1, 0, ksize=3) / 8 * camera.fx).astype(np.float32)
    dv = (cv2.Sobel(log_z, cv2.CV_32F, 0, 1, ksize=3) / 8 * camera.fy).astype(np.float32)
    # With g = grad(log z) in focal lengths, the normal is (gx, gy, -1 - gx rx - gy ry) and n.ray = -1.
    length = np.sqrt(du**2 + dv**2 + (1 + du * rx + dv * ry) ** 2)
    return np.arccos(np.clip(1 / (length * np.sqrt(1 + rx**2 + ry**2)), 0, 1))


def one_eyed(depth: NDArray[np.float32], focal: np.float32) -> NDArray[np.bool_]:
    """Pixels that a second eye to the right does not see: something nearer lies on their ray there.

    Args:
      depth: (H, W) > 0 [m]. focal: focal length x baseline [px m].
    """
    there = np.arange(depth.shape[1]) - (focal / depth).astype(np.float64)
    leftmost = np.minimum.accumulate(there[:, ::-1], 1)[:, ::-1]
    return there > leftmost + 1.0
