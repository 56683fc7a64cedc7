"""Near-uniform rotation grids."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation


def super_fibonacci_rotations(n: int) -> NDArray[np.float64]:
    """n rotations (n, 3, 3) spread evenly over SO(3): super-Fibonacci spirals (Alexa, CVPR 2022, Alg. 1)."""
    s = np.arange(n) + 0.5
    turn = 2 * np.pi * s
    alpha, beta = turn / np.sqrt(2.0), turn / 1.533751168755204288118041413
    inner, outer = np.sqrt(s / n), np.sqrt(1 - s / n)
    xyzw = np.stack([inner * np.sin(alpha), inner * np.cos(alpha), outer * np.sin(beta), outer * np.cos(beta)], -1)
    return Rotation.from_quat(xyzw).as_matrix()


def fibonacci_sphere(n: int) -> NDArray[np.float64]:
    """n unit directions (n, 3) spread evenly over the sphere."""
    k = np.arange(n) + 0.5
    z = 1 - 2 * k / n
    azimuth = k * np.pi * (3 - np.sqrt(5.0))
    r = np.sqrt(1 - z**2)
    return np.stack([r * np.cos(azimuth), r * np.sin(azimuth), z], -1)
