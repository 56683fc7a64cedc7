"""Where depth is missing: placements found by colour.

An occluder near the camera throws a shadow in which active stereo measures nothing, and dark or shiny parts answer
nowhere. The background still tells how far away an object can be, and the picture where and how it lies.
"""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.suppress import suppress
from storm_core.onboarding.onboard import Onboarded
from storm_core.registration.judge import Judge
from storm_core.registration.polish import polish
from storm_core.som.scan import SEEN, ScanImage, scan, thinned

MAX_SEEDS = 640
"""Seeds, each tried at several distances, are thinned to so many."""

STEPS = (0.02, 0.15, 0.3, 0.45, 0.65, 1.0, 1.5)
"""How far before the background the surface may lie [diameters]."""

LEAST, LEAST_MASKED = 0.1, 0.02
"""Scan score of a placement that is worth a look: anywhere, and where a mask already says much."""

ANY_DISTANCE = (0.1, 10.0)
"""Nearest and farthest [m] that anything is looked for where nobody says more."""

MOST = 600
"""Placements that are compared with the whole picture."""

FUNNEL = ((240, 6, 0.07, 10.0), (72, 14, 0.05, 7.0), (24, 28, 0.04, 5.0), (10, 40, 0.02, 3.0))
"""Per round: placements followed, samples around each, their spread [diameters], [deg]."""


def blind_image(
    image: ScanImage, diameter: float, stride: int, region: NDArray[np.bool_] | None = None, *, most: int = MAX_SEEDS,
    draw: int = 0, reach: tuple[float, float] = ANY_DISTANCE,
) -> ScanImage:
    """The same view with seeds where depth is missing (and inside `region`, (H, W), if given).

    The background continues behind such a pixel: of the nearest measurements to its left and right the farther one.
    The object lies somewhere before it, within `reach`. most, draw: as in `scan_image`.
    """
    missing = image.depth <= 0
    background = _background(image.depth)
    use = (cv2.blur(missing.astype(np.float32), (7, 7)) > 0.7) & (background > 0)
    grid = np.zeros_like(use)
    grid[stride // 2 :: stride, stride // 2 :: stride] = True
    use &= grid
    if region is not None:
        use &= region[::2, ::2]
    v, u = thinned(*np.nonzero(use), most, draw)
    distances = (background[v, u][:, None] - np.array(STEPS) * diameter).reshape(-1)
    seeds = np.repeat(np.stack([u, v], -1), len(STEPS), 0).astype(np.int32)
    ahead = (distances > reach[0]) & (distances < reach[1])
    return ScanImage(image.depth, image.normal, image.chroma, image.camera, seeds[ahead], distances[ahead])


def _background(depth: NDArray[np.float32]) -> NDArray[np.float64]:
    """Depth (h, w) with every hole filled by the farther of its nearest measurements in the row; 0 = none."""
    w = depth.shape[1]
    left = np.maximum.accumulate(np.where(depth > 0, np.arange(w), -1), 1)
    right = np.minimum.accumulate(np.where(depth > 0, np.arange(w), w)[:, ::-1], 1)[:, ::-1]
    rows = np.arange(len(depth))[:, None]
    sides = [np.where((k >= 0) & (k < w), depth[rows, np.clip(k, 0, w - 1)], 0.0) for k in (left, right)]
    return np.where(depth > 0, depth, np.maximum(*sides))


def blind_candidates(judge: Judge, onboarded: Onboarded, image: ScanImage, region: NDArray[np.bool_] | None = None, *,
                     part: int = 1, draw: int = 0, reach: tuple[float, float] = ANY_DISTANCE) -> NDArray[np.float64]:
    """Distinct candidate poses (K, 4, 4), best first; (0, 4, 4) for models without colour or views without holes.

    Single placements say little when they are a little off, so many are followed a little way and few to the end.

    Args:
      part: a search of so many, each with another `draw`, among which the work is divided.
      reach: nearest and farthest distance [m] of the surface that is searched.
    """
    model = onboarded.model
    none = np.zeros((0, 4, 4))
    if model.colors is None:
        return none
    judge = replace(judge, least_seen=SEEN)
    image = blind_image(image, model.diameter, 4, region, most=MAX_SEEDS // part, draw=draw, reach=reach)
    least = LEAST if judge.mask is None else LEAST_MASKED
    poses, _ = scan(image, onboarded.templates, model.diameter, model.center, least=least, keep_per_seed=10, blind=True)
    poses = poses[suppress(poses, model.center, model.diameter, MOST // part, distance=0.1, angle_deg=12.0)]
    if len(poses) == 0:
        return none
    rank, _ = judge.judge(poses, 40)
    for keep, samples, shift, turn_deg in FUNNEL:
        poses = poses[_best_first(rank)]
        if len(poses) == 0:
            return none
        followed = -(-keep // part)
        poses = poses[suppress(poses, model.center, model.diameter, followed, distance=0.05, angle_deg=6.0)]
        poses, rank = polish(judge, poses, side=40, rounds=1, samples=samples, shift=shift, turn_deg=turn_deg)
    return poses[_best_first(rank)]


def _best_first(rank: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of all that rank at all."""
    order = np.argsort(-rank, kind="stable")
    return order[np.isfinite(rank[order])]
