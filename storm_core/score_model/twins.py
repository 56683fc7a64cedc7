"""Jumps between poses that an object's shape cannot tell apart: how particles near one pose reach its other modes.

Local noise never gets from one side of a box to the other, though both explain the depth image alike. The turns that
map the shape onto itself are known from the mesh; the image says how likely each is, and the particles are shared out.
"""

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.symmetry import shape_symmetries


def twin_turns(model: ObjectModel) -> NDArray[np.float64]:
    """(S, 4, 4) obj -> obj, identity first: declared symmetries and turns that leave the bare shape nearly as it is."""
    shape = shape_symmetries(model)
    return (shape[:, None] @ model.symmetries[None]).reshape(-1, 4, 4)


def share_out(
    poses: NDArray[np.float64], weights: NDArray[np.float64], turns: NDArray[np.float64],
    shares: NDArray[np.float64], rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Particles of one mode, shared out over its twins in proportion to their probability.

    Systematic resampling: a twin gets its share of the N particles, one more or one less. Within a twin the particles
    keep their relative weights.

    Args:
      poses: (N, 4, 4). weights: (N,), sum 1. turns: (S, 4, 4) obj -> obj. shares: (S,) of the turns, sum 1.

    Returns:
      (N, 4, 4) poses and (N,) weights, sum 1.
    """
    n = len(poses)
    border = np.cumsum(shares)
    drawn = np.searchsorted(border, (np.arange(n) + rng.random()) / n * border[-1]).clip(max=len(turns) - 1)
    twin = rng.permutation(drawn)
    inside = np.bincount(twin, weights, len(turns))
    present = np.bincount(twin, minlength=len(turns)) > 0
    mass = np.where(present, shares, 0.0) / shares[present].sum()
    even = 1 / np.bincount(twin, minlength=len(turns)).clip(min=1)
    # Where all of a twin's particles weigh nothing, they weigh alike.
    local = np.where(inside[twin] > 0, weights / np.maximum(inside[twin], 1e-300), even[twin])
    return poses @ turns[twin], mass[twin] * local
