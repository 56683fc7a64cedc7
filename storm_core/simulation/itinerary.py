"""How the camera of a benchmark scene moves around its object, by stratum of speed or by event."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.simulation.camera_path import CameraPath, Key

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Pace:
    """Attributes:
    speed: of the camera [m/s]. beat: time between changes of direction [s]. tremor: 1 = a hand at rest.
    aim: wandering of the point looked at [m]. roll: wandering about the view axis [rad].
    """

    speed: float
    beat: float
    tremor: float
    aim: float
    roll: float


PACES = {"slow": Pace(0.05, 0.6, 0.4, 0.004, 0.01), "hand": Pace(0.18, 0.5, 1.0, 0.010, 0.04),
         "fast": Pace(0.80, 0.3, 1.6, 0.025, 0.10), "stride": Pace(0.35, 0.5, 1.0, 0.015, 0.06)}
"""Values of the axis `speed`; `stride` is seen at a low frame rate."""

EVENT = (0.30, 0.60)
"""From when to when an event hides the object, takes it out of view or takes the depth away: shares of the duration."""


@dataclass(frozen=True, kw_only=True)
class Orbit:
    """Where the camera may be: around a point on the table.

    Attributes:
      aim: point looked at [m]. distance: [m]. azimuth, elevation: of the first view [rad]; -pi/2 = from the front.
    """

    aim: Point
    distance: float
    azimuth: float
    elevation: float

    def eye(self, d_azimuth: float = 0.0, d_elevation: float = 0.0, stretch: float = 1.0) -> Point:
        azimuth, elevation = self.azimuth + d_azimuth, self.elevation + d_elevation
        ray = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
        x, y, z = np.array(self.aim) + self.distance * stretch * ray
        return float(x), float(y), float(z)


def still(orbit: Orbit, rng: np.random.Generator) -> CameraPath:
    """One place, for pictures."""
    roll = float(rng.normal(0, 0.06))
    return CameraPath((Key(0.0, orbit.eye(), orbit.aim, roll), Key(1.0, orbit.eye(), orbit.aim, roll)), rng, tremor=0.0)


def wander(orbit: Orbit, pace: Pace, duration: float, rng: np.random.Generator) -> CameraPath:
    """A random walk over a cap of the sphere around the object, at an even pace."""
    times = np.arange(0.0, duration + pace.beat, pace.beat)
    step = pace.speed * pace.beat / orbit.distance
    state, heading = np.zeros(3), rng.uniform(0, 2 * np.pi)
    limits = np.array([0.9, 0.30, 0.15])
    keys = []
    for t in times:
        aim = tuple(float(a) for a in np.array(orbit.aim) + rng.normal(0, pace.aim, 3))
        keys.append(Key(float(t), orbit.eye(state[0], state[1], float(np.exp(state[2]))), aim,
                        float(rng.normal(0, pace.roll))))
        heading += rng.normal(0, 0.9)
        move = step * np.array([np.cos(heading), 0.6 * np.sin(heading), 0.5 * np.sin(heading + 1.0)])
        # Turn back at the border of the cap; a step longer than the cap is wide ends there.
        state = np.clip(state + np.where(np.abs(state + move) > limits, -move, move), -limits, limits)
    return CameraPath(tuple(keys), rng, tremor=pace.tremor)


def eventful(orbit: Orbit, event: str, duration: float, rng: np.random.Generator) -> CameraPath:
    """A slow arc; `left_view` turns away from the object and back, `shaken` swings fast around it."""
    start, end = (share * duration for share in EVENT)
    swing = 0.1 * duration
    sweep = float(rng.choice([-1.0, 1.0])) * 0.25
    home = orbit.aim

    def key(t: float, aim: Point = home, extra: float = 0.0, roll: float = 0.0) -> Key:
        return Key(t, orbit.eye(sweep * t / duration + extra, 0.04 * np.sin(2 * t)), aim, roll)

    def beside(share: float) -> Point:
        right = np.array([-np.sin(orbit.azimuth), np.cos(orbit.azimuth), 0.0])
        x, y, z = np.array(home) + share * orbit.distance * right
        return float(x), float(y), float(z)

    if event == "left_view":
        away = beside(1.1)
        keys = (key(0.0), key(start - swing), key(start, away), key(end, away), key(end + swing), key(duration))
    elif event == "shaken":
        beat = 0.05 * duration
        swings = [key(start + beat * k, beside(0.12 * (-1) ** k), 0.22 * (-1) ** k, 0.10 * (-1) ** k)
                  for k in range(1, 6)]
        keys = (key(0.0), key(start), *swings, key(end + 0.05 * duration), key(duration))
    else:
        keys = tuple(key(float(t)) for t in np.linspace(0.0, duration, 5))
    return CameraPath(keys, rng, tremor=0.8)


def toward(orbit: Orbit) -> NDArray[np.float64]:
    """Unit vector on the table from the object to the camera (3,)."""
    return np.array([np.cos(orbit.azimuth), np.sin(orbit.azimuth), 0.0])
