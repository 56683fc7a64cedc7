"""Camera motion from key frames, with the tremor of a hand."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from storm_core.simulation.scene import look_at


@dataclass(frozen=True)
class Key:
    """Where the camera is at one time.

    Attributes:
      t: time [s]. eye: position (x, y, z) [m]. target: point looked at [m]. roll: about the view axis [rad].
    """

    t: float
    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    roll: float = 0.0


class CameraPath:
    """world_from_cam at any time. Monotone cubic interpolation: a pause between equal keys is a real pause."""

    def __init__(self, keys: tuple[Key, ...], rng: np.random.Generator, *, tremor: float = 1.0) -> None:
        """tremor: 1 = a hand at rest, about 1 mm and 0.15 degrees."""
        times = [k.t for k in keys]
        self._path = PchipInterpolator(times, [[*k.eye, *k.target, k.roll] for k in keys])
        self._end = times[-1]
        # A sum of incommensurable sines: smooth, never repeating, and a pure function of time.
        self._rates = rng.uniform(0.4, 7.0, (7, 6))
        self._phases = rng.uniform(0, 2 * np.pi, (7, 6))
        scale = np.array([0.0009] * 3 + [0.0015] * 3 + [0.0025])
        self._sizes = tremor * scale[:, None] / np.maximum(self._rates, 1.0) * 1.2

    def steady(self, t: float) -> NDArray[np.float64]:
        """The intended camera without tremor."""
        return self._pose(t, np.zeros(7))

    def at(self, t: float) -> NDArray[np.float64]:
        return self._pose(t, (self._sizes * np.sin(2 * np.pi * self._rates * t + self._phases)).sum(1))

    def _pose(self, t: float, shake: NDArray[np.float64]) -> NDArray[np.float64]:
        state = self._path(np.clip(t, 0.0, self._end)) + shake
        return look_at(state[:3], state[3:6], float(state[6]))
