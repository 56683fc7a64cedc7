"""Do published probabilities mean what they say? Pure functions over judged poses."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BINS = 10
POINTS = 101
"""Longest precision-recall curve kept."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration:
    """Attributes:
      ece: expected calibration error, the mean |stated - observed| over equal-width bins weighted by their counts.
      brier: mean squared difference of probability and outcome.
      p, right: (B,) mean probability and share of right poses of each bin that is not empty. n: (B,) its count.
    """

    ece: float
    brier: float
    p: Array
    right: Array
    n: NDArray[np.int64]


def calibration(probability: Array, right: NDArray[np.bool_], bins: int = BINS) -> Calibration:
    """Calibration of probabilities (M,) against outcomes (M,); nan figures and no bins without poses."""
    if not len(probability):
        return Calibration(ece=float("nan"), brier=float("nan"), p=np.empty(0), right=np.empty(0),
                           n=np.empty(0, np.int64))
    index = np.clip((probability * bins).astype(int), 0, bins - 1)
    n = np.bincount(index, minlength=bins)
    used = n > 0
    p = np.bincount(index, probability, bins)[used] / n[used]
    share = np.bincount(index, right, bins)[used] / n[used]
    return Calibration(ece=float((n[used] * np.abs(p - share)).sum() / n.sum()),
                       brier=float(((probability - right) ** 2).mean()), p=p, right=share, n=n[used])


@dataclass(frozen=True, eq=False, kw_only=True)
class PrecisionRecall:
    """What would happen if only poses of at least this probability were accepted; (K,) arrays, falling probability.

    Attributes:
      precision: share of right poses among the accepted. recall: right accepted poses / frames that have an answer.
      ap: area under precision over recall.
    """

    probability: Array
    precision: Array
    recall: Array
    ap: float


def precision_recall(probability: Array, right: NDArray[np.bool_], wanted: int) -> PrecisionRecall:
    """Precision and recall over the acceptance threshold.

    Args:
      probability, right: (M,) judged poses. wanted: number of frames in which a right pose was possible.
    """
    order = np.argsort(-probability, kind="stable")
    p, hits = probability[order], np.cumsum(right[order])
    last = np.flatnonzero(np.r_[p[1:] != p[:-1], True]) if len(p) else np.empty(0, np.int64)
    precision, recall = hits[last] / (last + 1.0), hits[last] / max(wanted, 1)
    area = float((precision * np.diff(recall, prepend=0.0)).sum()) if wanted else float("nan")
    kept = np.unique(np.linspace(0, len(last) - 1, min(len(last), POINTS)).round().astype(int))
    return PrecisionRecall(probability=p[last][kept], precision=precision[kept], recall=recall[kept], ap=area)
