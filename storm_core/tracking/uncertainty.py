"""How wrong a tracked pose may be: 6x6 covariances about the object centre, and as left increments.

Three things add up: noise, which many measurements average out; errors that all measurements of a frame share (colours
that blend at the contour, calibration); and drift, because texture holds a pose only to the key frame it was seen in,
which was uncertain itself. `storm train covariance` fits how large each is.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.kernels import njit
from storm_core.tracking.depth import measurement_sigma
from storm_core.tracking.symmetric import turning_axis

if TYPE_CHECKING:
    from storm_core.tracking.optimise import Fit

Array = NDArray[np.float64]

UNKNOWN_SHIFT, UNKNOWN_TURN = 0.5, 0.5
"""Standard deviation that is reported for what the image leaves open: diameters, radians."""

MIN_VARIANCE = 0.05
"""Residual variance, relative to the assumed noise, below which a fit is not believed to be any better."""

EXPECTED_SURPRISE = 0.05
"""Innovation [diameters] up to which texture does not lose its place."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Conditions:
    """What the uncertainty of a fit depends on, of one frame or of many (leading axes).

    Attributes:
      geometry, texture: (..., 6, 6) information of a left increment about the object centre, from contour and depth and
        from the remembered texture, as if every measurement were independent [1/m^2, 1/rad^2].
      variance: mean squared residual relative to the assumed noise. blended: 1 - contrast of the colours inside and
        outside the contour. measured: share of the surface with depth. innovation: surprise [diameters].
      distance: of the object centre [m]. focal_px: [px]. diameter: [m].
      free: (..., 3) axis in the camera about which the declared object may turn, zero without one.
    """

    geometry: Array
    texture: Array
    variance: Array
    blended: Array
    measured: Array
    innovation: Array
    distance: Array
    focal_px: Array
    diameter: Array
    free: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Observation:
    """One accepted fit, as the error model is fitted to it. rotation: (3, 3) of cam_from_obj. new_key: a new key frame
    was taken afterwards."""

    object_name: str
    stamp_ns: int
    conditions: Conditions
    rotation: Array
    new_key: bool


@dataclass(frozen=True, kw_only=True)
class ErrorModel:
    """How errors grow with the conditions.

    Attributes:
      geometry_noise, texture_noise: this many measurements count as one, because neighbours share their errors.
      pixel: error that all lines of a contour share [px]. blend: the same where colours inside and outside are equal.
      print: error that all points of the texture share [px].
      turn: how much of a shared error turns the object instead of shifting it, as far as the lever arms allow.
      weak: lever arms (and slopes) of contour and depth below about this, in radii, cannot be told from errors of the
        normals: what seems to hold a can against turning about its axis is none.
      depth: error of the distance that all depth pixels share, in units of one pixel's noise. scale: the same without
        depth, in units of the contour's error as seen at the radius.
      slip: drift of the texture for every diameter of surprise beyond `EXPECTED_SURPRISE` [diameters].
    """

    geometry_noise: float
    texture_noise: float
    pixel: float
    blend: float
    print: float
    turn: float
    weak: float
    depth: float
    scale: float
    slip: float

    def covariance(self, c: Conditions, key: Array) -> Array:
        """(..., 6, 6) about the object centre. key: covariance of the key frame's pose, likewise."""
        radius, ground = 0.5 * c.diameter, c.distance / c.focal_px
        variance = np.maximum(c.variance, MIN_VARIANCE)
        contour = (self.pixel + self.blend * c.blended) * ground
        texture = _without(c.texture, c.free, radius)
        geometry = _believed(_without(c.geometry, c.free, radius), self.weak, radius)
        # However many measurements there are, what they share stays: the worst a shift of them all can do.
        of_contour, of_print = (self.turn * contour) ** 2, (self.turn * self.print * ground) ** 2
        geometry = geometry / _matrix(self.geometry_noise * variance + of_contour * _precision(geometry))
        texture = texture / _matrix(self.texture_noise + of_print * _precision(texture))
        # Texture says where the object is relative to its key frame: T (I + K T)^-1 = (T^-1 + K)^-1, T may be singular.
        held = texture @ np.linalg.inv(np.eye(6) + key @ texture)
        unknown = _diagonal(1 / (UNKNOWN_SHIFT * c.diameter) ** 2, 1 / UNKNOWN_TURN**2 + 0.0 * c.diameter)
        covariance = np.linalg.inv(geometry + 0.5 * (held + _transposed(held)) + unknown)
        along = np.where(c.measured > 0.2, self.depth * measurement_sigma(c.distance) * np.sqrt(variance),
                         self.scale * contour / radius * c.distance)
        covariance[..., 0, 0] += contour**2
        covariance[..., 1, 1] += contour**2
        covariance[..., 2, 2] += along**2
        return covariance

    def drifted(self, key: Array, innovation: Array, diameter: Array) -> Array:
        """Covariance (..., 6, 6) of the key frame's pose after a frame: texture may have slipped under a surprise."""
        slip = self.slip * np.maximum(innovation - EXPECTED_SURPRISE, 0.0)
        return key + _diagonal((slip * diameter) ** 2, (2.0 * slip) ** 2)


# Fitted by `storm train covariance` to the suite tracking, split val, seed 0 (27 scenes x 240 frames, 6359 fits): the
# truth lies in the 95 % ellipsoid of 95.0 % of them.
DEFAULT = ErrorModel(
    geometry_noise=10.5, texture_noise=2.85, pixel=0.0806, blend=2.34, print=0.101, turn=0.246, weak=0.519,
    depth=0.107, scale=1.0, slip=1.49)


def conditions_of(fit: "Fit", model: ObjectModel, focal_px: float, innovation: float) -> Conditions:
    """The conditions of one fit."""
    axis = turning_axis(model)
    rotation = fit.cam_from_obj[:3, :3]
    return Conditions(
        geometry=fit.information - fit.remembered, texture=fit.remembered, variance=np.float64(fit.variance),
        blended=np.float64(1.0 - fit.contrast), measured=np.float64(fit.measured), innovation=np.float64(innovation),
        distance=rotation[2] @ model.center + fit.cam_from_obj[2, 3], focal_px=np.float64(focal_px),
        diameter=np.float64(model.diameter), free=np.zeros(3) if axis is None else rotation @ axis)


def diagonal_information(shift: float, turn: float) -> Array:
    """(6, 6) information of standard deviations `shift` [m] and `turn` [rad] per axis."""
    return np.diag([1 / shift**2] * 3 + [1 / turn**2] * 3)


def turned_axes(covariance: Array, rotation: Array) -> Array:
    """A covariance (..., 6, 6) about the object centre in other axes; rotation: (..., 3, 3) other from present ones."""
    out = np.empty_like(covariance)
    for rows in (slice(0, 3), slice(3, 6)):
        for columns in (slice(0, 3), slice(3, 6)):
            out[..., rows, columns] = rotation @ covariance[..., rows, columns] @ _transposed(rotation)
    return out


def left_covariance(at_center: Array, center: Array) -> Array:
    """(6, 6) covariance of a left increment exp(xi) of the camera frame, from one that acts at the object centre.

    A turn about the centre c is a turn about the camera origin plus the shift c x omega (adjoint).
    """
    return adjoint_kernel(np.ascontiguousarray(at_center), center)


@njit(cache=True)
def adjoint_kernel(at_center, center):  # noqa: ANN001, ANN202
    """A C At with A = [[1, skew(center)], [0, 1]], symmetric to the last bit."""
    x, y, z = center[0], center[1], center[2]
    half, out = at_center.copy(), np.empty((6, 6))
    for k in range(6):
        half[0, k] += y * at_center[5, k] - z * at_center[4, k]
        half[1, k] += z * at_center[3, k] - x * at_center[5, k]
        half[2, k] += x * at_center[4, k] - y * at_center[3, k]
    out[:] = half
    for k in range(6):
        out[k, 0] += y * half[k, 5] - z * half[k, 4]
        out[k, 1] += z * half[k, 3] - x * half[k, 5]
        out[k, 2] += x * half[k, 4] - y * half[k, 3]
    return 0.5 * (out + out.T)


@njit(cache=True)
def weakest_direction(covariance, center, diameter):
    """Standard deviation of a pose error along the direction that is known least [diameters]; nan = unknown.

    covariance: (6, 6) of a left increment [m^2, rad^2]. center: of the object in the camera frame [m]. A turn counts by
    how far it moves what is half a diameter away.
    """
    if not np.isfinite(covariance).all():
        return np.nan
    at_center = adjoint_kernel(covariance, -center)
    at_center[:3, :] /= diameter
    at_center[:, :3] /= diameter
    at_center[3:, :] *= 0.5
    at_center[:, 3:] *= 0.5
    return np.sqrt(max(np.linalg.eigvalsh(at_center)[5], 0.0))


def _without(information: Array, free: Array, radius: Array) -> Array:
    """The information (..., 6, 6) without what it says of a turn about the axis `free` (..., 3).

    Projected where metres at the radius and radians weigh the same.
    """
    if not free.any():
        return information
    keep = np.zeros_like(information)
    keep[...] = np.eye(6)
    keep[..., 3:, 3:] -= free[..., :, None] * free[..., None, :]
    units = _units(radius)
    return keep @ (information / units) @ keep * units


def _believed(information: Array, weak: float, radius: Array) -> Array:
    """The information (..., 6, 6) with directions that hardly any measurement speaks of taken less seriously."""
    units = _units(radius)
    values, axes = np.linalg.eigh(information / units)
    values = np.maximum(values, 0.0)
    values = values**2 / (values + weak**2 * _precision(information)[..., None] + 1e-9)
    return (axes * values[..., None, :]) @ _transposed(axes) * units


def _units(radius: Array) -> Array:
    """(..., 6, 6) by which an information is divided so that metres at the radius and radians weigh the same."""
    scale = np.ones((*np.shape(radius), 6))
    scale[..., 3:] = np.asarray(radius)[..., None]
    return scale[..., :, None] * scale[..., None, :]


def _diagonal(shift: Array, turn: Array) -> Array:
    """(..., 6, 6) diagonal matrices with `shift` (...) three times, then `turn` (...) three times."""
    out = np.zeros((*np.shape(shift), 6, 6))
    for k in range(3):
        out[..., k, k], out[..., k + 3, k + 3] = shift, turn
    return out


def _precision(information: Array) -> Array:
    """Mean information (...) about a shift along one axis [1/m^2]."""
    return np.trace(information[..., :3, :3], axis1=-2, axis2=-1) / 3.0


def _matrix(factor: Array) -> Array:
    return np.asarray(factor)[..., None, None]


def _transposed(matrices: Array) -> Array:
    return np.swapaxes(matrices, -1, -2)
