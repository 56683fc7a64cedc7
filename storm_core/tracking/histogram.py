"""Colour statistics of object and surroundings: what makes a pixel look like the object.

16 x 16 x 16 RGB histograms of foreground and background, learnt online. Only pixels whose measured depth agrees with
the pose teach the foreground, so an occluder's colours never become the object's.
"""

import numpy as np
from numpy.typing import NDArray

from storm_core.kernels import njit
from storm_core.tracking.sparse_model import SparseView
from storm_core.types import Frame

BINS = 4096
LEARNING_RATE = 0.15
LEAST_COUNT = 30
"""Pixels below which a frame teaches nothing about object or surroundings."""

PRIOR_COUNT = 2e-5
"""Belief in a colour never seen, per bin: unseen colours stay undecided."""


@njit(cache=True)
def color_bin(rgb, y, x):
    """Histogram bin of one pixel of an (H, W, 3) uint8 image."""
    return ((rgb[y, x, 0] >> 4) << 8) | ((rgb[y, x, 1] >> 4) << 4) | (rgb[y, x, 2] >> 4)


@njit(cache=True, nogil=True)
def count_kernel(rgb, depth_image, rendered, crop, tolerance):
    """Counts of the 4096 colours on the object and around it, (2, 4096).

    Foreground: silhouette pixels, two px inside, whose depth agrees within `tolerance` [m] (or that have no depth).
    Background: crop pixels at least two px outside, whose depth does not continue in front of the object.
    """
    counts = np.zeros((2, 4096))
    h, w = depth_image.shape
    side = rendered.shape[0]
    margin = max(1, int(np.ceil(2.0 / crop[6])))
    for v in range(margin, side - margin):
        for u in range(margin, side - margin):
            x, y = int(np.floor(crop[4] + crop[6] * u + 0.5)), int(np.floor(crop[5] + crop[6] * v + 0.5))
            if x < 0 or y < 0 or x >= w or y >= h:
                continue
            here = rendered[v, u] > 0
            if (
                here != (rendered[v - margin, u] > 0)
                or here != (rendered[v + margin, u] > 0)
                or here != (rendered[v, u - margin] > 0)
                or here != (rendered[v, u + margin] > 0)
            ):
                continue
            z = depth_image[y, x]
            if here and z > 0 and abs(z - rendered[v, u]) > tolerance:
                continue
            counts[0 if here else 1, color_bin(rgb, y, x)] += 1
    return counts


def count(frame: Frame, view: SparseView, tolerance: float) -> NDArray[np.float64]:
    """Colour counts (2, 4096) of one frame seen through a view rendered at the current pose."""
    return count_kernel(frame.rgb, frame.depth, view.depth, view.crop, tolerance)


@njit(cache=True)
def posterior_kernel(histograms):
    """Probability (4096,) that a pixel of each colour belongs to the object, equal priors."""
    out = np.empty(BINS, np.float32)
    for i in range(BINS):
        out[i] = (histograms[0, i] + PRIOR_COUNT) / (histograms[0, i] + histograms[1, i] + 2.0 * PRIOR_COUNT)
    return out


@njit(cache=True, nogil=True)
def learn_kernel(histograms, counts, rates):
    """Move histograms (2, 4096) in place towards counts (2, 4096), foreground and background at rates of their own;
    returns the new posterior. What fewer than LEAST_COUNT pixels say is not learnt."""
    for k in range(2):
        total = counts[k].sum()
        if total >= LEAST_COUNT:
            for i in range(BINS):
                histograms[k, i] += rates[k] * (counts[k, i] / total - histograms[k, i])
    return posterior_kernel(histograms)


class ColorModel:
    """Foreground and background colour histograms of one object, and the posterior table made from them."""

    def __init__(self, counts: NDArray[np.float64]) -> None:
        self._histograms = counts / np.maximum(counts.sum(1, keepdims=True), 1.0)
        self.posterior = posterior_kernel(self._histograms)

    def learn(self, counts: NDArray[np.float64], share: float) -> None:
        """Blend in the counts (2, 4096) of a frame; `share` in [0, 1] says how much of the object they show."""
        self.posterior = learn_kernel(self._histograms, counts, (LEARNING_RATE * share, LEARNING_RATE))
