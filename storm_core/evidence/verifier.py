"""One calibrated answer to "is this pose right?": a logistic model over the evidence of a render-and-compare.

Unknown evidence (nan) is neutral: it neither supports nor contradicts. Weights are data, not code: see `DEFAULT`.
"""

from dataclasses import dataclass

import numpy as np

from storm_core.types import Evidence

FEATURES = ("explained", "behind", "residual", "normal", "contour", "edge", "hue", "color", "occluded", "missing")


def feature_vector(e: Evidence) -> np.ndarray:
    """The verifier's inputs (len(FEATURES),); nan = unknown.

    explained: inlier share of what is neither occluded nor without depth.
    """
    known = 1.0 - e.occluded - e.missing
    explained = e.inlier / known if known > 0.02 else float("nan")
    return np.array([explained, e.behind, e.residual, e.normal, e.contour, e.edge, e.hue, e.color, e.occluded, e.missing])


@dataclass(frozen=True)
class Verifier:
    """p = sigmoid(bias + sum_i weight_i * (x_i - center_i)), over known features.

    Attributes:
      center: value at which a feature is neutral. weight: log-odds per unit.
    """

    center: tuple[float, ...]
    weight: tuple[float, ...]
    bias: float

    def log_odds(self, evidence: Evidence) -> float:
        x = feature_vector(evidence)
        terms = np.asarray(self.weight) * (x - np.asarray(self.center))
        return float(self.bias + np.where(np.isfinite(terms), terms, 0.0).sum())

    def probability(self, evidence: Evidence) -> float:
        """Calibrated probability in [0, 1] that the pose is within 0.1 diameter."""
        return float(1.0 / (1.0 + np.exp(-np.clip(self.log_odds(evidence), -30, 30))))


#                       explained behind residual normal contour edge  hue   color occluded missing
DEFAULT = Verifier(center=(0.80, 0.10, 0.015, 0.75, 0.65, 0.55, 0.55, 0.20, 0.25, 0.2),
                   weight=(8.0, -8.0, -80., 8.0, 5.0, 3.0, 5.0, 5.0, -3.0, -2.0), bias=0.0)
