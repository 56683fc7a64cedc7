"""Near-uniform rotation grids."""

import numpy as np
from numpy.typing import NDArray


def super_fibonacci_rotations(n: int) -> NDArray[np.float64]:
    """n rotations (n, 3, 3) spread evenly over SO(3): super-Fibonacci spirals (Alexa, CVPR 2022, Alg. 1)."""
    s = np.arange(n) + 0.5
    turn = 2 * np.pi * s
    alpha, beta = turn / np.sqrt(2.0), turn / 1.533751168755204288118041413
    inner, outer = np.sqrt(s / n), np.sqrt(1 - s / n)
    return _rotations(inner * np.sin(alpha), inner * np.cos(alpha), outer * np.sin(beta), outer * np.cos(beta))


def _rotations(x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64],
               w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations (n, 3, 3) of unit quaternions, each component (n,)."""
    rows = ((1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)))
    return np.stack([np.stack(row, -1) for row in rows], -2)


def fibonacci_sphere(n: int) -> NDArray[np.float64]:
    """n unit directions (n, 3) spread evenly over the sphere."""
    k = np.arange(n) + 0.5
    z = 1 - 2 * k / n
    azimuth = k * np.pi * (3 - np.sqrt(5.0))
    r = np.sqrt(1 - z**2)
    return np.stack([r * np.cos(azimuth), r * np.sin(azimuth), z], -1)


def cameras_on_sphere(n: int, center: NDArray[np.float64], distance: float) -> NDArray[np.float64]:
    """cam_from_objs (n, 4, 4) of upright cameras on a Fibonacci sphere of radius `distance` [m] that look at `center`.

    The object's +z is up in the picture; the few cameras near its poles take +y instead.
    """
    outward = fibonacci_sphere(n)
    forward = -outward
    up = np.where(np.abs(outward[:, 2:]) > 0.98, [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    rotations = np.stack([right, np.cross(forward, right), forward], 1)
    poses = np.tile(np.eye(4), (n, 1, 1))
    poses[:, :3, :3] = rotations
    poses[:, :3, 3] = -(rotations @ (center + distance * outward)[..., None])[..., 0]
    return poses
