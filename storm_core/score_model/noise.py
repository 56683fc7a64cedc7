"""Variance-exploding noise on SE(3): the levels of the annealing and random poses around a pose."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.pose import so3_exp

GRID = 1024
"""Angles at which the distribution of rotation angles is tabulated."""


def levels(count: int, high: float, low: float) -> NDArray[np.float64]:
    """Noise levels (count,) from high to low, evenly spaced in their logarithm."""
    if count == 1:
        return np.array([low])
    return np.geomspace(high, low, count)


def angle_density(angle: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Density of the rotation angle of the isotropic Gaussian on SO(3), up to a factor.

    Brownian motion on the group for time sigma^2: heat-kernel series times the volume element 1 - cos(angle). Below
    0.3 rad the series needs many terms; the Gaussian of the shortest way alone is then exact to 1e-20.

    Args:
      angle: (N,) in [0, pi] [rad]. sigma: standard deviation per axis [rad].
    """
    a = np.asarray(angle, float)
    if sigma < 0.3:
        return 2 * a * np.sin(a / 2) * np.exp(-(a**2) / (2 * sigma**2))
    order = np.arange(int(np.ceil(8 / sigma)) + 2)[:, None]
    half = np.maximum(a, 1e-9) / 2
    series = (
        (2 * order + 1) * np.exp(-order * (order + 1) * sigma**2 / 2) * np.sin((2 * order + 1) * half) / np.sin(half)
    )
    return np.maximum((1 - np.cos(a)) * series.sum(0), 0.0)


@lru_cache(maxsize=512)
def _angle_distribution(sigma: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Angles (GRID,) [rad] and the probability (GRID,) of a smaller one."""
    grid = np.linspace(0, min(np.pi, 8 * sigma), GRID)
    density = angle_density(grid, sigma)
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * np.diff(grid) * (density[1:] + density[:-1]))])
    return grid, cumulative / cumulative[-1]


def rotation_score(angle: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Derivative by the angle of the log-density (by Haar measure) of the isotropic Gaussian on SO(3), (N,) [1/rad].

    The score of a rotation Exp(angle axis) is this times the axis. Sum over the ways around the circle below 1 rad,
    where few ways count; characters of the group above, where few characters count.

    Args:
      angle: (N,) in [0, pi] [rad]. sigma: standard deviation per axis [rad].
    """
    a = np.maximum(np.asarray(angle, float), 1e-4)
    half = a / 2
    if sigma < 1.0:
        ways = a + 2 * np.pi * np.arange(-2, 3)[:, None]
        sign = np.where(np.arange(-2, 3) % 2 == 0, 1.0, -1.0)[:, None]
        gauss = np.exp(-(ways**2 - a**2) / (2 * sigma**2)) * sign
        slope = np.sum(gauss * (1 - ways**2 / sigma**2), 0) / np.sum(gauss * ways, 0)
        return slope - 0.5 / np.tan(half)
    order = np.arange(int(np.ceil(8 / sigma)) + 2)[:, None]
    weight = (2 * order + 1) * np.exp(-order * (order + 1) * sigma**2 / 2)
    wave, flank = np.sin((order + 0.5) * a), (order + 0.5) * np.cos((order + 0.5) * a)
    return (weight * flank).sum(0) / (weight * wave).sum(0) - 0.5 / np.tan(half)


def sample_rotations(count: int, sigma: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Rotation matrices (count, 3, 3) from the isotropic Gaussian on SO(3); uniform for large sigma [rad per axis]."""
    if sigma <= 0:
        return np.broadcast_to(np.eye(3), (count, 3, 3)).copy()
    grid, cumulative = _angle_distribution(float(sigma))
    angle = np.interp(rng.random(count), cumulative, grid)
    axis = rng.normal(size=(count, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    return so3_exp(axis * angle[:, None])


def perturbed(
    cam_from_obj: NDArray[np.float64],
    center: NDArray[np.float64],
    count: int,
    shift: float,
    turn: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Poses (count, 4, 4): left increments at the object centre.

    Args:
      center: (3,) object centre in the object frame [m]. shift, turn: standard deviations per axis [m], [rad].
    """
    turns = sample_rotations(count, turn, rng)
    out = np.tile(np.eye(4), (count, 1, 1))
    out[:, :3, :3] = turns @ cam_from_obj[:3, :3]
    middle = cam_from_obj[:3, :3] @ center + cam_from_obj[:3, 3] + rng.normal(0, shift, (count, 3))
    out[:, :3, 3] = middle - out[:, :3, :3] @ center
    return out
