"""Rooms for benchmark scenes: table, floor and wall of random materials."""

import numpy as np

from storm_core.simulation.scene import Plane
from storm_core.simulation.textures import carpet, cloth, plaster, wood

_PIXELS = 900
_TABLES = (wood, cloth, plaster, carpet)


def room(rng: np.random.Generator) -> tuple[Plane, ...]:
    """Three planes: a table top at z = 0, the floor below and a wall behind."""
    n = _PIXELS
    table = _TABLES[rng.integers(len(_TABLES))](n, n, rng)
    if rng.random() < 0.5:
        # A second material covers one side, so that borders without an object are seen too.
        share = int(rng.uniform(0.25, 0.45) * n)
        table[:, :share] = _TABLES[rng.integers(len(_TABLES))](n, n, rng)[:, :share]
    shine = float(rng.uniform(0.01, 0.10))
    return (
        Plane(centre=(0.0, 0.1, 0.0), right=(1, 0, 0), down=(0, 1, 0), half=(0.9, 0.75), picture=table, gloss=shine),
        Plane(centre=(0.0, 0.5, -0.74), right=(1, 0, 0), down=(0, 1, 0), half=(3.5, 3.0), picture=carpet(n, n, rng)),
        Plane(centre=(0.0, 1.15, 0.6), right=(1, 0, 0), down=(0, 0, 1), half=(3.5, 1.6),
              picture=plaster(n, n, rng)[::-1]),
    )
