"""One calibrated answer to "is this pose right?": a logistic model over the evidence of a render-and-compare.

Unknown evidence (nan) is neutral: it neither supports nor contradicts. Weights are data, not code: see `DEFAULT`.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.compare import TELLING_CONTRAST, precision, to_evidence
from storm_core.kernels import njit
from storm_core.types import Evidence

FEATURES = (
    "explained",
    "behind",
    "fit",
    "contour",
    "edge",
    "seam",
    "hue",
    "color",
    "occluded",
    "support",
)


SUPPORT_WEIGHT = 3.0
"""Log-odds per unit of supported share when poses of one frame are ordered."""

PRECISION_WEIGHT = 15.0
"""Log-odds per unit of precision when poses of one frame are ordered: a tenth of the tolerance counts 0.75."""

CLASH, CLASH_COST = 0.5, 4.0
"""Overlap of the hues below which they contradict each other, and how fast doubt grows from there. Of rendered
validation objects at their true places 99 % have more than 0.8 (those below 0.5 are of one colour, in dim light),
objects of the same shape in other colours 0.58 at most."""


def feature_vector(e: Evidence) -> np.ndarray:
    """The verifier's inputs (..., len(FEATURES)); nan = unknown. The evidence's fields may be arrays (...).

    Where depth is missing the picture alone can support a pose; that it does not contradicts nothing.

    explained: inlier share of what is neither occluded nor without depth.
    hue: overlap, less what lacks to CLASH several times over.
    color: correlation beyond 0.3, shrunk for models whose visible side has little texture to correlate; with and
      without depth weighted by their areas.
    support: share that depth or, without depth, colour supports, saturated at one half: a pose seen nowhere is no pose.
    """
    features = _features(*_inputs(e))[:-1]
    return np.array(features) if np.ndim(e.inlier) == 0 else np.stack(np.broadcast_arrays(*features), -1)


def _inputs(e: Evidence) -> tuple[Any, ...]:
    return (e.inlier, e.occluded, e.behind, e.missing, e.fit, e.contour, e.edge, e.seam, e.color, e.picture, e.contrast,
            e.hue)


def _features(inlier, occluded, behind, missing, fit, contour, edge, seam, color, picture, contrast, hue):  # noqa: ANN001, ANN202, PLR0913
    """The features, then how far colour vouches for pixels without depth, in [0, 1]; of arrays, or compiled of numbers.
    """
    known = 1.0 - occluded - missing
    explained = np.where(known > 0.02, inlier / np.maximum(known, 0.02), np.nan)[()]  # numbers stay numbers
    # How much colour can say. fmax takes the number where the other is nan: unknown counts as nothing.
    telling = np.fmax(np.minimum(np.divide(contrast, TELLING_CONTRAST), 1.0), 0.0)
    trust = np.fmax(np.minimum((np.subtract(picture, 0.5)) / 0.35, 1.0), 0.0) * telling
    support = np.minimum(inlier + trust * missing, 0.5)
    seen = np.maximum(inlier + missing, 1e-9)
    both = np.where(np.isnan(color), picture, (inlier * color + missing * picture) / seen)[()]
    return (explained, behind, fit, contour, edge, seam, hue - CLASH_COST * np.maximum(CLASH - hue, 0.0),
            (both - 0.3) * telling, occluded, support, trust)


def supported_share(e: Evidence) -> np.ndarray:
    """Share of the silhouette, inside the image or not, that depth or, without depth, colour supports."""
    return (e.inlier + _features(*_inputs(e))[-1] * e.missing) * e.inside


_compiled_features = njit(cache=True)(_features)


@njit(cache=True)
def _single_kernel(center, weight, evidence):  # noqa: ANN001, ANN202
    """Terms (len(FEATURES),) of one pose, and how far colour vouches; evidence: the arguments of `_features`."""
    features = _compiled_features(*evidence)
    out = np.empty(len(center))
    for k in range(len(center)):
        term = weight[k] * (features[k] - center[k])
        out[k] = term if np.isfinite(term) else 0.0
    return out, features[-1]


@dataclass(frozen=True)
class Verifier:
    """p = sigmoid(bias + sum_i weight_i * (x_i - center_i)), over known features.

    Attributes:
      center: value at which a feature is neutral. weight: log-odds per unit.
    """

    center: tuple[float, ...]
    weight: tuple[float, ...]
    bias: float

    def terms(self, evidence: Evidence) -> dict[str, float]:
        """Log-odds each feature adds (negative: doubt); unknown features add nothing."""
        return dict(zip(FEATURES, self._single(evidence)[0].tolist(), strict=True))

    def log_odds(self, evidence: Evidence) -> float:
        return self.bias + sum(self._single(evidence)[0].tolist())

    def log_odds_of(self, x: np.ndarray) -> np.ndarray:
        """Log-odds (...,) of feature vectors (..., len(FEATURES))."""
        return self.bias + self._terms(x).sum(-1)

    def _terms(self, x: np.ndarray) -> np.ndarray:
        terms = np.asarray(self.weight) * (x - np.asarray(self.center))
        return np.where(np.isfinite(terms), terms, 0.0)

    def table_log_odds(self, table: np.ndarray) -> np.ndarray:
        """Log-odds (N,) of the rows of a comparison table."""
        return self.log_odds_of(feature_vector(to_evidence(table.T)))

    def ranking(self, table: np.ndarray) -> np.ndarray:
        """Values (N,) that order poses of one object in one frame.

        Log-odds, how exactly depth fits, and how much of the pose is supported: else the best pose hides in clutter.
        """
        if len(table) == 1:  # compiled: tracked poses are ranked one by one, in every frame
            e = to_evidence(table[0])
            terms, trust = self._single(e)
            supported = SUPPORT_WEIGHT * (e.inlier + trust * e.missing) * e.inside
            return self.bias + terms.sum() + PRECISION_WEIGHT * precision(table) + np.nan_to_num(supported)
        explained = SUPPORT_WEIGHT * supported_share(to_evidence(table.T))
        return self.table_log_odds(table) + PRECISION_WEIGHT * precision(table) + np.nan_to_num(explained)

    def probability(self, evidence: Evidence) -> float:
        """Calibrated probability in [0, 1] that the pose is within 0.1 diameter."""
        return 1.0 / (1.0 + math.exp(-min(max(self.log_odds(evidence), -30.0), 30.0)))

    def _single(self, evidence: Evidence) -> tuple[NDArray[np.float64], float]:
        return _single_kernel(*self._arrays, _inputs(evidence))

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.array(self.center), np.array(self.weight)


# Fitted by `storm train verifier --scenes 33` (strength 100, 1057 judged poses of simulated scenes), together with the
# share without depth, which was left out afterwards: it only cost right poses in the holes of the depth image.
# fmt: off
#          explained behind fit contour edge seam hue color occluded support
DEFAULT = Verifier(
    center=(0.9503, 0.0279, 0.8084, 0.8549, 0.7923, 1.3, 0.6965, 0.2259, 0.2383, 0.4157),
    weight=(3.047, -3.099, 1.942, 4.917, 2.389, -0.306, 2.135, 4.327, -1.4, 4.447),
    bias=-0.09)
# fmt: on
