"""Rotation matrices <-> quaternions (x, y, z, w), one at a time: scipy's, made for stacks, takes about fifteen times as
long, and every tracked pose is converted several times."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray


def quaternion_of(rotation: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Unit quaternion of a rotation (3, 3), found from its largest component (Shepperd, 1978)."""
    (a, b, c), (d, e, f), (g, h, i) = rotation.tolist()
    four_squares = (1 + a - e - i, 1 - a + e - i, 1 - a - e + i, 1 + a + e + i)
    largest = max(range(4), key=four_squares.__getitem__)
    x, y, z, w = ((four_squares[0], b + d, c + g, h - f),
                  (b + d, four_squares[1], f + h, c - g),
                  (c + g, f + h, four_squares[2], d - b),
                  (h - f, c - g, d - b, four_squares[3]))[largest]
    length = sqrt(x * x + y * y + z * z + w * w)
    return x / length, y / length, z / length, w / length


def matrix_of(xyzw: Sequence[float]) -> NDArray[np.float64]:
    """Rotation (3, 3) of a quaternion of any length but 0."""
    x, y, z, w = xyzw
    s = 2.0 / (x * x + y * y + z * z + w * w)
    return np.array([[1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
                     [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
                     [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)]])
