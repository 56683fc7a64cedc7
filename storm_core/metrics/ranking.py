"""How well scores separate two classes, whatever threshold is chosen. Pure functions."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata


def auroc(scores: ArrayLike, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve (Mann-Whitney, ties count half); nan when a class is empty.

    Args:
      scores: (N,) larger = more likely positive.
    """
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    return float((rankdata(np.asarray(scores, float))[positive].sum() - n * (n + 1) / 2) / (n * m))


def fpr_at_tpr(scores: ArrayLike, positive: NDArray[np.bool_], tpr: float) -> float:
    """Share of negatives that score at least as high as the threshold which a share `tpr` of the positives reaches.

    nan when a class is empty.
    """
    s = np.asarray(scores, float)
    if not positive.any() or positive.all():
        return float("nan")
    hits = np.sort(s[positive])[::-1]
    threshold = hits[int(np.ceil(tpr * len(hits) - 1e-9)) - 1]
    return float((s[~positive] >= threshold).mean())


def roc(scores: ArrayLike, positive: NDArray[np.bool_], points: int = 400) -> tuple[NDArray, NDArray]:
    """(false positive rate (K,), true positive rate (K,)), rising, from (0, 0) to (1, 1); at most `points` + 1."""
    s = np.asarray(scores, float)
    order = np.argsort(-s, kind="stable")
    hits = np.cumsum(positive[order])
    last = np.flatnonzero(np.r_[np.diff(s[order]) != 0, True]) if len(s) else np.empty(0, np.int64)
    kept = last[np.unique(np.linspace(0, len(last) - 1, min(points, len(last))).round().astype(int))]
    fpr, tpr = (kept + 1 - hits[kept]) / max(1, (~positive).sum()), hits[kept] / max(1, positive.sum())
    return np.r_[0.0, fpr], np.r_[0.0, tpr]
