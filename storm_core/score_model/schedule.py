"""Noise widths of the score network over its level in [0, 1]; shared by training and sampling."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Schedule:
    """Variance-exploding noise: both widths grow by a constant factor per level.

    At level 1 the rotation is uniform on SO(3) to 1 % (its first character has decayed by exp(-turn_high^2)), and the
    shift covers every place at which the object can touch its mask.

    Attributes:
      shift_low, shift_high: standard deviation per axis of the object centre [diameters].
      turn_low, turn_high: standard deviation per axis of the rotation [rad].
    """

    shift_low: float = 0.008
    shift_high: float = 0.5
    turn_low: float = 0.02
    turn_high: float = 2.5

    def widths(self, level: ArrayLike) -> NDArray[np.float64]:
        """(..., 2) widths of shift [diameters] and turn [rad] at levels (...)."""
        x = np.asarray(level, float)[..., None]
        low, high = np.array([self.shift_low, self.turn_low]), np.array([self.shift_high, self.turn_high])
        return low * (high / low) ** x
