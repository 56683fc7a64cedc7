"""Each time the object came back into view, and how long the system took to find it again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REAPPEARED_SHARE = 0.3
"""Visible share from which a recovery is due."""


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


def reappearances(visible_share: NDArray[np.float64], trusted: NDArray[np.bool_], stamps_ns: Sequence[int],
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
