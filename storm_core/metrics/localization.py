"""6D localization of BOP: average recall when it is known how many instances of which object an image shows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.metrics.matching import NOBODY, greedy_matches, most_visible

SHARES = np.arange(0.05, 0.51, 0.05)
"""Thresholds of VSD, and of MSSD / diameter."""
PIXELS = np.arange(5, 51, 5).astype(float)
"""Thresholds of MSPD [px] in an image that is 640 px wide."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Sought:
    """The estimates of one object in one image against its annotated instances.

    Attributes:
      errors: (E, G) or, with one error per tolerance (VSD), (E, G, T); estimates in order of falling score.
      visible: (G,) visible share of each instance. wanted: how many are to be found.
    """

    errors: NDArray[np.float64]
    visible: NDArray[np.float64]
    wanted: int

    @property
    def targets(self) -> int:
        """The instances that count: as many as wanted, the most visible first."""
        return min(self.wanted, len(self.visible))


def average_recall(sought: Sequence[Sought], thresholds: NDArray[np.float64]) -> float:
    """Share of targets that were found, averaged over the thresholds (and the tolerances); nan without targets.

    Only the `wanted` estimates of highest score count.
    """
    targets = sum(s.targets for s in sought)
    if targets == 0:
        return float("nan")
    found: NDArray[np.int64] | int = 0
    for s in sought:
        errors = s.errors[:s.wanted] if s.errors.ndim == 3 else s.errors[:s.wanted, :, None]
        tolerances = errors.shape[2]
        matches = greedy_matches(np.repeat(errors, len(thresholds), 2), np.tile(thresholds, tolerances),
                                 most_visible(s.visible, s.wanted))
        found = found + np.count_nonzero(matches != NOBODY, axis=1)
    return float(np.mean(found) / targets)
