"""What an active-stereo RGB-D camera makes of a noiseless view: colour noise and blur, depth noise, holes, edges.

Depth is disturbed in disparity, where such cameras measure: white and correlated matching noise and the rounding of the
matcher become an error that grows with z^2, and the strip that only one of the two imagers sees becomes a hole.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.camera import PinholeCamera
from storm_core.simulation.depth_image import grazing, one_eyed, stepped, unit_noise, window_range
from storm_core.simulation.scene import GAMMA


@dataclass(frozen=True)
class DepthSensor:
    """Attributes:
    baseline: distance of the two imagers [m]. noise: disparity noise, one sigma [px]. step: disparity rounding [px].
    bias: size of the smooth calibration error [px]. unit: depth quantum of the stream [m].
    grazing: angle between ray and surface normal from which the return fades away [rad].
    edge: random displacement at depth steps, one sigma [px]. edge_loss: share of pixels at depth steps without answer.
    speckle: share of pixels lost at random.
    near, far: measuring range [m].
    """

    baseline: float = 0.050
    noise: float = 0.07
    step: float = 1 / 32
    bias: float = 0.04
    unit: float = 0.001
    grazing: float = 1.32
    edge: float = 0.7
    edge_loss: float = 0.35
    speckle: float = 0.002
    near: float = 0.17
    far: float = 4.0

    def measure(self, depth: NDArray[np.float32], camera: PinholeCamera,
                rng: np.random.Generator) -> NDArray[np.float32]:
        """A measured depth image [m], 0 = missing, of the true one (0 = nothing there)."""
        h, w = depth.shape
        focal = self.baseline * camera.fx
        lost = (depth < self.near) | (depth > self.far)
        lost |= one_eyed(np.where(lost, np.float32(self.far), depth), np.float32(focal))
        steps = stepped(np.clip(depth, self.near, self.far))
        faint = grazing(depth, camera) + np.float32(0.05) * rng.standard_normal((h, w), np.float32) > self.grazing
        lost |= np.where(steps, rng.random((h, w), np.float32) < self.edge_loss, faint)
        seen = self._mixed_edges(depth, rng)
        disparity = focal / np.maximum(seen, self.near)
        disparity += self.noise * unit_noise((h, w), rng)
        disparity += self.bias * cv2.resize(_calibration(), (w, h), interpolation=cv2.INTER_CUBIC)
        measured = focal / np.maximum(np.round(disparity / self.step) * self.step, focal / (1.5 * self.far))
        measured = np.round(measured / self.unit) * self.unit
        # Dropouts come in small clumps, as the matcher's windows do.
        clumps = cv2.resize(rng.random((h // 3, w // 3), np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
        lost |= (clumps < 0.5 * self.speckle**0.5) | (rng.random((h, w), np.float32) < self.speckle)
        return np.where(lost, 0, measured).astype(np.float32)

    def _mixed_edges(self, depth: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Depth with fattened, frayed borders: near a step a pixel reports a neighbour or a value in between."""
        h, w = depth.shape
        low, high = window_range(depth, 5)
        at = np.flatnonzero(high - low > 0.015 + 0.02 * low)
        v, u = np.divmod(at, w)
        dv, du = np.rint(rng.normal(0, self.edge, (2, len(at)))).astype(int)
        jumped = depth[np.clip(v + dv, 0, h - 1), np.clip(u + du, 0, w - 1)]
        flying = rng.random(len(at)) < 0.06
        share = rng.random(len(at))
        between = (share * low.ravel()[at] + (1 - share) * high.ravel()[at]).astype(np.float32)
        out = depth.copy()
        out.ravel()[at] = np.where(flying & (low.ravel()[at] > 0), between, jumped)
        return out


@dataclass(frozen=True)
class ColorSensor:
    """Attributes:
    gain: output per linear light. blur: lens blur, one sigma [px]. shot, read: noise variance per linear light and
    floor of the noise, of a range of 1. drift: slow change of exposure and white balance. vignette: loss in corners.
    """

    gain: float = 1.05
    blur: float = 0.55
    shot: float = 2.2e-4
    read: float = 2.0e-3
    drift: float = 0.05
    vignette: float = 0.16

    def expose(self, light: NDArray[np.float32], t: float, rng: np.random.Generator) -> NDArray[np.uint8]:
        """An 8-bit picture (H, W, 3) of linear light at time t [s]."""
        h, w = light.shape[:2]
        y, x = np.ogrid[-1:1:h * 1j, -1:1:w * 1j]
        falloff = (1 - self.vignette * 0.5 * (x * x + y * y)).astype(np.float32)
        phase = np.array([0.0, 0.4, 2.1], np.float32)
        balance = self.gain * (1 + self.drift * (0.7 * np.sin(0.9 * t) + 0.3 * np.sin(0.53 * t + phase)))
        linear = cv2.GaussianBlur(light, (0, 0), self.blur) * falloff[..., None] * balance.astype(np.float32)
        sigma = np.sqrt(self.shot * np.maximum(linear, 0) + self.read**2)
        linear += sigma * rng.standard_normal(linear.shape, np.float32)
        return _encode(linear)


def _encode(linear: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Display-referred bytes with a soft shoulder: highlights above 0.8 bend towards white instead of clipping."""
    table = np.linspace(0, 1, 4096, dtype=np.float32)
    soft = np.where(table < 0.4, 2 * table, 1 - 0.2 * np.exp(-(2 * table - 0.8) / 0.2))
    codes = np.round(255 * soft ** (1 / GAMMA)).astype(np.uint8)
    return codes[np.clip(linear * 2047.5, 0, 4095).astype(np.int16)]


def _calibration() -> NDArray[np.float32]:
    """The smooth error of one camera, the same in all its frames; lattice values in [-1, 1]."""
    return np.random.default_rng(7).uniform(-1, 1, (4, 5)).astype(np.float32)
