"""Light on a simulated table and how the colour camera exposes it, by stratum."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from storm_core.simulation.sensor import ColorSensor


@dataclass(frozen=True, kw_only=True)
class Lighting:
    """Lamp of a scene and settings of its colour camera.

    Attributes:
      lamp, power, ambient, softness: as `scene.Scene` has them. circle: radius of the lamp's way [m], 0 = at rest.
      exposure: shutter time [s]. tint: RGB factors, the white balance.
    """

    lamp: tuple[float, float, float]
    power: float
    ambient: float
    softness: float
    sensor: ColorSensor
    exposure: float
    tint: tuple[float, float, float]
    circle: float = 0.0

    def motion(self) -> partial[NDArray[np.float64]] | None:
        """t [s] -> place of the lamp, or None for one at rest."""
        return partial(_circling, np.array(self.lamp), self.circle) if self.circle else None


def lighting(kind: str, rng: np.random.Generator) -> Lighting:
    """normal, dim (a sixth of the light under a lifted gain), over (exposed too long), hard_shadow or moving_lamp."""
    side = float(rng.choice([-1.0, 1.0]))
    lamp = (side * rng.uniform(0.3, 0.8), -rng.uniform(0.2, 0.6), rng.uniform(1.15, 1.45))
    tint = tuple(float(x) for x in rng.uniform(0.93, 1.07, 3))
    power, ambient, softness, gain = rng.uniform(1.6, 1.9), rng.uniform(0.3, 0.4), 2.5, 1.05
    usual, exposure, circle = ColorSensor(gain=gain), 0.007, 0.0
    if kind == "dim":
        power, ambient = power / 6, ambient / 6
        # Six times less light on the sensor: six times the shot noise after a gain that makes up for half of it.
        usual, exposure = ColorSensor(gain=3.0, shot=2.2e-3, read=9e-3), 0.02
    elif kind == "over":
        usual, exposure = ColorSensor(gain=3.4), 0.02
    elif kind == "hard_shadow":
        lamp = (side * rng.uniform(0.75, 0.95), -rng.uniform(0.0, 0.3), rng.uniform(0.55, 0.75))
        power, ambient, softness = 1.5, 0.09, 0.7
    elif kind == "moving_lamp":
        circle, ambient = 0.45, 0.22
    return Lighting(lamp=lamp, power=float(power), ambient=float(ambient), softness=softness, sensor=usual,
                    exposure=exposure, tint=tint, circle=circle)


def _circling(middle: NDArray[np.float64], radius: float, t: float) -> NDArray[np.float64]:
    """A lamp that goes around once in four seconds."""
    angle = 2 * np.pi * t / 4.0
    return middle + radius * np.array([np.cos(angle) - 1.0, np.sin(angle), 0.0])
