"""Errors of single targets, for reports of evaluations that have no time series."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, kw_only=True)
class TargetErrors:
    """Every target of one object. keys: (scene_id, im_id) of each.

    Attributes:
      add_m, adds_m: (N,) [m]; inf where the target has no estimate.
    """

    keys: Sequence[tuple[int, int]]
    add_m: NDArray[np.float64]
    adds_m: NDArray[np.float64]
