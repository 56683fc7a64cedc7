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
    """Particles of one mode, drawn anew by weight and shared out over its twins in proportion to their probability.

    Systematic resampling of both: a particle comes as often as it weighs, a twin gets its share of the N particles, one
    more or one less. Particles that weigh nothing do not come again: alone in a twin one would stand for all of it.

    Args:
      poses: (N, 4, 4). weights: (N,), sum 1. turns: (S, 4, 4) obj -> obj. shares: (S,) of the turns, sum 1.

    Returns:
      (N, 4, 4) poses and (N,) weights, sum 1.
    """
    source, twin = drawn(weights, len(poses), rng), rng.permutation(drawn(shares, len(poses), rng))
    number = np.bincount(twin, minlength=len(turns))
    mass = shares / shares[number > 0].sum()
    return poses[source] @ turns[twin], mass[twin] / number[twin]


def drawn(shares: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`count` indices drawn by systematic resampling from shares (S,), in order."""
    border = np.cumsum(shares)
    at = (np.arange(count) + rng.random()) / count * border[-1]
    return np.searchsorted(border, at, side="right").clip(max=len(shares) - 1)
