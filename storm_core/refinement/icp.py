"""Batched projective point-to-plane ICP with the model re-rendered in every iteration; parallel over hypotheses.

Residual of a rendered pixel: e = n . (p_observed - p_model), n the model normal; increments are left-invariant and act
at the object centre. Robust Cauchy weights, gate shrinking from coarse to fine.
"""

import numpy as np
from numba import prange
from numpy.typing import NDArray

from storm_core.evidence.compare import crop_camera
from storm_core.evidence.features import FrameFeatures
from storm_core.geometry.linear import solve_positive
from storm_core.geometry.mesh import ObjectModel
from storm_core.kernels import njit
from storm_core.rendering.raster import raster_one

COARSE_SIDE = 72
"""Crop resolution [px] up to which the coarse surface is as good as the fine one, at a fraction of the time."""


@njit(cache=True, fastmath=True)
def apply_at(pose, pivot, xi):  # noqa: ANN001
    """pose <- exp(xi) about the camera-frame point `pivot`, in place."""
    wx, wy, wz = xi[3], xi[4], xi[5]
    angle = np.sqrt(wx * wx + wy * wy + wz * wz)
    r = np.eye(3)
    if angle > 1e-12:
        kx, ky, kz = wx / angle, wy / angle, wz / angle
        s, c = np.sin(angle), 1 - np.cos(angle)
        r[0, 0], r[0, 1], r[0, 2] = 1 - c * (ky * ky + kz * kz), c * kx * ky - s * kz, c * kx * kz + s * ky
        r[1, 0], r[1, 1], r[1, 2] = c * kx * ky + s * kz, 1 - c * (kx * kx + kz * kz), c * ky * kz - s * kx
        r[2, 0], r[2, 1], r[2, 2] = c * kx * kz - s * ky, c * ky * kz + s * kx, 1 - c * (kx * kx + ky * ky)
    old = pose.copy()
    for i in range(3):
        for j in range(3):
            pose[i, j] = r[i, 0] * old[0, j] + r[i, 1] * old[1, j] + r[i, 2] * old[2, j]
        pose[i, 3] = (
            (r[i, 0] * (old[0, 3] - pivot[0]) + r[i, 1] * (old[1, 3] - pivot[1]) + r[i, 2] * (old[2, 3] - pivot[2]))
            + pivot[i]
            + xi[i]
        )


@njit(cache=True, nogil=True, fastmath=True)
def icp_one(
    vertices,
    faces,
    center,
    diameter,
    pose,
    cam,
    depth_image,
    side,
    iterations,
    gate0,
    gate1,  # noqa: ANN001, PLR0913, PLR0915
    two_sided,
    hessian,
):
    """Refine a pose (4, 4) in place; fills its last normal matrix (6, 6), returns its residual variance."""
    h, w = depth_image.shape
    variance = 0.0
    pivot = np.empty(3)
    for it in range(iterations):
        gate = gate0 * (gate1 / gate0) ** (it / max(iterations - 1, 1))
        crop = crop_camera(pose, center, diameter, cam, side)
        inv = np.zeros((side, side), np.float32)
        face = np.full((side, side), -1, np.int32)
        raster_one(vertices, faces, pose, crop[:4], inv, face, two_sided)
        for i in range(3):
            pivot[i] = pose[i, 0] * center[0] + pose[i, 1] * center[1] + pose[i, 2] * center[2] + pose[i, 3]
        hm = np.zeros((6, 6))
        g = np.zeros(6)
        j = np.empty(6)
        sw, swe = 0.0, 0.0
        for v in range(side):
            for u in range(side):
                f = face[v, u]
                if f < 0:
                    continue
                x = int(np.floor(crop[4] + crop[6] * u + 0.5))
                y = int(np.floor(crop[5] + crop[6] * v + 0.5))
                if x < 0 or y < 0 or x >= w or y >= h:
                    continue
                zo = depth_image[y, x]
                if zo <= 0:
                    continue
                zm = 1.0 / inv[v, u]
                if abs(zo - zm) > gate:
                    continue
                a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                e1x, e1y, e1z = (
                    vertices[b, 0] - vertices[a, 0],
                    vertices[b, 1] - vertices[a, 1],
                    vertices[b, 2] - vertices[a, 2],
                )
                e2x, e2y, e2z = (
                    vertices[c, 0] - vertices[a, 0],
                    vertices[c, 1] - vertices[a, 1],
                    vertices[c, 2] - vertices[a, 2],
                )
                mx, my, mz = e1y * e2z - e1z * e2y, e1z * e2x - e1x * e2z, e1x * e2y - e1y * e2x
                nx = pose[0, 0] * mx + pose[0, 1] * my + pose[0, 2] * mz
                ny = pose[1, 0] * mx + pose[1, 1] * my + pose[1, 2] * mz
                nz = pose[2, 0] * mx + pose[2, 1] * my + pose[2, 2] * mz
                length = np.sqrt(nx * nx + ny * ny + nz * nz)
                if length == 0:
                    continue
                nx, ny, nz = nx / length, ny / length, nz / length
                rx, ry = (x - cam[2]) / cam[0], (y - cam[3]) / cam[1]
                slant = abs(nx * rx + ny * ry + nz) / np.sqrt(rx * rx + ry * ry + 1)
                if slant < 0.15:
                    continue
                # The rendered pixel lies between image pixels: both points are placed on their own rays.
                px = (crop[4] + crop[6] * u - cam[2]) / cam[0] * zm
                py = (crop[5] + crop[6] * v - cam[3]) / cam[1] * zm
                pz = zm
                e = nx * (rx * zo - px) + ny * (ry * zo - py) + nz * (zo - zm)
                ratio = e / (0.4 * gate)
                weight = 1.0 / (1.0 + ratio * ratio)
                qx, qy, qz = px - pivot[0], py - pivot[1], pz - pivot[2]
                j[0], j[1], j[2] = nx, ny, nz
                j[3], j[4], j[5] = qy * nz - qz * ny, qz * nx - qx * nz, qx * ny - qy * nx
                for r in range(6):
                    g[r] += weight * j[r] * e
                    for s in range(r, 6):
                        hm[r, s] += weight * j[r] * j[s]
                sw += weight
                swe += weight * e * e
        if sw < 20:
            break
        # Element by element: numba compiles the message of a failed array assignment for seconds.
        for r in range(6):
            for s in range(6):
                hm[r, s] = hm[min(r, s), max(r, s)]
                hessian[r, s] = hm[r, s]
        variance = swe / sw
        # Damping relative to the number of points keeps unobservable directions where they are.
        damped = hm.copy()
        for r in range(6):
            damped[r, r] += 1e-3 * sw * (1.0 if r < 3 else 0.1 * diameter * diameter)
        xi = solve_positive(damped, g.reshape(6, 1))[:, 0]
        biggest = np.sqrt(xi[3] ** 2 + xi[4] ** 2 + xi[5] ** 2)
        shift = np.sqrt(xi[0] ** 2 + xi[1] ** 2 + xi[2] ** 2)
        limit = min(1.0, 0.5 / max(biggest, 1e-9), 0.3 * diameter / max(shift, 1e-9))
        apply_at(pose, pivot, xi * limit)
    return variance


@njit(cache=True, parallel=True, nogil=True, fastmath=True)
def icp_kernel(
    vertices,
    faces,
    center,
    diameter,
    poses,
    cam,
    depth_image,
    side,
    iterations,
    gate0,
    gate1,  # noqa: ANN001, PLR0913
    two_sided,
):
    """Refine poses (N, 4, 4) in place; returns the last normal matrices (N, 6, 6) and residual variances (N,)."""
    n = poses.shape[0]
    hessians = np.zeros((n, 6, 6))
    variances = np.zeros(n)
    for k in prange(n):
        variances[k] = icp_one(
            vertices, faces, center, diameter, poses[k], cam, depth_image, side, iterations, gate0, gate1, two_sided,
            hessians[k],
        )
    return hessians, variances


def refine(
    features: FrameFeatures,
    model: ObjectModel,
    cam_from_objs: NDArray[np.float64],
    *,
    side: int,
    iterations: int,
    gate: tuple[float, float],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """ICP-refined copies of poses (N, 4, 4), their normal matrices (N, 6, 6) at the object centre, residual variances.

    Args:
      side: crop resolution [px]. gate: first and last correspondence gate, in diameters.
    """
    poses = np.array(cam_from_objs, np.float64, order="C").reshape(-1, 4, 4)
    d = model.diameter
    surface = model.coarse if side <= COARSE_SIDE else model
    hessians, variances = icp_kernel(
        surface.vertices,
        surface.faces,
        model.center,
        d,
        poses,
        features.frame.camera.vector,
        features.frame.depth,
        side,
        iterations,
        max(gate[0] * d, 0.01),
        max(gate[1] * d, 0.004),
        True,
    )
    return poses, hessians, variances
