"""Small systems of equations against NumPy's solver."""

import numpy as np
import pytest

from storm_core.geometry.linear import solve_positive


@pytest.mark.parametrize("n, m", [(3, 3), (6, 1)])
def test_the_kernel_agrees_with_numpy(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    for scale in np.logspace(-4, 4, 5):
        root = scale * rng.normal(size=(n, n + 2))
        matrix, right = root @ root.T, rng.normal(size=(n, m))
        np.testing.assert_allclose(solve_positive(matrix, right), np.linalg.solve(matrix, right), rtol=1e-8)


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan])
def test_a_matrix_that_is_not_positive_definite_is_refused(wrong: float) -> None:
    matrix = np.diag([1.0, 1.0, wrong])
    with pytest.raises(np.linalg.LinAlgError):
        solve_positive(matrix, np.ones((3, 3)))
