"""Sampling around poses: whatever the verifier looks at, it also refines.

ICP follows depth alone. Where depth is missing (the shadow beside an occluder, a thin or shiny part) print, contour and
background still say where the object is, but no gradient leads there; a cloud of perturbed poses that contracts around
its best members (the cross-entropy method) needs none.
"""

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.pose import so3_exp
from storm_core.registration.judge import Judge

ELITE = 6
"""Best samples of a round that the next round is drawn from."""

SLOWEST = 0.45
"""Smallest factor by which one round may narrow the search: few samples always look more certain than they are."""


def perturbed(cam_from_objs: NDArray[np.float64], center: NDArray[np.float64],
              twists: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses (N, 4, 4) after shifts [m] and turns [rad] (N, 6), in camera axes, about the object centre (3,)."""
    out = cam_from_objs.copy()
    pivot = cam_from_objs[:, :3, :3] @ center + cam_from_objs[:, :3, 3]
    out[:, :3, :3] = so3_exp(twists[:, 3:]) @ cam_from_objs[:, :3, :3]
    out[:, :3, 3] = pivot + twists[:, :3] - out[:, :3, :3] @ center
    return out


def polish(
    judge: Judge,
    cam_from_objs: NDArray[np.float64],
    *,
    side: int,
    rounds: int,
    samples: int,
    shift: float,
    turn_deg: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The best pose found around each of (N, 4, 4), and its rank (N,): never worse than before.

    Args:
      side: crop resolution [px]. samples: poses per start and round.
      shift, turn_deg: standard deviation of the first round, in diameters and degrees; the distance, which a picture
        tells least about, gets twice the shift.
    """
    n, model = len(cam_from_objs), judge.model
    rng = np.random.default_rng(0)
    best = np.array(cam_from_objs, np.float64)
    odds = np.full(n, -np.inf)
    spread = np.tile([shift, shift, 2 * shift, 1.0, 1.0, 1.0], (n, 1)) * model.diameter
    spread[:, 3:] = np.deg2rad(turn_deg)
    for _ in range(rounds):
        twists = rng.normal(size=(n, samples, 6)) * spread[:, None]
        twists[:, 0] = 0.0
        poses = perturbed(np.repeat(best, samples, 0), model.center, twists.reshape(-1, 6))
        found = judge.judge(poses, side)[0].reshape(n, samples)
        order = np.argsort(-found, 1, kind="stable")
        elite = np.take_along_axis(twists, order[:, :ELITE, None], 1)
        around = np.sqrt(((elite - elite[:, :1]) ** 2).mean(1))
        spread = np.clip(around, SLOWEST * spread, 0.9 * spread)
        best = poses.reshape(n, samples, 4, 4)[np.arange(n), order[:, 0]]
        odds = found[np.arange(n), order[:, 0]]
    return best, odds
