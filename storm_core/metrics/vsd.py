"""Visible surface discrepancy of BOP: how much of the visible surface lies elsewhere than it should.

Reference: Hodan et al., BOP: Benchmark for 6D Object Pose Estimation, ECCV 2018, with the visibility rule of 2019 (a
pixel without measured depth hides nothing) and the step cost.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.camera import PinholeCamera

TAUS = np.arange(0.05, 0.51, 0.05)
"""Tolerated distance / diameter."""
DELTA_MM = 15.0
"""How far behind the measured surface a visible point may lie [mm]."""
DELTAS_MM = {"itodd": 5.0}
"""Datasets whose sensor allows another tolerance [mm]."""

_MM_PER_M = 1000.0


def ray_lengths(camera: PinholeCamera) -> NDArray[np.float64]:
    """(h, w): distance from the camera centre of a point with z-depth 1 that is seen at each pixel."""
    x = (np.arange(camera.width) - camera.cx) / camera.fx
    y = (np.arange(camera.height) - camera.cy) / camera.fy
    return np.sqrt(x[None, :] ** 2 + y[:, None] ** 2 + 1.0)


def vsd(estimate_depth: NDArray[np.float32], truth_depth: NDArray[np.float32], measured_depth: NDArray[np.float32],
        rays: NDArray[np.float64], diameter: float, *, delta_mm: float = DELTA_MM,
        taus: Sequence[float] | NDArray[np.float64] = TAUS) -> NDArray[np.float64]:
    """VSD (T,) in [0, 1] at each tolerance; 1 where neither pose shows anything.

    Args:
      estimate_depth, truth_depth: (h, w) depth of the model rendered in the two poses [m], 0 = background.
      measured_depth: (h, w) [m], 0 = not measured.
      rays: `ray_lengths` of the camera. diameter: [m].
    """
    place = np.flatnonzero((truth_depth.ravel() > 0) | (estimate_depth.ravel() > 0))
    if not len(place):
        return np.ones(len(taus))
    # Visibility is decided in mm and with single precision, as in BOP: pixels at the limit fall the same way.
    scale = rays.ravel()[place] * _MM_PER_M
    true_mm, here_mm = truth_depth.ravel()[place] * scale, estimate_depth.ravel()[place] * scale
    measured = measured_depth.ravel()[place]
    seen_mm, unknown = (measured * scale).astype(np.float32), measured == 0
    delta = np.float32(delta_mm)
    visible_truth = (true_mm > 0) & ((true_mm.astype(np.float32) - seen_mm <= delta) | unknown)
    visible_here = (here_mm > 0) & ((here_mm.astype(np.float32) - seen_mm <= delta) | unknown | visible_truth)
    both = visible_truth & visible_here
    union = int(np.count_nonzero(visible_truth | visible_here))
    if union == 0:
        return np.ones(len(taus))
    distances = np.abs(true_mm[both] - here_mm[both]) / (diameter * _MM_PER_M)
    wrong = len(distances) - np.searchsorted(np.sort(distances), np.asarray(taus), "left")
    return (wrong + (union - len(distances))) / union


def silhouettes_may_overlap(estimate: NDArray[np.float64], truth: NDArray[np.float64],
                            diameter: float) -> NDArray[np.bool_]:
    """Whether spheres of the object's diameter around the origins of poses (..., 4, 4) may overlap in the image.

    BOP counts VSD as 1 where they do not. False for an origin in the plane of the camera.
    """
    a, b = estimate[..., :3, 3], truth[..., :3, 3]
    za, zb = a[..., 2], b[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.linalg.norm(a[..., :2] / za[..., None] - b[..., :2] / zb[..., None], axis=-1)
        return (za != 0) & (zb != 0) & (apart < 0.5 * diameter * (1 / za + 1 / zb))


def vsd_pairs(estimate_depths: NDArray[np.float32], truth_depths: NDArray[np.float32],
              measured_depth: NDArray[np.float32], rays: NDArray[np.float64], diameter: float,
              compared: NDArray[np.bool_], *, delta_mm: float = DELTA_MM) -> NDArray[np.float64]:
    """VSD (E, G, T) of each estimate against each instance; 1 where they are not `compared` (E, G).

    Args:
      estimate_depths: (E, h, w) and truth_depths: (G, h, w): renderings of the poses [m]. The rest as in `vsd`.
    """
    out = np.ones((*compared.shape, len(TAUS)))
    here, there = (_boxes(depths) for depths in (estimate_depths, truth_depths))
    for e, g in zip(*np.nonzero(compared), strict=True):
        box = _around(here[e], there[g])
        out[e, g] = vsd(estimate_depths[e][box], truth_depths[g][box], measured_depth[box], rays[box], diameter,
                        delta_mm=delta_mm)
    return out


_Box = tuple[slice, slice]


def _boxes(depths: Iterable[NDArray[np.float32]]) -> list[_Box | None]:
    """(rows, columns) that hold everything drawn in each image (h, w); None for an empty one."""
    out: list[_Box | None] = []
    for depth in depths:
        rows, columns = np.flatnonzero(depth.max(1)), np.flatnonzero(depth.max(0))
        out.append((slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)) if len(rows) else None)
    return out


def _around(a: _Box | None, b: _Box | None) -> _Box:
    """The smallest box that holds both."""
    if a is None or b is None:
        return a or b or (slice(0), slice(0))
    rows, columns = (slice(min(p.start, q.start), max(p.stop, q.stop)) for p, q in zip(a, b, strict=True))
    return rows, columns
