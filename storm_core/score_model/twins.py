"""Jumps between poses that an object's shape cannot tell apart: how particles near one pose reach its other modes.

Local noise never gets from one side of a box to the other, though both explain the depth image alike. The turns that
map the shape onto itself are known from the mesh; the image says how likely each is, and the particles are shared out.
"""

import numpy as np
from numpy.typing import NDArray

from storm_core.registration.duel import contested
from storm_core.registration.judge import Judge

TEMPERATURE = 0.3
"""Log-odds between twins that change their shares by a factor of e. Of 127 registered validation objects whose twins
only a print tells apart, the right one gets a share whose mean negative logarithm is 0.02; with 0.5 it is 0.04, with 1
it is 0.17."""

SIDE = 96
"""Crop of one twin [px]."""


def twin_shares(judge: Judge, cam_from_obj: NDArray[np.float64], shape_turns: NDArray[np.float64]
                ) -> NDArray[np.float64]:
    """How likely (S,), sum 1, the image makes each twin of a pose (4, 4): what registration judges rivals by.

    Declared symmetries need no judge: they are equal by declaration.

    Args:
      shape_turns: (S, 4, 4) obj -> obj turns that leave the bare shape nearly as it is, identity first.
    """
    twins = cam_from_obj @ shape_turns
    value = np.nan_to_num(contested(judge, twins, judge.judge(twins, SIDE)[0]), nan=-np.inf)
    shares = np.exp((value - value.max()) / TEMPERATURE)
    return shares / shares.sum()


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
