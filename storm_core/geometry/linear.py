"""Small linear systems for kernels. numba's own solver costs seconds of compilation for each kernel that calls it."""

import numpy as np

from storm_core.kernels import njit


@njit(cache=True)
def cholesky(matrix, least, low):
    """Lower factor of a symmetric matrix (n, n) into `low` (n, n); False when it has none: a pivot is not above `least`
    times the diagonal, or not a number."""
    for i in range(matrix.shape[0]):
        for j in range(i + 1):
            rest = matrix[i, j]
            for k in range(j):
                rest -= low[i, k] * low[j, k]
            if i > j:
                low[i, j] = rest / low[j, j]
            elif rest > least * matrix[i, i]:
                low[i, i] = np.sqrt(rest)
            else:
                return False
    return True


@njit(cache=True)
def solve_positive(matrix, right):
    """x (n, m) such that matrix @ x = right (n, m), for a symmetric positive definite matrix (n, n), by Cholesky.

    Raises:
      LinAlgError: the matrix is not positive definite, or holds NaN.
    """
    n, m = right.shape
    low = np.zeros((n, n))
    x = np.empty((n, m))
    if not cholesky(matrix, 0.0, low):
        raise np.linalg.LinAlgError("matrix is not positive definite")
    for c in range(m):
        for i in range(n):
            rest = right[i, c]
            for k in range(i):
                rest -= low[i, k] * x[k, c]
            x[i, c] = rest / low[i, i]
        for i in range(n - 1, -1, -1):
            rest = x[i, c]
            for k in range(i + 1, n):
                rest -= low[k, i] * x[k, c]
            x[i, c] = rest / low[i, i]
    return x
