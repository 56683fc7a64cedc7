"""Is the published covariance as large as the error? The normalised estimation error squared (Bar-Shalom, 2001)."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from storm_core.geometry.pose import inverse, se3_log

FREEDOM = 6
NEES_95 = float(chi2.ppf(0.95, FREEDOM))
"""95 % of the NEES of a consistent system lie below this."""
LEVEL_95 = 0.95
"""The ellipsoid that should hold the truth so often."""


def nees(estimates: NDArray[np.float64], truths: NDArray[np.float64],
         covariances: NDArray[np.float64]) -> NDArray[np.float64]:
    """e^T P^-1 e of each pose (N,); nan where a pose is missing or P is not positive definite.

    The convention of `ObjectOutput.covariance`: e = log(truth @ estimate^-1), the twist (rho [m], omega [rad]) that
    acts on the left, in the camera frame, so that truth = exp(e) @ estimate. Its mean is 6 for a consistent system;
    above that the covariance is too small, below too large.

    Args:
      estimates, truths: (N, 4, 4), truths turned by the symmetry nearest to the estimate. covariances: (N, 6, 6)
        [m^2, rad^2].
    """
    out = np.full(len(estimates), np.nan)
    known = np.flatnonzero(np.isfinite(estimates).all((1, 2)) & np.isfinite(truths).all((1, 2))
                           & np.isfinite(covariances).all((1, 2)))
    if len(known):
        # Scaled to a unit diagonal: metres and radians differ by orders of magnitude.
        p = 0.5 * (covariances[known] + np.swapaxes(covariances[known], 1, 2))
        scale = np.sqrt(np.maximum(np.diagonal(p, axis1=1, axis2=2), 0.0))
        scale = np.where(scale > 0, scale, 1.0)
        p = p / (scale[:, :, None] * scale[:, None])
        sound = np.linalg.eigvalsh(p)[:, 0] > 1e-12
        known, p, scale = known[sound], p[sound], scale[sound]
        e = se3_log(truths[known] @ inverse(estimates[known])) / scale
        out[known] = np.einsum("ni,ni->n", e, np.linalg.solve(p, e[..., None])[..., 0])
    return out


def ellipsoid_level(estimates: NDArray[np.float64], truths: NDArray[np.float64], covariances: NDArray[np.float64],
                    free: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None) -> NDArray[np.float64]:
    """Confidence level (N,) of the ellipsoid whose border the truth lies on; nan as in `nees`.

    A consistent system's levels are spread evenly over [0, 1]: 95 % of them are at most 0.95.

    Args:
      free: (axis, point) of a continuous symmetry, whose turn is no error and does not count as a dimension; truths are
        turned about it to what is nearest to the estimates.
    """
    return np.asarray(chi2.cdf(nees(estimates, truths, covariances), FREEDOM if free is None else FREEDOM - 1))
