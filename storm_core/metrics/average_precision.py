"""Average precision as COCO and BOP compute it: precision at 101 recalls."""

import numpy as np
from numpy.typing import NDArray

RECALLS = np.linspace(0.0, 1.0, 101)


def average_precision(scores: NDArray[np.float64], correct: NDArray[np.bool_], ignored: NDArray[np.bool_],
                      wanted: int) -> NDArray[np.float64]:
    """AP (T,) at each threshold; nan when nothing was wanted.

    The precision at a recall is the best one at that recall or a higher one, 0 above the largest reached.

    Args:
      scores: (N,) of all detections of one object. correct, ignored: (N, T) at each threshold.
      wanted: instances to be found.
    """
    count = correct.shape[1]
    if wanted == 0:
        return np.full(count, np.nan)
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum((correct & ~ignored)[order], 0)
    false = np.cumsum(~(correct | ignored)[order], 0)
    out = np.zeros(count)
    for t in range(count):
        precision = hits[:, t] / np.maximum(hits[:, t] + false[:, t], 1)
        envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        out[t] = envelope[np.searchsorted(hits[:, t] / wanted, RECALLS, "left")].mean()
    return out
