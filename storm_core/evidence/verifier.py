"""One calibrated answer to "is this pose right?": a logistic model over the evidence of a render-and-compare.

Unknown evidence (nan) is neutral: it neither supports nor contradicts. Weights are data, not code: see `DEFAULT`.
"""

from dataclasses import dataclass

import numpy as np

from storm_core.evidence.compare import TELLING_CONTRAST, precision, to_evidence
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
    "missing",
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

    Where depth is missing the picture alone can support a pose: such pixels count as missing as far as it does not.

    explained: inlier share of what is neither occluded nor without depth.
    hue: overlap, less what lacks to CLASH several times over.
    color: correlation beyond 0.3, shrunk for models whose visible side has little texture to correlate; with and
      without depth weighted by their areas.
    missing: share without depth and without support by colour.
    support: share that depth or, without depth, colour supports, saturated at one half: a pose seen nowhere is no pose.
    """
    known = 1.0 - e.occluded - e.missing
    explained = np.where(known > 0.02, e.inlier / np.maximum(known, 0.02), np.nan)
    telling, trust = _telling_and_trust(e)
    support = np.minimum(e.inlier + trust * e.missing, 0.5)
    seen = np.maximum(e.inlier + np.asarray(e.missing), 1e-9)
    color = np.where(np.isnan(e.color), e.picture, (e.inlier * np.asarray(e.color) + e.missing * np.asarray(e.picture))
                     / seen)
    features = (
        explained,
        e.behind,
        e.fit,
        e.contour,
        e.edge,
        e.seam,
        e.hue - CLASH_COST * np.maximum(CLASH - np.asarray(e.hue), 0.0),
        (color - 0.3) * telling,
        e.occluded,
        (1.0 - trust) * e.missing,
        support,
    )
    return np.array(features) if np.ndim(e.inlier) == 0 else np.stack(np.broadcast_arrays(*features), -1)


def _telling_and_trust(e: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """How much colour can say, and how far it vouches for pixels without depth; both in [0, 1]."""
    # fmax takes the number where the other is nan: unknown counts as nothing.
    telling = np.fmax(np.minimum(np.divide(e.contrast, TELLING_CONTRAST), 1.0), 0.0)
    return telling, np.fmax(np.minimum((np.asarray(e.picture) - 0.5) / 0.35, 1.0), 0.0) * telling


def supported_share(e: Evidence) -> np.ndarray:
    """Share of the silhouette, inside the image or not, that depth or, without depth, colour supports."""
    return (e.inlier + _telling_and_trust(e)[1] * e.missing) * e.inside


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
        return dict(zip(FEATURES, self._terms(feature_vector(evidence)).tolist(), strict=True))

    def log_odds(self, evidence: Evidence) -> float:
        return float(self.log_odds_of(feature_vector(evidence)))

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
        explained = SUPPORT_WEIGHT * supported_share(to_evidence(table.T))
        return self.table_log_odds(table) + PRECISION_WEIGHT * precision(table) + np.nan_to_num(explained)

    def probability(self, evidence: Evidence) -> float:
        """Calibrated probability in [0, 1] that the pose is within 0.1 diameter."""
        return float(1.0 / (1.0 + np.exp(-np.clip(self.log_odds(evidence), -30, 30))))


# Fitted by `storm train verifier --scenes 33` (strength 100, 1057 judged poses of simulated scenes).
# fmt: off
#          explained behind fit contour edge seam hue color occluded missing support
DEFAULT = Verifier(
    center=(0.9503, 0.0279, 0.8084, 0.8549, 0.7923, 1.3, 0.6965, 0.2259, 0.2383, 0.065, 0.4157),
    weight=(3.047, -3.099, 1.942, 4.917, 2.389, -0.306, 2.135, 4.327, -1.4, -2.262, 4.447),
    bias=-0.09)
# fmt: on
