"""Which of several poses at one place explains the picture there: what each calls object and another background.

A cup whose handle is hidden behind it agrees with all that its silhouette covers; that a handle is in plain view beside
it does not show there. So the poses are compared over the union of their silhouettes: every pixel is either the object
at the rendered distance or background, and colour and depth say which is likelier. No vertex colours are needed: the
object's colours are those of the pixels that all poses agree on.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.compare import crop_focal, inlier_tolerance
from storm_core.evidence.features import FrameFeatures
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.registration.decoys import DIFFERENT
from storm_core.registration.judge import Judge
from storm_core.registration.twins import declared_distance
from storm_core.rendering.raster import NumbaRenderer
from storm_core.types import Frame

SIDE = 96
"""Side [px] of the crop that the poses are compared in."""

REACH = 0.75
"""Half of the crop [diameters]."""

SAME_PLACE = 0.5
"""Distance [diameters] from the first pose up to which poses are compared."""

BINS, SPREAD, SURE = 24, 1.0, 2.0
"""Bins per chroma axis, blur of the histograms [bins], most log-odds of one pixel's colour."""

ON_OBJECT, ON_BACKGROUND = np.log([0.85, 0.10, 0.05]), np.log([0.15, 0.75, 0.10])
"""Logarithms of the chances that depth agrees with, is behind, is before the rendered one."""

CLEAR_LEAD = 1.5
"""Lead [log-odds] over the closest rival that right poses have; wrong ones have next to none."""

PRINT, MISPRINTED, DARK = 2.0, 0.5, 16.0
"""Log-odds of a pixel whose colour is not the rendered one, the error of its log colour from which it is not, and the
grey level below which colour is noise. A can whose two sides are printed nearly alike differs only here."""

SHADOW = 8.0
"""Radius [px] of the neighbourhood whose brightness does not count: light falls unevenly."""

UNSEEN = 1e-3
"""Share of a colour that neither shows: it stays undecided."""

ENOUGH = 20
"""Pixels from which colours can be counted."""


WEIGHT = 0.3
"""Log-odds per unit of `explained` when poses are put in order."""


def dueled(
    judge: Judge, cam_from_objs: NDArray[np.float64], side: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Poses (N, 4, 4), best first by rank and duel; their log-odds (N,), and by how much [log-odds] each is behind the
    first (N,), infinite at another place, where it may be another instance. side: crop of the ranking [px]."""
    rank, odds = judge.judge(cam_from_objs, side)
    order = np.argsort(-rank, kind="stable")
    poses, odds = cam_from_objs[order], odds[order]
    contest = contested(judge, poses, rank[order])
    value = np.where(np.isnan(contest), rank[order], contest)
    behind = np.where(np.isnan(contest), np.inf, value.max() - value)
    order = np.argsort(-value, kind="stable")
    return poses[order], odds[order], behind[order]


def contested(judge: Judge, cam_from_objs: NDArray[np.float64], rank: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank (N,) of poses (N, 4, 4) and the duel of those at the first one's place [log-odds]; nan elsewhere."""
    told = explained(judge.features, judge.model, cam_from_objs)
    return rank + WEIGHT * (told - told[0])


def voted(
    cam_from_objs: NDArray[np.float64],
    odds: NDArray[np.float64],
    behind: NDArray[np.float64],
    votes: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The three of `dueled` in the order that further votes (N,) [log-odds] give; nobody at another place moves up."""
    value = np.where(np.isinf(behind), -np.inf, votes - behind)
    order = np.argsort(-value, kind="stable")
    return cam_from_objs[order], odds[order], (value.max() - value)[order]


def lead(model: ObjectModel, cam_from_objs: NDArray[np.float64], behind: NDArray[np.float64],
         twins: NDArray[np.float64]) -> float:
    """How far [log-odds] the first of the poses (N, 4, 4) is before the next that is not the same; inf without one.

    Args:
      behind: (N,) of `dueled`. twins: (S, 4, 4) obj -> obj turns that count as the same (identity included).
    """
    first = cam_from_objs[0] @ twins
    for pose, gap in zip(cam_from_objs[1:], behind[1:], strict=True):
        if min(declared_distance(model, twin, pose) for twin in first) > DIFFERENT * model.diameter:
            return float(gap)
    return float("inf")


def tie(gap: float) -> float:
    """Log-odds (at most 0) to add for a pose with this lead over its closest rival: two that look alike are a guess."""
    return 2.0 * min(0.0, gap - CLEAR_LEAD)


@dataclass(frozen=True, eq=False)
class CutOut:
    """SIDE x SIDE pixels of a frame around a pose.

    Attributes:
      rgb: (SIDE, SIDE, 3). depth: (SIDE, SIDE) [m], 0 = none. inside: (SIDE, SIDE) bool, False outside the frame.
    """

    camera: PinholeCamera
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    inside: NDArray[np.bool_]


def cut_out(frame: Frame, model: ObjectModel, cam_from_obj: NDArray[np.float64]) -> CutOut:
    """What the frame shows within REACH of the pose (4, 4): nearest pixels, nothing is resampled."""
    cam, center = frame.camera, cam_from_obj[:3, :3] @ model.center + cam_from_obj[:3, 3]
    half = REACH * model.diameter / center[2]
    step = 2 * half * crop_focal(cam.fx, cam.fy) / SIDE
    u0 = cam.cx + cam.fx * center[0] / center[2] - step * SIDE / 2
    v0 = cam.cy + cam.fy * center[1] / center[2] - step * SIDE / 2
    x, y = (np.floor(first + np.arange(SIDE) * step + 0.5).astype(int) for first in (u0, v0))
    h, w = frame.depth.shape
    pixels = np.ix_(np.clip(y, 0, h - 1), np.clip(x, 0, w - 1))
    return CutOut(
        PinholeCamera(SIDE, SIDE, cam.fx / step, cam.fy / step, (cam.cx - u0) / step, (cam.cy - v0) / step),
        frame.rgb[pixels], frame.depth[pixels], ((y >= 0) & (y < h))[:, None] & ((x >= 0) & (x < w))[None])


def explained(
    features: FrameFeatures, model: ObjectModel, cam_from_objs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log-likelihoods (N,) of poses (N, 4, 4), per square root of the pixels compared: neighbours share their errors.

    nan for poses at another place than the first. What stands before all of them says nothing.
    """
    centers = cam_from_objs[:, :3, :3] @ model.center + cam_from_objs[:, :3, 3]
    here = np.linalg.norm(centers - centers[0], axis=1) < SAME_PLACE * model.diameter
    poses = np.ascontiguousarray(cam_from_objs[here])
    crop = cut_out(features.frame, model, cam_from_objs[0])
    seen, rgb, inside = crop.depth, crop.rgb, crop.inside
    drawn = NumbaRenderer().render(model, poses, crop.camera)
    rendered = drawn.depth
    tau = inlier_tolerance(model.diameter)
    covered = rendered > 0
    nearest = np.where(covered, rendered, np.inf).min(0)
    measured = seen > 0
    union = covered.any(0) & inside & ~(measured & (seen < nearest - tau))
    core = covered.all(0) & union & (~measured | (np.abs(seen - nearest) < tau))
    odds = color_odds(rgb, core, inside & ~covered.any(0))[union]
    out = np.full(len(cam_from_objs), np.nan)
    covered, surface = covered[:, union], np.where(covered, rendered, nearest)[:, union]
    off = seen[union] - surface
    case = np.where(off > tau, 1, np.where(off < -tau, 2, 0))
    told = np.where(covered, ON_OBJECT[case], ON_BACKGROUND[case]) * measured[union]
    told += np.where(covered, 0.5, -0.5) * odds
    if drawn.color is not None and core.any():
        told[:, core[union]] -= PRINT * _misprint(rgb, drawn.color, core)
    out[here] = told.sum(1) / np.sqrt(max(np.count_nonzero(union), 1))
    return out


def _misprint(seen: NDArray[np.uint8], drawn: NDArray[np.uint8], core: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How far the colours (H, W, 3) of the N pixels `core` are from those of the poses (K, H, W, 3): (K, N) in [0, 1].

    Neither exposure nor white balance counts, nor what darkens a whole neighbourhood: a shadow changes all channels
    alike, over more than a print's details.
    """
    off = np.log(seen[core] + DARK) - np.log(drawn[:, core] + DARK)
    light = off.mean(-1)
    field = np.zeros((*core.shape, len(drawn) + 1))
    field[core] = np.concatenate([light, np.ones((1, light.shape[1]))]).T
    field = cv2.GaussianBlur(field, (0, 0), SHADOW)[core].T
    tint = off - light[..., None]
    tint -= tint.mean(1, keepdims=True)
    off = np.abs(tint + (light - field[:-1] / field[-1])[..., None]).mean(-1)
    return np.minimum(off / MISPRINTED, 1.0)


def color_odds(
    rgb: NDArray[np.uint8], core: NDArray[np.bool_], around: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Log-odds (H, W) that a pixel's colour is the object's (pixels `core`) and not the surroundings' (`around`).

    0, even odds, everywhere when either has too few pixels to know its colours.
    """
    if min(np.count_nonzero(core), np.count_nonzero(around)) < ENOUGH:
        return np.zeros(core.shape)
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(int)
    cell = (lab[..., 1] * BINS // 256) * BINS + lab[..., 2] * BINS // 256
    shares = []
    for mask in (core, around):
        table = np.bincount(cell[mask], minlength=BINS * BINS).astype(float).reshape(BINS, BINS)
        table = cv2.GaussianBlur(table, (0, 0), SPREAD)
        shares.append(table / table.sum() + UNSEEN)
    odds = np.log(shares[0] / shares[1]).ravel()
    return np.clip(odds, -SURE, SURE)[cell]
