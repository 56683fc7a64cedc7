"""SE(3) in NumPy float64: exponential, logarithm, distances.

Poses are named `<to>_from_<from>`: `cam_from_obj` maps points of the object frame into the camera frame.
Increments are left-invariant, i.e. they act in the *to* frame: `cam_from_obj' = exp(xi) @ cam_from_obj`,
with `xi = (rho, omega)`: translation first, then rotation, the order of ROS covariances.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from storm_core.errors import InputError

Mat4 = NDArray[np.float64]


def skew(omega: ArrayLike) -> NDArray[np.float64]:
    """Cross-product matrices (..., 3, 3) of vectors (..., 3)."""
    w = np.asarray(omega, float)
    out = np.zeros((*w.shape[:-1], 3, 3))
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -w[..., 2], w[..., 1], -w[..., 0]
    out[..., 1, 0], out[..., 2, 0], out[..., 2, 1] = w[..., 2], -w[..., 1], w[..., 0]
    return out


def _coefficients(angle: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """sin(a)/a, (1-cos a)/a^2 and (a-sin a)/a^3 with their Taylor series near zero."""
    small = angle < 1e-3
    a = np.where(small, 1.0, angle)
    sq = angle**2
    s = np.where(small, 1 - sq / 6 + sq**2 / 120, np.sin(a) / a)
    c = np.where(small, 0.5 - sq / 24 + sq**2 / 720, (1 - np.cos(a)) / a**2)
    d = np.where(small, 1 / 6 - sq / 120 + sq**2 / 5040, (a - np.sin(a)) / a**3)
    return s, c, d


def so3_exp(omega: ArrayLike) -> NDArray[np.float64]:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3) [rad] (Rodrigues)."""
    w = np.asarray(omega, float)
    if w.ndim == 1:
        return _single_exp(*w.tolist())
    s, c, _ = (k[..., None, None] for k in _coefficients(np.linalg.norm(w, axis=-1)))
    k = skew(w)
    return np.eye(3) + s * k + c * (k @ k)


def _single_exp(x: float, y: float, z: float) -> NDArray[np.float64]:
    """One rotation, by way of its quaternion: in plain numbers a tenth of the time that arrays take."""
    angle = math.sqrt(x * x + y * y + z * z)
    w = math.cos(0.5 * angle)
    # Series of sin(a/2)/a near zero.
    k = math.sin(0.5 * angle) / angle if angle > 1e-6 else 0.5 - angle * angle / 48
    x, y, z = k * x, k * y, k * z
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                     [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                     [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]])


def _single_log(m: list[list[float]]) -> NDArray[np.float64]:
    """One rotation vector, by way of the quaternion (Shepperd: the largest component first, so nothing cancels)."""
    (a, b, c), (d, e, f), (g, h, i) = m
    sizes = (a + e + i, a, e, i)
    largest = sizes.index(max(sizes))
    if largest == 0:
        w, x, y, z = 1 + a + e + i, h - f, c - g, d - b
    elif largest == 1:
        w, x, y, z = h - f, 1 + a - e - i, b + d, c + g
    elif largest == 2:
        w, x, y, z = c - g, b + d, 1 + e - a - i, f + h
    else:
        w, x, y, z = d - b, c + g, f + h, 1 + i - a - e
    if w < 0:
        w, x, y, z = -w, -x, -y, -z
    sine = math.sqrt(x * x + y * y + z * z)
    k = 2 * math.atan2(sine, w) / sine if sine > 1e-9 * w else 2 / w
    return np.array([k * x, k * y, k * z])


def so3_log(rotation: ArrayLike) -> NDArray[np.float64]:
    """Rotation vectors (..., 3) [rad], angle in [0, pi], of rotation matrices (..., 3, 3)."""
    from scipy.spatial.transform import Rotation

    r = np.asarray(rotation, float)
    if r.ndim == 2:
        return _single_log(r.tolist())
    return Rotation.from_matrix(r.reshape(-1, 3, 3)).as_rotvec().reshape(r.shape[:-1])


def se3_exp(xi: ArrayLike) -> Mat4:
    """Transforms (..., 4, 4) of twists (..., 6) = (rho [m], omega [rad])."""
    xi = np.asarray(xi, float)
    rho, w = xi[..., :3], xi[..., 3:]
    _, c, d = (k[..., None, None] for k in _coefficients(np.linalg.norm(w, axis=-1)))
    k = skew(w)
    v = np.eye(3) + c * k + d * (k @ k)
    return from_rotation_translation(so3_exp(w), (v @ rho[..., None])[..., 0])


def se3_log(pose: ArrayLike) -> NDArray[np.float64]:
    """Twists (..., 6) of transforms (..., 4, 4); inverse of `se3_exp` for angles below pi."""
    pose = np.asarray(pose, float)
    w = so3_log(pose[..., :3, :3])
    _, c, d = (k[..., None, None] for k in _coefficients(np.linalg.norm(w, axis=-1)))
    k = skew(w)
    v = np.eye(3) + c * k + d * (k @ k)
    rho = np.linalg.solve(v, pose[..., :3, 3:])[..., 0]
    return np.concatenate([rho, w], -1)


def from_rotation_translation(rotation: ArrayLike, translation: ArrayLike) -> Mat4:
    """Transforms (..., 4, 4) from rotations (..., 3, 3) and translations (..., 3) [m]."""
    r, t = np.asarray(rotation, float), np.asarray(translation, float)
    shape = np.broadcast_shapes(r.shape[:-2], t.shape[:-1])
    out = np.zeros((*shape, 4, 4))
    out[..., :3, :3], out[..., :3, 3], out[..., 3, 3] = r, t, 1.0
    return out


def inverse(pose: ArrayLike) -> Mat4:
    """Inverse of rigid transforms (..., 4, 4)."""
    pose = np.asarray(pose, float)
    rt = np.swapaxes(pose[..., :3, :3], -1, -2)
    return from_rotation_translation(rt, -(rt @ pose[..., :3, 3:])[..., 0])


def proper(poses: ArrayLike) -> NDArray[np.float64]:
    """Poses (..., 4, 4) with the nearest rotations: rounding errors grow when products of poses feed further products.
    """
    out = np.array(poses, float)
    u, _, vt = np.linalg.svd(out[..., :3, :3])
    out[..., :3, :3] = u @ vt
    return out


def transform(to_from: ArrayLike, points: ArrayLike) -> NDArray[np.float64]:
    """Points (..., N, 3) mapped by transforms (..., 4, 4)."""
    m, p = np.asarray(to_from, float), np.asarray(points, float)
    return p @ np.swapaxes(m[..., :3, :3], -1, -2) + m[..., None, :3, 3]


def angle_between(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Geodesic angle (...,) [rad] between the rotations of two poses or rotation matrices.

    atan2 of both sine and cosine keeps full precision near 0 and pi, where arccos alone loses half the digits.
    """
    ra, rb = np.asarray(a, float)[..., :3, :3], np.asarray(b, float)[..., :3, :3]
    if ra.ndim == rb.ndim == 2:
        return _single_angle(ra.tolist(), rb.tolist())
    rel = np.swapaxes(ra, -1, -2) @ rb
    cos = np.trace(rel, axis1=-2, axis2=-1) - 1
    anti = rel - np.swapaxes(rel, -1, -2)
    sin = np.sqrt(anti[..., 2, 1] ** 2 + anti[..., 0, 2] ** 2 + anti[..., 1, 0] ** 2)
    return np.arctan2(sin, cos)


def _single_angle(a: list[list[float]], b: list[list[float]]) -> np.float64:
    """As `angle_between`, in plain numbers: from the rows of two rotations."""
    cos, x, y, z = -1.0, 0.0, 0.0, 0.0
    for (p, q, r), (s, t, u) in zip(a, b, strict=True):
        cos += p * s + q * t + r * u
        x, y, z = x + r * t - q * u, y + p * u - r * s, z + q * s - p * t
    return np.float64(math.atan2(math.sqrt(x * x + y * y + z * z), cos))


def _is_rotation(rows: list[list[float]]) -> bool:
    """R Rt is the identity up to 1e-4 and the determinant positive; in plain numbers, for every pose is asked."""
    for k, row in enumerate(rows):
        for j, other in enumerate(rows[k:]):
            if not abs(row[0] * other[0] + row[1] * other[1] + row[2] * other[2] - (j == 0)) <= 1e-4:
                return False
    (a, b, c), (d, e, f), (g, h, i) = rows
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) > 0


def require_pose(pose: ArrayLike, name: str = "pose") -> Mat4:
    """The pose as (4, 4) float64, or InputError naming what is wrong with it."""
    m = np.asarray(pose, np.float64)
    if m.shape != (4, 4) or not all(map(math.isfinite, m.ravel().tolist())):
        raise InputError(f"{name} must be a finite 4x4 matrix, got shape {m.shape}: {m.tolist()}")
    if not _is_rotation(m[:3, :3].tolist()):
        raise InputError(f"{name} has no proper rotation (R Rt != 1 or det < 0): {m[:3, :3].tolist()}")
    return m
