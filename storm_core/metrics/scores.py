"""From errors to scores. A missing prediction has error inf and fails everywhere."""

import numpy as np
from numpy.typing import ArrayLike

AUC_LIMIT_M = 0.1
"""The area under accuracy over threshold is taken from 0 to this [m]."""


def auc(errors: ArrayLike, limit: float = AUC_LIMIT_M) -> float:
    """Area under accuracy-over-threshold from 0 to `limit`, divided by `limit`; nan without errors.

    Accuracy at a threshold is the share of errors not above it, so the exact area is the mean of
    max(0, 1 - error / limit).
    """
    e = np.asarray(errors, float)
    return float(np.clip(1.0 - e / limit, 0.0, None).mean()) if e.size else float("nan")


def recall(errors: ArrayLike, threshold: float) -> float:
    """Share of errors below the threshold; nan without errors."""
    e = np.asarray(errors, float)
    return float((e < threshold).mean()) if e.size else float("nan")


def quantile(values: ArrayLike, q: float) -> float:
    """The smallest value that at least a share q of the values does not exceed; inf values are allowed."""
    v = np.asarray(values, float)
    return float(np.quantile(v, q, method="inverted_cdf")) if v.size else float("nan")


def quantiles(values: ArrayLike, **at: float) -> dict[str, float]:
    """{name: quantile}, e.g. quantiles(ms, p50=0.5, p95=0.95)."""
    return {name: quantile(values, q) for name, q in at.items()}
