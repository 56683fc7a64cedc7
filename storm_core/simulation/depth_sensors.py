"""Kinds of depth camera. All measure a noiseless depth image and the light that the colour camera saw with it.

The sizes of the errors follow what was published about real cameras; each class says about which. The visible light
stands in for the reflectance in the infrared, relative to the rest of the picture: these cameras bring their own lamp.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.errors import ConfigError
from storm_core.geometry.camera import PinholeCamera
from storm_core.simulation.depth_image import grazing, one_eyed, stepped, unit_noise, window_range
from storm_core.simulation.sensor import DepthSensor

Depth = NDArray[np.float32]
Light = NDArray[np.float32]


class DepthCamera(Protocol):
    """Anything that turns true depth into measured depth."""

    def measure(self, depth: Depth, camera: PinholeCamera, rng: np.random.Generator, light: Light) -> Depth:
        """Measured z-depth (H, W) [m], 0 = missing, of the true one (0 = nothing there) and linear light (H, W, 3)."""
        ...


@dataclass(frozen=True)
class ActiveStereo(DepthSensor):
    """Two infrared imagers and a pattern projector: the model of `sensor.DepthSensor`, which needs no light."""

    def measure(self, depth: Depth, camera: PinholeCamera, rng: np.random.Generator,
                light: Light | None = None) -> Depth:
        return super().measure(depth, camera, rng)


@dataclass(frozen=True)
class Ideal:
    """The true depth in whole millimetres."""

    def measure(self, depth: Depth, camera: PinholeCamera, rng: np.random.Generator, light: Light) -> Depth:
        return (np.round(depth * 1e3) / 1e3).astype(np.float32)


@dataclass(frozen=True)
class StructuredLight:
    """A projected pattern seen by one camera, after the first Kinect.

    Khoshelham and Elberink (Sensors 2012) give a baseline of 75 mm, disparities in eighths of a pixel (steps of
    2.85 mm z^2 at 580 px) and a random error that grows with z^2 to 4 cm at 5 m.

    Attributes:
      baseline: camera to projector [m]. step: disparity rounding [px]. noise: disparity noise, one sigma [px].
      dark: reflectance below which nothing comes back, relative to a bright surface. glare: light of a highlight that
      drowns the pattern, in the same unit. edge_loss: share of lost pixels at depth steps. near, far: range [m].
    """

    baseline: float = 0.075
    step: float = 1 / 8
    noise: float = 0.07
    dark: float = 0.015
    glare: float = 1.7
    edge_loss: float = 0.6
    near: float = 0.25
    far: float = 5.0

    def measure(self, depth: Depth, camera: PinholeCamera, rng: np.random.Generator, light: Light) -> Depth:
        lost = (depth < self.near) | (depth > self.far)
        focal = np.float32(self.baseline * camera.fx)
        safe = np.where(lost, np.float32(self.far), depth)
        lost |= one_eyed(safe, focal)
        # The pattern is matched in windows of 9 px: outlines fray by a few pixels, and many windows find nothing.
        near_step = cv2.dilate(stepped(safe).view(np.uint8), np.ones((3, 3), np.uint8)) > 0
        lost |= near_step & (_patches(depth.shape, 3, rng) < self.edge_loss)
        angle = grazing(depth, camera)
        returned = reflectance(light) * np.cos(angle)
        lost |= (returned < self.dark * (1 + 0.3 * rng.standard_normal(depth.shape, np.float32))) & ~near_step
        lost |= reflectance(light) > self.glare
        disparity = focal / _jittered(safe, 1.2, rng) + self.noise * unit_noise(depth.shape, rng)
        measured = focal / np.maximum(np.round(disparity / self.step) * self.step, focal / (1.5 * self.far))
        return np.where(lost, 0, np.round(measured * 1e3) / 1e3).astype(np.float32)


@dataclass(frozen=True)
class PassiveStereo:
    """Two colour cameras without a projector, matched in windows.

    Matchers of this kind reach 0.1 to 0.3 px on textured surfaces (Middlebury, KITTI), widen the foreground by about
    half a window (Hirschmueller 2002), and find nothing, or nonsense, where a window holds no contrast.

    Attributes:
      baseline: [m]. noise: disparity noise on good texture, one sigma [px]. window: matching window [px].
      contrast: standard deviation of the light within a window, relative to its mean, below which nothing is found.
      wrong: share of contrastless windows that give a false depth instead. near, far: range [m].
    """

    baseline: float = 0.060
    noise: float = 0.12
    window: int = 7
    contrast: float = 0.018
    wrong: float = 0.04
    near: float = 0.25
    far: float = 6.0

    def measure(self, depth: Depth, camera: PinholeCamera, rng: np.random.Generator, light: Light) -> Depth:
        lost = (depth < self.near) | (depth > self.far)
        focal = np.float32(self.baseline * camera.fx)
        safe = np.where(lost, np.float32(self.far), depth)
        lost |= one_eyed(safe, focal)
        # Windows that see the outline of a near thing match the near thing: it grows by about half of them.
        low, high = window_range(safe, self.window // 2 + 1)
        grown = np.where(high - low > 0.03 * low, _jittered(low, 0.8, rng), safe)
        texture = self._contrast(light)
        blind = texture < self.contrast * (1 + 0.4 * (2 * _patches(depth.shape, 7, rng) - 1))
        false = blind & (_patches(depth.shape, 9, rng) < self.wrong)
        # Weak texture makes the cost valley flat: the error grows as the contrast falls.
        spread = self.noise * np.clip(0.12 / np.maximum(texture, 1e-3), 1.0, 4.0)
        disparity = focal / grown + spread * unit_noise(depth.shape, rng)
        disparity = np.where(false, disparity * (0.6 + 0.8 * _patches(depth.shape, 9, rng)), disparity)
        measured = focal / np.maximum(disparity, focal / (1.5 * self.far))
        return np.where(lost | (blind & ~false), 0, np.round(measured * 1e3) / 1e3).astype(np.float32)

    def _contrast(self, light: Light) -> NDArray[np.float32]:
        """Relative standard deviation of the light along the epipolar lines, in windows."""
        grey = light.mean(-1)
        size = (self.window, self.window)
        mean = cv2.blur(grey, size)
        along = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3) / 8
        return np.sqrt(np.maximum(cv2.blur(along * along, size), 0)) * np.float32(2.0) / np.maximum(mean, 1e-3)


@dataclass(frozen=True)
class TimeOfFlight:
    """Phase of modulated light, after the second Kinect and its successor.

    Published: random error 1 to 2 mm at 1 m on bright matt surfaces, growing as the return falls; systematic error
    below 11 mm + 0.1 % of the distance; pixels on an outline lie between both surfaces ("flying"); light that comes
    over a second surface makes inner corners too far (Sarbolandi et al. 2015, Tolgyessy et al. 2021).

    Attributes:
      noise: one sigma at 1 m for a white surface seen frontally [m]. wiggle: periodic error [m] of `period` [m].
      multipath: share of the depth below its surroundings that is added. weakest: return, relative to white at 1 m,
      below which a pixel is invalid. near, far: range [m].
    """

    noise: float = 0.0012
    wiggle: float = 0.002
    period: float = 0.75
    multipath: float = 0.15
    weakest: float = 0.01
    near: float = 0.25
    far: float = 3.9

    def measure(self, depth: Depth, camera: PinholeCamera, rng: np.random.Generator, light: Light) -> Depth:
        lost = (depth < self.near) | (depth > self.far)
        safe = np.where(lost, np.float32(self.far), depth)
        returned = reflectance(light) * np.cos(grazing(safe, camera)) / safe**2
        low, high = window_range(safe, 3)
        step = high - low > 0.02 + 0.02 * low
        # A pixel on an outline gets light from both sides and reports a depth between them.
        share = cv2.GaussianBlur(rng.random(depth.shape, np.float32), (0, 0), 0.7)
        mixed = np.where(step, low + np.clip(3 * share - 1, 0, 1) * (high - low), safe)
        surroundings = cv2.GaussianBlur(safe, (0, 0), 0.02 * camera.fx)
        echo = self.multipath * np.clip(safe - surroundings, 0.0, 0.06)
        sigma = self.noise / np.sqrt(np.clip(returned, self.weakest / 4, 1.5))
        measured = (mixed + echo + self.wiggle * np.sin(2 * np.pi * safe / self.period)
                    + sigma * rng.standard_normal(depth.shape, np.float32))
        lost |= (returned < self.weakest) & ~step
        lost |= step & (rng.random(depth.shape, np.float32) < 0.25)
        return np.where(lost, 0, np.round(measured * 1e3) / 1e3).astype(np.float32)


DEPTH_CAMERAS: dict[str, Callable[[], DepthCamera]] = {
    "active_stereo": ActiveStereo, "structured_light": StructuredLight, "stereo": PassiveStereo, "tof": TimeOfFlight,
    "ideal": Ideal}
"""Makers of the default camera of each kind, by name."""


def depth_camera(name: str) -> DepthCamera:
    """A kind of camera by name; ConfigError lists the known ones."""
    if name not in DEPTH_CAMERAS:
        raise ConfigError(f"unknown depth sensor {name!r}; known: {', '.join(DEPTH_CAMERAS)}")
    return DEPTH_CAMERAS[name]()


def reflectance(light: Light) -> NDArray[np.float32]:
    """Brightness (H, W) relative to the brightest surfaces of the picture: 1 at its 99th percentile."""
    grey = light.mean(-1)
    return grey / np.float32(max(float(np.percentile(grey[::4, ::4], 99)), 1e-6))


def _jittered(depth: Depth, sigma: float, rng: np.random.Generator) -> Depth:
    """Depth read a little beside each pixel: frayed outlines. sigma: displacement [px]."""
    h, w = depth.shape
    low, high = window_range(depth, 5)
    at = np.flatnonzero(high - low > 0.02 * low)
    v, u = np.divmod(at, w)
    dv, du = np.rint(rng.normal(0, sigma, (2, len(at)))).astype(int)
    out = depth.copy()
    out.ravel()[at] = depth[np.clip(v + dv, 0, h - 1), np.clip(u + du, 0, w - 1)]
    return out


def _patches(shape: tuple[int, int], size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Uniform random values in [0, 1) that are equal over squares of `size` px."""
    h, w = shape
    values = rng.random((-(-h // size), -(-w // size)), np.float32)
    return np.repeat(np.repeat(values, size, 0), size, 1)[:h, :w]
