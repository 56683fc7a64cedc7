"""Objects laid on a table: each rests on a stable side, none touches another."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import so3_exp
from storm_core.simulation.resting import resting_rotations

Disc = tuple[NDArray[np.float64], float]
"""Centre (2,) and radius [m]."""


def at_rest(model: ObjectModel, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random pose (4, 4) on the table at x = y = 0: a stable side down, any turn about the vertical.

    The centre of the object's footprint is at the origin.
    """
    rotations, likely = resting_rotations(model)
    pose = np.eye(4)
    pose[:3, :3] = so3_exp([0, 0, rng.uniform(0, 2 * np.pi)]) @ rotations[rng.choice(len(rotations), p=likely)]
    points = model.vertices @ pose[:3, :3].T
    low, high = points.min(0), points.max(0)
    pose[:3, 3] = -(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]
    return pose


def footprint(model: ObjectModel, world_from_obj: NDArray[np.float64]) -> float:
    """Radius of the circle around the pose's middle on the table that holds the object [m]."""
    points = (model.vertices @ world_from_obj[:3, :3].T)[:, :2]
    return float(np.linalg.norm(points - (points.min(0) + points.max(0)) / 2, axis=1).max())


def height(model: ObjectModel, world_from_obj: NDArray[np.float64]) -> float:
    """Height of the object above the table [m]."""
    return float(np.ptp(model.vertices @ world_from_obj[2, :3]))


def arrange(models: Sequence[ObjectModel], rng: np.random.Generator, *, beside: int = 0, gap: float = 0.006,
            spread: float = 0.025) -> list[NDArray[np.float64] | None]:
    """world_from_obj of each object: the first in the middle, the others around it as near as they fit.

    Args:
      beside: so many of the last stand beside or behind the first as seen from the front (-y).
      gap: least distance between two footprints [m]. spread: mean further distance [m].

    Returns:
      None for an object that found no place within half a metre.
    """
    discs: list[Disc] = []
    out: list[NDArray[np.float64] | None] = []
    for k, model in enumerate(models):
        pose = at_rest(model, rng)
        radius = footprint(model, pose) + gap
        if not discs:
            place: NDArray[np.float64] | None = rng.uniform(-0.02, 0.02, 2)
        elif k >= len(models) - beside:
            place = _free_place(discs, discs[:1], radius, (0.1, np.pi - 0.1), rng, spread)
        else:
            place = _free_place(discs, discs, radius, (0.0, 2 * np.pi), rng, spread)
        if place is None:
            out.append(None)
            continue
        discs.append((place, radius))
        pose[:2, 3] += place
        out.append(pose)
    return out


def _free_place(taken: Sequence[Disc], anchors: Sequence[Disc], radius: float, directions: tuple[float, float],
                rng: np.random.Generator, spread: float) -> NDArray[np.float64] | None:
    """A place for a disc near one of the anchors, None after 80 tries; the further, the later."""
    for attempt in range(80):
        centre, wide = anchors[rng.integers(len(anchors))]
        angle = rng.uniform(*directions)
        further = (1 + attempt / 20) * rng.exponential(spread)
        place = centre + (wide + radius + further) * np.array([np.cos(angle), np.sin(angle)])
        if np.abs(place).max() < 0.5 and all(np.linalg.norm(place - c) >= radius + r for c, r in taken):
            return place
    return None
