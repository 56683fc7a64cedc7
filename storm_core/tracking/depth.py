"""Depth modality: projective point-to-plane residuals with a redescending kernel and occlusion reasoning."""

import numpy as np

from storm_core.kernels import njit

# Counts that the kernel returns.
INLIER, OCCLUDED, BEHIND, MISSING, OUTSIDE, SQUARES, WEIGHTS, SIZE = range(8)


@njit(cache=True)
def depth_kernel(pose, cam, pivot, points, normals, depth_image, sigma, gate, tau, hessian, gradient):
    """Add the points' Gauss-Newton terms to hessian (6, 6), gradient (6,); returns counts (SIZE,).

    Residual: e = n . (measured - model) [m], increments act at the point `pivot`. Measurements more than `gate` away
    are dropped: in front means occluded, behind means that the camera sees through the model. tau: the error [m] up to
    which a point counts as agreeing.
    """
    counts = np.zeros(SIZE)
    h, w = depth_image.shape
    j = np.empty(6)
    inv_var = 1.0 / (sigma * sigma)
    for i in range(points.shape[0]):
        x = pose[0, 0] * points[i, 0] + pose[0, 1] * points[i, 1] + pose[0, 2] * points[i, 2] + pose[0, 3]
        y = pose[1, 0] * points[i, 0] + pose[1, 1] * points[i, 1] + pose[1, 2] * points[i, 2] + pose[1, 3]
        z = pose[2, 0] * points[i, 0] + pose[2, 1] * points[i, 1] + pose[2, 2] * points[i, 2] + pose[2, 3]
        if z <= 0.01:
            counts[OUTSIDE] += 1
            continue
        u, v = int(np.floor(cam[0] * x / z + cam[2] + 0.5)), int(np.floor(cam[1] * y / z + cam[3] + 0.5))
        if u < 0 or v < 0 or u >= w or v >= h:
            counts[OUTSIDE] += 1
            continue
        zo = depth_image[v, u]
        if zo <= 0:
            counts[MISSING] += 1
            continue
        e_z = zo - z
        if e_z < -tau:
            counts[OCCLUDED] += 1
        elif e_z > tau:
            counts[BEHIND] += 1
        else:
            counts[INLIER] += 1
        if abs(e_z) > gate:
            continue
        nx = pose[0, 0] * normals[i, 0] + pose[0, 1] * normals[i, 1] + pose[0, 2] * normals[i, 2]
        ny = pose[1, 0] * normals[i, 0] + pose[1, 1] * normals[i, 1] + pose[1, 2] * normals[i, 2]
        nz = pose[2, 0] * normals[i, 0] + pose[2, 1] * normals[i, 1] + pose[2, 2] * normals[i, 2]
        rx, ry = (u - cam[2]) / cam[0], (v - cam[3]) / cam[1]
        # Faces that have turned edge-on since the view was rendered carry no depth.
        if nx * rx + ny * ry + nz > -0.15:
            continue
        e = nx * (rx * zo - x) + ny * (ry * zo - y) + nz * (zo - z)
        ratio = e / gate
        if abs(ratio) >= 1.0:
            continue
        tukey = (1.0 - ratio * ratio) ** 2
        weight = tukey * inv_var
        qx, qy, qz = x - pivot[0], y - pivot[1], z - pivot[2]
        j[0], j[1], j[2] = nx, ny, nz
        j[3], j[4], j[5] = qy * nz - qz * ny, qz * nx - qx * nz, qx * ny - qy * nx
        counts[SQUARES] += weight * e * e
        counts[WEIGHTS] += tukey
        for r in range(6):
            gradient[r] += weight * j[r] * e
            for s in range(6):
                hessian[r, s] += weight * j[r] * j[s]
    return counts


@njit(cache=True)
def measurement_sigma(z: float) -> float:
    """Standard deviation of structured-light and stereo depth at distance z [m], both in metres."""
    return 0.0015 + 0.003 * z * z
