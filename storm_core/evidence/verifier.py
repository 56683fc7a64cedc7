"""One calibrated answer to "is this pose right?": a logistic model over the evidence of a render-and-compare.

Unknown evidence (nan) is neutral: it neither supports nor contradicts. Weights are data, not code: see `DEFAULT`.
"""

from dataclasses import dataclass

import numpy as np

from storm_core.evidence.compare import to_evidence
from storm_core.types import Evidence

FEATURES = (
    "explained",
    "behind",
    "residual",
    "normal",
    "contour",
    "edge",
    "seam",
    "hue",
    "color",
    "occluded",
    "missing",
    "support",
)


def feature_vector(e: Evidence) -> np.ndarray:
    """The verifier's inputs (len(FEATURES),); nan = unknown.

    explained: inlier share of what is neither occluded nor without depth.
    color: correlation beyond 0.3, shrunk for models whose visible side has little texture to correlate.
    support: inlier share of everything, saturated at one half: a pose seen nowhere is not a pose.
    """
    known = 1.0 - e.occluded - e.missing
    explained = e.inlier / known if known > 0.02 else float("nan")
    support = min(e.inlier, 0.5)
    color = (e.color - 0.3) * min(1.0, e.contrast / 0.35)
    return np.array(
        [
            explained,
            e.behind,
            e.residual,
            e.normal,
            e.contour,
            e.edge,
            e.seam,
            e.hue,
            color,
            e.occluded,
            e.missing,
            support,
        ]
    )


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
        return self.log_odds_of(feature_vector(evidence))

    def log_odds_of(self, x: np.ndarray) -> float:
        """Log-odds of a feature vector."""
        return self.bias + float(self._terms(x).sum())

    def _terms(self, x: np.ndarray) -> np.ndarray:
        terms = np.asarray(self.weight) * (x - np.asarray(self.center))
        return np.where(np.isfinite(terms), terms, 0.0)

    def table_log_odds(self, table: np.ndarray) -> np.ndarray:
        """Log-odds (N,) of the rows of a comparison table."""
        return np.array([self.log_odds(to_evidence(row)) for row in table])

    def probability(self, evidence: Evidence) -> float:
        """Calibrated probability in [0, 1] that the pose is within 0.1 diameter."""
        return float(1.0 / (1.0 + np.exp(-np.clip(self.log_odds(evidence), -30, 30))))


# Fitted by `storm train verifier --scenes 48` (strength 100, 1392 judged poses of simulated scenes).
# fmt: off
#          explained behind residual normal contour edge seam hue color occluded missing support
DEFAULT = Verifier(
    center=(0.9486, 0.037, 0.0115, 0.9152, 0.7958, 0.75, 1.6015, 0.7021, 0.2012, 0.1323, 0.0832, 0.4727),
    weight=(2.086, -2.134, 0.0, 0.0, 4.608, 2.556, -0.214, 1.946, 4.419, -1.913, -1.551, 4.49),
    bias=-0.163)
# fmt: on
