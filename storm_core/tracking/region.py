"""Region modality: correspondence lines across the silhouette, smoothed-step posteriors of the contour distance.

After the region trackers SRT3D and ICG (Stoiber et al.): along each line, pixels vote for object or background by
colour; the probability that the contour lies at distance d from its predicted place is the product over the line's
segments of h_f(r - d) p_f + h_b(r - d) p_b, with smoothed steps h that leave room for wrong colours. Its mean and
variance make one Gauss-Newton residual per line.
"""

import numpy as np
from numpy.typing import NDArray

from storm_core.kernels import njit
from storm_core.tracking.histogram import color_bin

FUNCTION_LENGTH, DISTANCE_COUNT = 8, 12
SEGMENTS = FUNCTION_LENGTH + DISTANCE_COUNT - 1
"""Segments of one line, in units of the scale; contour distances are tried at the 12 middle borders."""

AMPLITUDE, SLOPE = 0.43, 0.5
SIGMA_FLOOR = 1.0
"""Standard deviation of a line's contour distance [segments] however sharp its posterior: blur, mesh, calibration."""

# Columns of the table of lines.
DISTANCE, VARIANCE, USED, OCCLUDED, CONTRAST, COLUMNS = range(6)


def step_table() -> NDArray[np.float64]:
    """Smoothed foreground step h_f(r_k - d_j), (SEGMENTS, DISTANCE_COUNT), in units of segments."""
    r = np.arange(SEGMENTS) - (SEGMENTS - 1) / 2
    d = np.arange(DISTANCE_COUNT) - (DISTANCE_COUNT - 1) / 2
    return 0.5 - AMPLITUDE * np.tanh((r[:, None] - d) / (2 * SLOPE))


STEP = step_table().astype(np.float32)

MIN_CLAIM, MAX_CLAIM = np.float32(0.02), np.float32(0.98)
"""Foreground probability that the colour of one pixel may claim."""

BEHIND_ODDS = np.float32(1 / 9)
"""Most favourable odds of a pixel that is measured far behind the contour."""


@njit(cache=True)
def nearest_around(depth_image, x, y, reach):
    """Smallest measured depth of a plus-shaped neighbourhood [m]; 0 = none measured."""
    h, w = depth_image.shape
    best = 0.0
    for k in range(5):
        xx = x + (reach if k == 1 else -reach if k == 2 else 0)
        yy = y + (reach if k == 3 else -reach if k == 4 else 0)
        if xx < 0 or yy < 0 or xx >= w or yy >= h:
            continue
        z = depth_image[yy, xx]
        if z > 0 and (best == 0.0 or z < best):
            best = z
    return best


@njit(cache=True)
def line_posterior(likelihood, step, product):
    """Mean and variance of the contour distance [segments] from foreground probabilities (SEGMENTS,).

    product: (DISTANCE_COUNT,) working space.
    """
    # Distances in the inner loop: their products are independent of each other and fill the vector unit.
    for j in range(DISTANCE_COUNT):
        product[j] = 1.0
    for k in range(SEGMENTS):
        p = np.float32(2.0) * likelihood[k]
        miss = np.float32(2.0) - p
        change = p - miss
        for j in range(DISTANCE_COUNT):
            product[j] *= miss + step[k, j] * change
    total, mean, square = 0.0, 0.0, 0.0
    for j in range(DISTANCE_COUNT):
        d = j - (DISTANCE_COUNT - 1) / 2
        total += product[j]
        mean += product[j] * d
        square += product[j] * d * d
    mean /= total
    return mean, square / total - mean * mean


@njit(cache=True)
def odds_kernel(posterior, out):
    """Odds (4096,) of object against background by colour, kept within what one pixel may claim."""
    for k in range(posterior.shape[0]):
        f = min(max(posterior[k], MIN_CLAIM), MAX_CLAIM)
        out[k] = f / (np.float32(1.0) - f)


@njit(cache=True)
def segment_probabilities(q, inner, outer, rgb, depth_image, odds, scale, behind, out):
    """Foreground probability of each segment of one line into out (SEGMENTS,); q: row of the geometry table."""
    h, w = depth_image.shape
    z = np.float32(q[6])
    far, near = z + np.float32(behind), z - np.float32(behind)
    reach = 0.5 * SEGMENTS * scale + 1.0
    ends_x, ends_y = reach * abs(q[2]), reach * abs(q[3])
    within = q[0] > ends_x and q[1] > ends_y and q[0] < w - 1 - ends_x and q[1] < h - 1 - ends_y
    for k in range(SEGMENTS):
        # The silhouette beyond its run length is another part of the object or of the background.
        middle = (k - 0.5 * (SEGMENTS - 1)) * scale
        if middle < -inner or middle > outer:
            out[k] = 0.5
            continue
        # Pixels inside one segment are independent votes: their odds multiply.
        total = np.float32(1.0)
        first = (k - 0.5 * SEGMENTS) * scale + 0.5
        for m in range(scale):
            x = int(np.floor(q[0] + (first + m) * q[2] + 0.5))
            y = int(np.floor(q[1] + (first + m) * q[3] + 0.5))
            if not within and (x < 0 or y < 0 or x >= w or y >= h):
                continue
            zo = depth_image[y, x]
            if zo > 0 and zo < near:
                continue
            vote = odds[color_bin(rgb, y, x)]
            total *= min(vote, BEHIND_ODDS) if zo > far else vote
        out[k] = total / (np.float32(1.0) + total)


@njit(cache=True)
def lines_kernel(pose, cam, points, normals, inner, outer, rgb, depth_image, odds, step, scale, gap, behind):
    """Table (L, COLUMNS) of line measurements at a pose, and geometry (L, 7): image point, image normal, camera point.

    odds: of object against background by colour, see `odds_kernel`. scale: segment length [px].
    gap: a measurement this much in front of the contour occludes the line [m].
    behind: a pixel measured this much behind the contour is background whatever its colour [m].
    """
    n = points.shape[0]
    h, w = depth_image.shape
    table, geometry = np.zeros((n, COLUMNS)), np.zeros((n, 7))
    p, product = np.empty(SEGMENTS, np.float32), np.empty(DISTANCE_COUNT, np.float32)
    for i in range(n):
        q = geometry[i]
        for k in range(3):
            q[4 + k] = pose[k, 0] * points[i, 0] + pose[k, 1] * points[i, 1] + pose[k, 2] * points[i, 2] + pose[k, 3]
        z = q[6]
        if z <= 0.01:
            continue
        q[0], q[1] = cam[0] * q[4] / z + cam[2], cam[1] * q[5] / z + cam[3]
        q[2] = pose[0, 0] * normals[i, 0] + pose[0, 1] * normals[i, 1] + pose[0, 2] * normals[i, 2]
        q[3] = pose[1, 0] * normals[i, 0] + pose[1, 1] * normals[i, 1] + pose[1, 2] * normals[i, 2]
        length = np.sqrt(q[2] * q[2] + q[3] * q[3])
        if length < 0.3 or q[0] < 3 or q[1] < 3 or q[0] > w - 4 or q[1] > h - 4:
            continue
        q[2], q[3] = q[2] / length, q[3] / length
        # The line must have room for both colours, or neighbouring parts of the silhouette answer instead.
        if inner[i] < max(3.0, 2.5 * scale) or outer[i] < max(3.0, 2.5 * scale):
            continue
        near = nearest_around(
            depth_image, int(np.floor(q[0] - 2 * q[2] + 0.5)), int(np.floor(q[1] - 2 * q[3] + 0.5)), 3
        )
        if near > 0 and near < z - gap:
            table[i, OCCLUDED] = 1.0
            continue
        segment_probabilities(q, inner[i], outer[i], rgb, depth_image, odds, scale, behind, p)
        mean, variance = line_posterior(p, step, product)
        middle = SEGMENTS // 2
        table[i, DISTANCE] = mean * scale
        table[i, VARIANCE] = variance * scale * scale
        table[i, USED] = 1.0
        table[i, CONTRAST] = 0.5 * (p[middle - 1] + p[middle - 2] - p[middle + 1] - p[middle + 2])
    return table, geometry


@njit(cache=True)
def accumulate_kernel(table, geometry, cam, pivot, floor, hessian, gradient):
    """Add the lines' Gauss-Newton terms to hessian (6, 6), gradient (6,); increments act at the point `pivot`.

    Residual of a line: its contour distance d [px]; prediction: n . (d image point / d xi) xi.
    Returns the weighted sum of squared residuals and the number of lines.
    """
    j = np.empty(6)
    cost, used = 0.0, 0
    for i in range(table.shape[0]):
        if table[i, USED] == 0:
            continue
        q = geometry[i]
        iz = 1.0 / q[6]
        ax, ay = q[2] * cam[0] * iz, q[3] * cam[1] * iz
        az = -(ax * q[4] + ay * q[5]) * iz
        rx, ry, rz = q[4] - pivot[0], q[5] - pivot[1], q[6] - pivot[2]
        j[0], j[1], j[2] = ax, ay, az
        j[3], j[4], j[5] = ry * az - rz * ay, rz * ax - rx * az, rx * ay - ry * ax
        weight = 1.0 / (table[i, VARIANCE] + floor * floor)
        d = table[i, DISTANCE]
        cost += weight * d * d
        used += 1
        for r in range(6):
            gradient[r] += weight * j[r] * d
            for s in range(6):
                hessian[r, s] += weight * j[r] * j[s]
    return cost, used
