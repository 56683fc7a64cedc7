"""6D detection of BOP 2024: average precision when nobody says what an image shows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.metrics.average_precision import average_precision
from storm_core.metrics.matching import NOBODY, greedy_matches

MILLIMETRES = np.arange(2, 21, 2).astype(float)
"""Thresholds of MSSD [mm]."""
VISIBLE_SHARE = 0.1
"""Less visible instances need not be found; whoever finds one is neither right nor wrong."""
ESTIMATES_PER_IMAGE = 100
"""Those of highest score count."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Detected:
    """The estimates of one object in one image against all its annotated instances.

    Attributes:
      scores: (E,) falling. errors: (E, G). visible: (G,) visible share of each instance.
    """

    scores: NDArray[np.float64]
    errors: NDArray[np.float64]
    visible: NDArray[np.float64]


def detection_ap(detected: Sequence[Detected], thresholds: NDArray[np.float64]) -> float:
    """AP of one object over its images, averaged over the thresholds; nan when no instance is visible anywhere.

    As in BOP's own evaluation, estimates in images that do not show the object at all are not part of it.
    """
    scores, correct, ignored = [], [], []
    wanted = 0
    for d in detected:
        counts = d.visible >= VISIBLE_SHARE
        wanted += int(np.count_nonzero(counts))
        errors = np.repeat(d.errors[:, :, None], len(thresholds), 2)
        matches = greedy_matches(errors, thresholds, np.ones(len(d.visible), bool))
        right, aside = (np.zeros((len(d.scores), len(thresholds)), bool) for _ in range(2))
        for found, columns in ((right, matches[:, counts]), (aside, matches[:, ~counts])):
            rows = np.nonzero(columns != NOBODY)
            found[columns[rows], rows[0]] = True
        scores.append(d.scores)
        correct.append(right)
        ignored.append(aside)
    if not wanted:
        return float("nan")
    return float(average_precision(np.concatenate(scores), np.concatenate(correct), np.concatenate(ignored),
                                   wanted).mean())
