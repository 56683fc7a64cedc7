"""The covariance of one fit, compiled: `ErrorModel.covariance` in every frame, without the interpreter.

Its slow twin is `uncertainty`, which takes many fits at once and is what the error model is fitted with.
"""

from dataclasses import astuple
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.linear import solve_positive
from storm_core.geometry.mesh import ObjectModel
from storm_core.kernels import njit
from storm_core.tracking.depth import measurement_sigma
from storm_core.tracking.symmetric import NO_AXIS, turning_axis
from storm_core.tracking.uncertainty import (
    EXPECTED_SURPRISE,
    MIN_VARIANCE,
    UNKNOWN_SHIFT,
    UNKNOWN_TURN,
    ErrorModel,
)

if TYPE_CHECKING:
    from storm_core.tracking.optimise import Fit

Array = NDArray[np.float64]


def fit_covariance(
    errors: ErrorModel, fit: "Fit", model: ObjectModel, focal_px: float, innovation: float, key: Array
) -> tuple[Array, Array]:
    """Covariance (6, 6) of a fit about the object centre, and that of its key frame's pose after this frame.

    Args:
      innovation: [diameters]. key: covariance (6, 6) of the key frame's pose before it, in the axes of the object, as
        it is returned.
    """
    axis = turning_axis(model)
    return covariance_kernel(
        fit.information, fit.remembered, (fit.variance, fit.contrast, fit.measured, float(innovation)),
        fit.cam_from_obj, model.center, model.diameter, focal_px, NO_AXIS if axis is None else axis, key,
        _sizes(errors))


@lru_cache(maxsize=8)
def _sizes(errors: ErrorModel) -> tuple[float, ...]:
    """The error model's numbers in the order that `covariance_kernel` takes them apart in."""
    return tuple(map(float, astuple(errors)))


@njit(cache=True)
def _turned(covariance, pose, back):
    """A covariance (6, 6) in camera axes when it is given in those of the object; `back`: the other way."""
    half, out = np.zeros((6, 6)), np.zeros((6, 6))
    for i in range(6):
        for j in range(6):
            for k in range(3):
                turn = pose[k, i % 3] if back else pose[i % 3, k]
                half[i, j] += turn * covariance[i - i % 3 + k, j]
    for i in range(6):
        for j in range(6):
            for k in range(3):
                turn = pose[k, j % 3] if back else pose[j % 3, k]
                out[i, j] += half[i, j - j % 3 + k] * turn
    return out


@njit(cache=True)
def _precision(information):
    return (information[0, 0] + information[1, 1] + information[2, 2]) / 3.0


@njit(cache=True)
def _weighed(information, radius, inverse):
    """In place: metres at the radius and radians weigh the same (`_units`); `inverse`: as before."""
    factor = radius if inverse else 1.0 / radius
    for i in range(6):
        for j in range(6):
            if i >= 3:
                information[i, j] *= factor
            if j >= 3:
                information[i, j] *= factor


@njit(cache=True)
def _without(information, free):
    """In place: nothing is said of a turn about `free` (3,); both halves weigh the same. See `uncertainty._without`."""
    for _ in range(2):  # rows, then columns, by way of the transpose
        for j in range(6):
            along = 0.0
            for k in range(3):
                along += free[k] * information[3 + k, j]
            for k in range(3):
                information[3 + k, j] -= free[k] * along
        information[:] = information.T.copy()


@njit(cache=True, nogil=True)
def covariance_kernel(information, remembered, statistics, pose, center, diameter, focal, axis, key, sizes):
    """See `fit_covariance`. statistics: variance, contrast, measured, innovation. axis: zeros for none."""
    geometry_noise, texture_noise, pixel, blend, of_print, turn, weak, of_depth, scale, slip = sizes
    variance, contrast, measured, innovation = statistics
    variance, radius = max(variance, MIN_VARIANCE), 0.5 * diameter
    distance = pose[2, 0] * center[0] + pose[2, 1] * center[1] + pose[2, 2] * center[2] + pose[2, 3]
    ground = distance / focal
    contour = (pixel + blend * (1.0 - contrast)) * ground
    slipped = slip * max(innovation - EXPECTED_SURPRISE, 0.0)
    key = key.copy()
    for k in range(3):
        key[k, k] += (slipped * diameter) ** 2
        key[k + 3, k + 3] += (2.0 * slipped) ** 2

    free = np.zeros(3)
    for i in range(3):
        for k in range(3):
            free[i] += pose[i, k] * axis[k]
    texture, geometry = remembered.copy(), information - remembered
    _weighed(texture, radius, False)
    _weighed(geometry, radius, False)
    if axis.any():
        _without(texture, free)
        _without(geometry, free)
    values, axes = np.linalg.eigh(geometry)
    precision = _precision(geometry)
    for k in range(6):
        value = max(values[k], 0.0)
        values[k] = value * value / (value + weak * weak * precision + 1e-9)
    geometry = (axes * values) @ axes.T
    _weighed(texture, radius, True)
    _weighed(geometry, radius, True)
    geometry /= geometry_noise * variance + (turn * contour) ** 2 * _precision(geometry)
    texture /= texture_noise + (turn * of_print * ground) ** 2 * _precision(texture)

    # X (I + K T) = T, transposed: T and K are symmetric.
    held = np.linalg.solve(np.eye(6) + texture @ _turned(key, pose, False), texture)
    total = geometry + 0.5 * (held + held.T)
    for k in range(3):
        total[k, k] += 1.0 / (UNKNOWN_SHIFT * diameter) ** 2
        total[k + 3, k + 3] += 1.0 / UNKNOWN_TURN**2
    covariance = solve_positive(total, np.eye(6))
    if measured > 0.2:
        along = of_depth * measurement_sigma(distance) * np.sqrt(variance)
    else:
        along = scale * contour / radius * distance
    covariance[0, 0] += contour**2
    covariance[1, 1] += contour**2
    covariance[2, 2] += along**2
    return covariance, key
