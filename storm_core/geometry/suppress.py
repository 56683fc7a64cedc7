"""Non-maximum suppression of poses."""

import numpy as np
from numpy.typing import NDArray


def suppress(cam_from_objs: NDArray[np.float64], center: NDArray[np.float64], diameter: float, keep: int, *,
             distance: float = 0.2, angle_deg: float = 30.0) -> NDArray[np.int64]:
    """Indices of at most `keep` poses, best first, no two of them closer than both thresholds (diameters, degrees)."""
    chosen: list[int] = []
    centers = cam_from_objs[:, :3, :3] @ center + cam_from_objs[:, :3, 3]
    cos = 1 + 2 * np.cos(np.deg2rad(angle_deg))
    for i in range(len(cam_from_objs)):
        if chosen:
            c = np.array(chosen)
            near = ((centers[c] - centers[i]) ** 2).sum(-1) < (distance * diameter) ** 2
            trace = np.einsum("kij,ij->k", cam_from_objs[c, :3, :3], cam_from_objs[i, :3, :3])
            if (near & (trace > cos)).any():
                continue
        chosen.append(i)
        if len(chosen) == keep:
            break
    return np.array(chosen, np.int64)
