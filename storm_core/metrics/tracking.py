"""Figures of one tracked object over a recording. Pure functions over per-frame arrays of equal length."""

import numpy as np
from numpy.typing import NDArray

WRONG_SHARE = 0.2
"""A trusted pose whose MSSD exceeds this share of the diameter is confidently wrong."""

Bools = NDArray[np.bool_]


def coverage(trusted: Bools, visible: Bools) -> float:
    """Share of frames with a visible object that have a trusted pose; nan when it is never visible."""
    return float(trusted[visible].mean()) if visible.any() else float("nan")


def confidently_wrong(mssds_m: NDArray[np.float64], trusted: Bools, judged: Bools, diameter: float) -> float:
    """Share of trusted poses in judged frames with MSSD > 0.2 diameter; nan when there is none.

    Args:
      mssds_m: MSSD [m]; inf where the object is known not to be in the picture.
      judged: the truth is accurate enough to tell.
    """
    counted = trusted & judged
    return float((mssds_m[counted] > WRONG_SHARE * diameter).mean()) if counted.any() else float("nan")


def first(trusted: Bools) -> int | None:
    """Index of the first trusted frame."""
    return int(np.argmax(trusted)) if trusted.any() else None
