"""Confidence intervals of figures over a time series: the circular block bootstrap (Politis and Romano, 1992).

Neighbouring frames are alike, so whole blocks of them are drawn; drawing single frames would promise too much.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 2000
LEVEL = 0.95
_CHUNK = 4_000_000
"""Values held in memory at once."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Resamples:
    """Which frames each resample holds: blocks of neighbours, round the end.

    Attributes:
      starts: (B, M) first frame of each block. lengths: (M,) frames of each block; they add up to `frames`.
    """

    frames: int
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def sums(self, values: Array) -> Array:
        """Sum of values (N,) over each resample (B,)."""
        running = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values]))])
        return (running[self.starts + self.lengths] - running[self.starts]).sum(1)

    def indices(self, part: slice) -> NDArray[np.int64]:
        """Frame numbers (b, N) of some resamples."""
        offset = np.concatenate([np.arange(n) for n in self.lengths])
        return (np.repeat(self.starts[part], self.lengths, axis=1) + offset) % self.frames


def block_resamples(frames: int, *, seed: int, resamples: int = RESAMPLES, block: int | None = None) -> Resamples:
    """Draw resamples of a series.

    Args:
      block: frames per block; None = the square root of the number of frames.
    """
    size = min(max(1, round(math.sqrt(frames)) if block is None else block), frames)
    count = -(-frames // size)
    lengths = np.full(count, size)
    lengths[-1] = frames - size * (count - 1)
    return Resamples(frames=frames, lengths=lengths,
                     starts=np.random.default_rng(seed).integers(0, frames, (resamples, count)))


def ratio_samples(resamples: Resamples, values: Array, counted: Array) -> Array:
    """Mean of values (N,) over the counted frames of each resample (B,); nan where none is counted.

    Args:
      counted: (N,) weight of each frame; `values` are already multiplied by it.
    """
    weight = resamples.sums(counted)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(weight > 0.5, resamples.sums(values) / weight, np.nan)


def quantile_samples(resamples: Resamples, values: Array, q: float) -> Array:
    """Quantile (as `scores.quantile`) over each resample (B,) of values (N, ...); nan values do not count, inf do."""
    flat = values.reshape(len(values), -1)
    out = np.empty(len(resamples.starts))
    step = max(1, _CHUNK // max(flat.size, 1))
    for k in range(0, len(out), step):
        drawn = np.sort(flat[resamples.indices(slice(k, k + step))].reshape(-1, flat.size), axis=1)  # nan goes last
        n = (~np.isnan(drawn)).sum(1)
        at = np.clip(np.ceil(q * n - 1e-9).astype(int) - 1, 0, None)
        out[k:k + step] = np.where(n > 0, drawn[np.arange(len(drawn)), at], np.nan)
    return out


def interval(samples: Array, level: float = LEVEL) -> tuple[float, float] | None:
    """The central share `level` of the samples; None when more than half of the resamples have no figure."""
    known = samples[~np.isnan(samples)]
    if 2 * len(known) < len(samples) or not len(known):
        return None
    tail = (1 - level) / 2
    low, high = np.quantile(known, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def share_interval(samples: Array, blocks: int, level: float = LEVEL) -> tuple[float, float] | None:
    """`interval` of a share. Where every resample says 0 or 1 (nothing ever differed), the far end is what `blocks`
    independent trials without a single exception leave possible (Clopper and Pearson, 1934)."""
    found = interval(samples, level)
    if found is None or found[0] != found[1] or found[0] not in (0.0, 1.0):
        return found
    possible = 1.0 - ((1 - level) / 2) ** (1.0 / blocks)
    return (0.0, possible) if found[0] == 0.0 else (1.0 - possible, 1.0)
