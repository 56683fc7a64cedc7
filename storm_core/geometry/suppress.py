"""Non-maximum suppression of poses."""

import numpy as np
from numpy.typing import NDArray

from storm_core.kernels import njit


@njit(cache=True)
def _suppress(centers, rotations, keep, distance, trace, quota):  # noqa: ANN001, PLR0913
    n = centers.shape[0]
    chosen = np.empty(min(keep, n), np.int64)
    count = 0
    for i in range(n):
        taken, here = False, 0
        for j in range(count):
            k = chosen[j]
            dx, dy, dz = (centers[i, 0] - centers[k, 0], centers[i, 1] - centers[k, 1], centers[i, 2] - centers[k, 2])
            if dx * dx + dy * dy + dz * dz >= distance * distance:
                continue
            here += 1
            t = 0.0
            for a in range(3):
                for b in range(3):
                    t += rotations[i, a, b] * rotations[k, a, b]
            if t > trace or here >= quota:
                taken = True
                break
        if not taken:
            chosen[count] = i
            count += 1
            if count == keep:
                break
    return chosen[:count]


def suppress(
    cam_from_objs: NDArray[np.float64],
    center: NDArray[np.float64],
    diameter: float,
    keep: int,
    *,
    distance: float = 0.2,
    angle_deg: float = 30.0,
    quota: int = 1_000_000,
) -> NDArray[np.int64]:
    """Indices of at most `keep` poses, in the given order, no two of them closer than both thresholds.

    Args:
      cam_from_objs: (N, 4, 4), best first. center: (3,) object centre in the object frame.
      distance: in diameters, between object centres. quota: largest number of poses kept within `distance`.
    """
    rotations = np.ascontiguousarray(cam_from_objs[:, :3, :3])
    return _suppress(
        rotations @ center + cam_from_objs[:, :3, 3],
        rotations,
        keep,
        distance * diameter,
        1 + 2 * np.cos(np.deg2rad(angle_deg)),
        quota,
    )
