"""Figures of one tracked object over a recording. Pure functions over per-frame arrays of equal length."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.metrics.pose_error import mssd

WRONG_SHARE = 0.2
"""A trusted pose whose MSSD exceeds this share of the diameter is confidently wrong."""
JUMP_SHARE = 0.1
"""A trusted pose that moves by more than this share of the diameter against the truth within a frame has jumped."""
REAPPEARED_SHARE = 0.3
"""Visible share from which a recovery is due."""

Bools = NDArray[np.bool_]


def coverage(trusted: Bools, visible: Bools) -> float:
    """Share of frames with a visible object that have a trusted pose; nan when it is never visible."""
    return float(trusted[visible].mean()) if visible.any() else float("nan")


def confidently_wrong(mssds_m: NDArray[np.float64], trusted: Bools, judged: Bools, diameter: float) -> float:
    """Share of trusted poses in judged frames with MSSD > 0.2 diameter; 0 when none was published.

    Args:
      mssds_m: MSSD [m]; inf where the object is known not to be in the picture.
      judged: the truth is accurate enough to tell.
    """
    counted = trusted & judged
    return float((mssds_m[counted] > WRONG_SHARE * diameter).mean()) if counted.any() else 0.0


def first(trusted: Bools) -> int | None:
    """Index of the first trusted frame."""
    return int(np.argmax(trusted)) if trusted.any() else None


def jumps(estimates: Sequence[NDArray[np.float64] | None], truths: Sequence[NDArray[np.float64] | None],
          points: NDArray[np.float64], symmetries: NDArray[np.float64], diameter: float) -> int:
    """Number of neighbouring frames whose estimates moved by more than 0.1 diameter against the true motion.

    A constant error is no jump; a flip between symmetric poses is none either.
    """
    count = 0
    for before, after, true_before, true_after in zip(estimates[:-1], estimates[1:], truths[:-1], truths[1:],
                                                      strict=True):
        if before is None or after is None or true_before is None or true_after is None:
            continue
        expected = true_after @ np.linalg.inv(true_before) @ before
        count += mssd(after, expected, points, symmetries) > JUMP_SHARE * diameter
    return int(count)


@dataclass(frozen=True, kw_only=True)
class Reappearance:
    """The object came back after it could not be seen.

    Attributes:
      lost_at, due_at: first frame in which it was invisible, first in which it was 30 % visible again.
      trusted_at: first frame with a trusted pose from due_at on, None when there is none before it vanishes again.
      time_s: stamp difference of the two [s], nan when never.
    """

    lost_at: int
    due_at: int
    trusted_at: int | None
    time_s: float


def reappearances(visible_share: NDArray[np.float64], trusted: Bools, stamps_ns: Sequence[int],
                  hidden_share: float = 0.1) -> list[Reappearance]:
    """Every return of the object after at least one frame below `hidden_share`, once it has been seen at all."""
    out: list[Reappearance] = []
    lost_at: int | None = None
    seen = False
    for k, share in enumerate(visible_share):
        if share < hidden_share:
            if seen and lost_at is None:
                lost_at = k
            continue
        if share < REAPPEARED_SHARE:
            continue
        seen = True
        if lost_at is not None:
            end = next((j for j in range(k, len(visible_share)) if visible_share[j] < hidden_share), len(visible_share))
            found = next((j for j in range(k, end) if trusted[j]), None)
            time_s = float("nan") if found is None else (stamps_ns[found] - stamps_ns[k]) * 1e-9
            out.append(Reappearance(lost_at=lost_at, due_at=k, trusted_at=found, time_s=time_s))
            lost_at = None
    return out
