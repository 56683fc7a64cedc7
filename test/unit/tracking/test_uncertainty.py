"""Covariances of tracked poses: the same uncertainty in every frame of reference."""

import numpy as np

from storm_core.geometry.pose import inverse, se3_exp, se3_log
from storm_core.tracking.uncertainty import left_covariance


def test_left_covariance_describes_the_same_poses() -> None:
    """Sampled increments at the object centre have the covariance that the adjoint predicts for the camera origin."""
    rng = np.random.default_rng(0)
    center = np.array([0.1, -0.2, 0.8])
    at_center = np.diag([1e-6, 4e-6, 9e-6, 1e-6, 2e-6, 3e-6])
    xi = rng.multivariate_normal(np.zeros(6), at_center, 4000)
    shift = np.eye(4)
    shift[:3, 3] = center
    left = se3_log(shift @ se3_exp(xi) @ inverse(shift))
    sample = left.T @ left / len(xi)
    np.testing.assert_allclose(sample, left_covariance(at_center, center), atol=0.08 * np.abs(sample).max())
