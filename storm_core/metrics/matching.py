"""Which estimate counts for which annotated instance, by the greedy rule of BOP and COCO."""

import numpy as np
from numpy.typing import NDArray

NOBODY = -1


def greedy_matches(errors: NDArray[np.float64], thresholds: NDArray[np.float64],
                   valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Index (K, G) of the estimate that finds each instance at each threshold, NOBODY where none does.

    Estimates choose in order; each takes the free valid instance with the smallest error, if that is below the
    threshold.

    Args:
      errors: (E, G, K) of estimates in order of falling score, per instance and threshold. thresholds: (K,).
      valid: (G,) instances that may be found.
    """
    free = np.tile(valid, (len(thresholds), 1))
    out = np.full(free.shape, NOBODY)
    rows = np.arange(len(thresholds))
    for e, error in enumerate(errors if len(valid) else ()):
        left = np.where(free, error.T, np.inf)
        best = left.argmin(1)
        found = left[rows, best] < thresholds
        free[rows[found], best[found]] = False
        out[rows[found], best[found]] = e
    return out


def most_visible(visible: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """(G,) mask of the `count` most visible instances; among equals the first."""
    out = np.zeros(len(visible), bool)
    out[np.argsort(-visible, kind="stable")[:count]] = True
    return out
