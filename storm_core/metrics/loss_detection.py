"""Does the system notice when it loses the object? Pure functions over per-frame arrays of equal length."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The tracked pose became wrong, or its object could not be seen any more.

    Attributes:
      at: first such frame. detected_at: first frame from then on without trust (may be `at` itself); None when trust
        lasted until the pose was right again by itself, or to the end.
    """

    at: int
    detected_at: int | None


def losses(trusted: Bools, held: Bools, bad: Bools, known: Bools) -> list[Loss]:
    """Every loss of one object in order of time.

    A loss begins when a pose that is held becomes bad, and again whenever trust is given to a bad pose. A pose that
    was already given up when it became bad is detected at once.

    Args:
      trusted: a trusted pose is published. held: a trusted or coasting one.
      bad: the published pose is wrong, or the object is hidden. known: `bad` can be told; other frames are passed over.
    """
    out: list[Loss] = []
    open_at: int | None = None
    was_bad = False
    for k in range(len(trusted)):
        if open_at is not None and not trusted[k]:
            out.append(Loss(at=open_at, detected_at=k))
            open_at = None
        elif known[k] and open_at is not None and not bad[k]:
            out.append(Loss(at=open_at, detected_at=None))
            open_at = None
        elif known[k] and open_at is None and bad[k]:
            if trusted[k]:
                open_at = k
            elif not was_bad and k > 0 and held[k - 1]:
                out.append(Loss(at=k, detected_at=k))
        if known[k]:
            was_bad = bool(bad[k])
    if open_at is not None:
        out.append(Loss(at=open_at, detected_at=None))
    return out


def withdrawals(trusted: Bools, bad: Bools, known: Bools, commanded: Bools) -> list[bool]:
    """For every time trust was withdrawn: was it right?

    Right when the pose was bad in the frame before, or became bad before trust returned; wrong when it was not. Those
    that nothing is known about, and those a user commanded, are left out.
    """
    out = []
    starts = np.flatnonzero(trusted[:-1] & ~trusted[1:]) + 1
    returns = np.flatnonzero(~trusted[:-1] & trusted[1:]) + 1
    for start in starts:
        later = returns[returns > start]
        window = slice(start - 1, int(later[0]) if len(later) else len(trusted))
        if known[window].any() and not commanded[start]:
            out.append(bool((bad & known)[window].any()))
    return out


ANSWER_FRAMES = 5
"""A new registration answers whatever was wrong in so many frames before it."""


def false_reregistrations(reregistered: Bools, published: Bools, right: Bools, hidden: Bools) -> int:
    """Number of new registrations of an object whose last ANSWER_FRAMES published poses were right and that was never
    out of sight since: it was given up without need.

    A decision needs some frames; one that was made because of wrong poses is not false because they ended just then.
    """
    count = 0
    for k in np.flatnonzero(reregistered):
        before = np.flatnonzero(published[:k])[-ANSWER_FRAMES:]
        count += bool(len(before) and right[before].all() and not hidden[before[-1]:k].any())
    return count


def carried(values: Bools, answered: Bools) -> Bools:
    """Values of frames that were dropped are those of the frame before: silence for one frame is no statement."""
    index = np.maximum.accumulate(np.where(answered, np.arange(len(values)), -1))
    return np.where(index >= 0, values[index], False)


def delays(found: Sequence[Loss], stamps_ns: NDArray[np.int64]) -> tuple[list[int], list[float]]:
    """Frames and seconds from the beginning of each detected loss to its detection."""
    known = [(e.at, e.detected_at) for e in found if e.detected_at is not None]
    return [b - a for a, b in known], [float(stamps_ns[b] - stamps_ns[a]) * 1e-9 for a, b in known]
