"""Metric seed scan: place every template at every seed pixel, count how many of its points the frame explains.

A seed pixel gives the 3D position of one anchor point, so neither scale nor distance is searched. A template is tried
only where its anchor's normal is near the measured one, is then turned so that both agree exactly (two of the three
rotational errors of the grid vanish), and is given up early when its first points disagree.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numba import prange
from numpy.typing import NDArray

from storm_core.evidence.features import FrameFeatures
from storm_core.geometry.pose import from_rotation_translation, skew
from storm_core.kernels import njit
from storm_core.onboarding.templates import Templates, chroma_of

FAST = {"contract", "reassoc", "arcp", "nsz", "afn"}
"""fastmath without nnan/ninf: these kernels use nan for 'unknown'."""

MAX_SEEDS = 1200
"""Seeds beyond this are thinned at random: cluttered pictures must not cost more time than a robot has."""

BLIND_CHROMA = 0.25
"""Chroma difference between a seed without depth and an anchor that is still tried."""

OCCLUDED_VALUE = 0.4
HIDDEN_VALUE = 0.25
"""As OCCLUDED_VALUE where only colour votes: behind an occluder anything fits."""
SEEN = 0.2
"""Share of an object that must be in view for it to be looked for where only colour votes; with less the verifier
accepts next to none."""
MISSING_VALUE = 0.45
BEHIND_VALUE = -0.3


@dataclass(frozen=True, eq=False)
class ScanImage:
    """Half-resolution view of a frame for scanning.

    Attributes:
      depth: (h, w) float32 [m]. normal: (h, w, 3). chroma: (h, w, 2). camera: (fx, fy, cx, cy) of the half image.
      seeds: (S, 2) int32 (u, v) seed pixels. distances: (S,) z of the surface there, measured or supposed [m].
    """

    depth: NDArray[np.float32]
    normal: NDArray[np.float32]
    chroma: NDArray[np.float32]
    camera: NDArray[np.float64]
    seeds: NDArray[np.int32]
    distances: NDArray[np.float64]


def scan_image(
    features: FrameFeatures,
    min_depth: float,
    max_depth: float,
    stride: int,
    region: NDArray[np.bool_] | None = None,
    *,
    on_plane: bool = False,
    most: int = MAX_SEEDS,
    draw: int = 0,
) -> ScanImage:
    """Subsample the frame by 2 and choose seeds off the dominant plane, or `on_plane` too; in `region` (H, W) if given.

    Args:
      most: seeds beyond this number are thinned at random.
      draw: another number draws other ones.
    """
    frame = features.frame
    depth = np.ascontiguousarray(frame.depth[::2, ::2])
    smooth = cv2.blur(frame.rgb, (5, 5))[::2, ::2]
    c = frame.camera
    camera = np.array([c.fx / 2, c.fy / 2, c.cx / 2, c.cy / 2])
    candidate = (depth > min_depth) & (depth < max_depth) & (features.normal[..., 2] < 0)
    free = on_plane or region is not None
    off_plane = candidate if free else candidate & ~dominant_plane(depth, features.normal, camera, candidate)
    grid = np.zeros_like(candidate)
    grid[stride // 2 :: stride, stride // 2 :: stride] = True
    use = off_plane & grid
    if region is not None:
        use &= region[::2, ::2]
    v, u = thinned(*np.nonzero(use), most, draw)
    seeds = np.stack([u, v], -1).astype(np.int32)
    return ScanImage(depth, features.normal, chroma_of(smooth), camera, seeds, depth[v, u].astype(float))


def thinned(
    v: NDArray[np.int64], u: NDArray[np.int64], most: int, draw: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """At most so many of the pixels, drawn at random; another draw draws others."""
    if len(v) <= most:
        return v, u
    pick = np.sort(np.random.default_rng(draw).choice(len(v), most, replace=False))
    return v[pick], u[pick]


def dominant_plane(
    depth: NDArray[np.float32],
    normal: NDArray[np.float32],
    camera: NDArray[np.float64],
    candidate: NDArray[np.bool_],
    thickness: float = 0.008,
) -> NDArray[np.bool_]:
    """Pixels of the largest plane when it fills at least 15 % of the candidates; else nothing (RANSAC on normals)."""
    v, u = np.nonzero(candidate)
    if len(v) < 500:
        return np.zeros_like(candidate)
    rng = np.random.default_rng(0)
    pick = rng.choice(len(v), min(len(v), 4000), replace=False)
    vp, up = v[pick], u[pick]
    z = depth[vp, up].astype(float)
    xyz = np.stack([(up - camera[2]) / camera[0] * z, (vp - camera[3]) / camera[1] * z, z], -1)
    n = normal[vp, up].astype(float)
    trial = rng.choice(len(pick), 60, replace=False)
    offset = (n[trial] * xyz[trial]).sum(-1)
    near = np.abs(xyz @ n[trial].T - offset) < thickness
    inlier = near & (n @ n[trial].T > 0.9)
    best = int(inlier.sum(0).argmax())
    keep = inlier[:, best]
    if keep.mean() < 0.15:
        return np.zeros_like(candidate)
    center = xyz[keep].mean(0)
    plane = np.linalg.svd(xyz[keep] - center, full_matrices=False)[2][2]
    vv, uu = np.indices(depth.shape)
    height = ((uu - camera[2]) / camera[0] * plane[0] + (vv - camera[3]) / camera[1] * plane[1] + plane[2]) * depth
    return candidate & (np.abs(height - center @ plane) < thickness)


@njit(cache=True, fastmath=FAST)
def _aligning(a, b, out):  # noqa: ANN001
    """Smallest rotation that turns unit vector a onto b, into out (3, 3)."""
    vx, vy, vz = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
    c = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    k = 1.0 / (1.0 + c)
    out[0, 0], out[0, 1], out[0, 2] = c + k * vx * vx, k * vx * vy - vz, k * vx * vz + vy
    out[1, 0], out[1, 1], out[1, 2] = k * vx * vy + vz, c + k * vy * vy, k * vy * vz - vx
    out[2, 0], out[2, 1], out[2, 2] = k * vx * vz - vy, k * vy * vz + vx, c + k * vz * vz


@njit(cache=True, fastmath=FAST)
def _evaluate(
    t, anchor, seed, turn, points, normals, chroma, outside, depth, normal, chroma_image, cam, tau, gap, least, blind
):  # noqa: ANN001, PLR0913
    """Score of template t, turned by `turn` about its anchor lying at `seed`; -1 when given up early.

    blind: where depth is missing, colour votes.
    """
    h, w = depth.shape
    total, hidden = 0.0, 0
    n_points, n_out = points.shape[1], outside.shape[1]
    ax, ay, az = points[t, anchor, 0], points[t, anchor, 1], points[t, anchor, 2]
    for i in range(n_points):
        if (i == 12 or i == 24) and total < least * i - 2.5:
            return -1.0
        dx, dy, dz = points[t, i, 0] - ax, points[t, i, 1] - ay, points[t, i, 2] - az
        x = seed[0] + turn[0, 0] * dx + turn[0, 1] * dy + turn[0, 2] * dz
        y = seed[1] + turn[1, 0] * dx + turn[1, 1] * dy + turn[1, 2] * dz
        z = seed[2] + turn[2, 0] * dx + turn[2, 1] * dy + turn[2, 2] * dz
        if z < 0.05:
            return -1.0
        u, v = int(cam[0] * x / z + cam[2] + 0.5), int(cam[1] * y / z + cam[3] + 0.5)
        if u < 0 or v < 0 or u >= w or v >= h:
            continue
        zo = depth[v, u]
        if zo <= 0:
            if blind and not np.isnan(chroma[t, i, 0]):
                da, db = chroma_image[v, u, 0] - chroma[t, i, 0], chroma_image[v, u, 1] - chroma[t, i, 1]
                total += 0.8 - 1.2 * min(np.sqrt(da * da + db * db) / 0.4, 1.0)
            else:
                total += MISSING_VALUE
            continue
        e = zo - z
        if e < -tau:
            hidden += 1
            total += HIDDEN_VALUE if blind else OCCLUDED_VALUE
        elif e > tau:
            total += BEHIND_VALUE
        else:
            value = 1.0 - 0.4 * abs(e) / tau
            ox, oy, oz = normal[v, u, 0], normal[v, u, 1], normal[v, u, 2]
            if oz != 0:
                mx, my, mz = normals[t, i, 0], normals[t, i, 1], normals[t, i, 2]
                dot = (
                    ox * (turn[0, 0] * mx + turn[0, 1] * my + turn[0, 2] * mz)
                    + oy * (turn[1, 0] * mx + turn[1, 1] * my + turn[1, 2] * mz)
                    + oz * (turn[2, 0] * mx + turn[2, 1] * my + turn[2, 2] * mz)
                )
                value *= min(max((dot - 0.2) / 0.6, 0.0), 1.0)
            else:
                value *= 0.7
            if not np.isnan(chroma[t, i, 0]):
                da, db = chroma_image[v, u, 0] - chroma[t, i, 0], chroma_image[v, u, 1] - chroma[t, i, 1]
                value *= 1.0 - 0.7 * min(np.sqrt(da * da + db * db) / 0.4, 1.0)
            total += value
    score = total / n_points
    if score < least or (blind and hidden > (1.0 - SEEN) * n_points):
        return -1.0
    ring, n_ring = 0.0, 0
    for i in range(n_out):
        if np.isnan(outside[t, i, 0]):
            continue
        dx, dy, dz = outside[t, i, 0] - ax, outside[t, i, 1] - ay, outside[t, i, 2] - az
        x = seed[0] + turn[0, 0] * dx + turn[0, 1] * dy + turn[0, 2] * dz
        y = seed[1] + turn[1, 0] * dx + turn[1, 1] * dy + turn[1, 2] * dz
        z = seed[2] + turn[2, 0] * dx + turn[2, 1] * dy + turn[2, 2] * dz
        if z < 0.05:
            continue
        u, v = int(cam[0] * x / z + cam[2] + 0.5), int(cam[1] * y / z + cam[3] + 0.5)
        if u < 0 or v < 0 or u >= w or v >= h:
            continue
        n_ring += 1
        zo = depth[v, u]
        if zo <= 0 or zo > z + gap:
            ring += 1.0
        elif zo < z - gap:
            ring += 0.4
    if n_ring > 0:
        score += 0.35 * (ring / n_ring - 0.5)
    return score


@njit(cache=True, parallel=True, nogil=True, fastmath=FAST)
def _scan(
    seeds,
    distances,
    blind,
    points,
    normals,
    chroma,
    outside,
    anchors,
    depth,
    normal,
    chroma_image,
    cam,
    tau,
    gap,
    least,  # noqa: ANN001, PLR0913
    keep,
):
    """Best `keep` (score, template, anchor) per seed: (S, keep, 3). blind: no seed has depth, so colour must agree."""
    n = seeds.shape[0]
    best = np.zeros((n, keep, 3))
    best[:, :, 0] = -1
    for s in prange(n):
        u, v = seeds[s, 0], seeds[s, 1]
        z = distances[s]
        seed = np.empty(3)
        seed[0], seed[1], seed[2] = (u - cam[2]) / cam[0] * z, (v - cam[3]) / cam[1] * z, z
        facing = normal[v, u].astype(np.float64)
        turn = np.eye(3)
        for t in range(points.shape[0]):
            for a in range(anchors.shape[1]):
                i = anchors[t, a]
                if blind:
                    da, db = chroma_image[v, u, 0] - chroma[t, i, 0], chroma_image[v, u, 1] - chroma[t, i, 1]
                    if da * da + db * db > BLIND_CHROMA * BLIND_CHROMA:
                        continue
                elif facing[0] * normals[t, i, 0] + facing[1] * normals[t, i, 1] + facing[2] * normals[t, i, 2] < 0.87:
                    continue
                else:
                    _aligning(normals[t, i], facing, turn)
                score = _evaluate(
                    t,
                    i,
                    seed,
                    turn,
                    points,
                    normals,
                    chroma,
                    outside,
                    depth,
                    normal,
                    chroma_image,
                    cam,
                    tau,
                    gap,
                    max(least, best[s, keep - 1, 0]),
                    blind,
                )
                if score > best[s, keep - 1, 0]:
                    j = keep - 1
                    while j > 0 and best[s, j - 1, 0] < score:
                        for q in range(3):
                            best[s, j, q] = best[s, j - 1, q]
                        j -= 1
                    best[s, j, 0], best[s, j, 1], best[s, j, 2] = score, t, i
    return best


def _aligning_rotations(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smallest rotations (N, 3, 3) turning unit vectors a (N, 3) onto b (N, 3)."""
    k = skew(np.cross(a, b))
    return np.eye(3) + k + k @ k / (1 + (a * b).sum(-1))[:, None, None]


def scan(
    image: ScanImage,
    templates: Templates,
    diameter: float,
    center: NDArray[np.float64],
    *,
    least: float = 0.35,
    keep_per_seed: int = 3,
    blind: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Candidate poses (K, 4, 4) and scores (K,), best first, before non-maximum suppression.

    Args:
      least: scores below are dropped.
      blind: the seeds have no depth (see `som/blind.py`): templates keep their rotation, colour must agree.
    """
    t = templates
    best = _scan(
        image.seeds,
        image.distances,
        blind,
        t.points,
        t.normals,
        t.chroma,
        t.outside,
        t.anchors,
        image.depth,
        image.normal,
        image.chroma,
        image.camera,
        max(0.008, 0.07 * diameter),
        max(0.012, 0.08 * diameter),
        least,
        keep_per_seed,
    )
    seed = np.repeat(np.arange(len(image.seeds)), keep_per_seed)
    best = best.reshape(-1, 3)
    order = np.argsort(-best[:, 0], kind="stable")[: int((best[:, 0] > 0).sum())]
    best, chosen = best[order], seed[order]
    template, anchor = best[:, 1].astype(int), best[:, 2].astype(int)
    u, v = image.seeds[chosen].T
    turn = np.broadcast_to(np.eye(3), (len(best), 3, 3)) if blind else _aligning_rotations(
        t.normals[template, anchor].astype(float), image.normal[v, u].astype(float)
    )
    rotations = turn @ t.rotations[template]
    z = image.distances[chosen]
    c = image.camera
    xyz = np.stack([(u - c[2]) / c[0] * z, (v - c[3]) / c[1] * z, z], -1)
    origin = xyz - (turn @ t.points[template, anchor].astype(float)[..., None])[..., 0] - rotations @ center
    return from_rotation_translation(rotations, origin), best[:, 0]
