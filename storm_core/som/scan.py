"""Metric seed scan: place every template at every seed pixel, count how many of its points the frame explains.

A seed pixel gives the 3D position of one anchor point, so neither scale nor distance is searched. A template is tried
only where its anchor's normal agrees with the measured one, and given up early when its first points disagree.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from storm_core.evidence.features import FrameFeatures
from storm_core.geometry.pose import from_rotation_translation
from storm_core.onboarding.templates import Templates, chroma_of

FAST = {"contract", "reassoc", "arcp", "nsz", "afn"}
"""fastmath without nnan/ninf: these kernels use nan for 'unknown'."""

OCCLUDED_VALUE = 0.4
MISSING_VALUE = 0.45
BEHIND_VALUE = -0.3


@dataclass(frozen=True, eq=False)
class ScanImage:
    """Half-resolution view of a frame for scanning.

    Attributes:
      depth: (h, w) float32 [m]. normal: (h, w, 3). chroma: (h, w, 2). camera: (fx, fy, cx, cy) of the half image.
      seeds: (S, 2) int32 (u, v) seed pixels.
    """

    depth: NDArray[np.float32]
    normal: NDArray[np.float32]
    chroma: NDArray[np.float32]
    camera: NDArray[np.float64]
    seeds: NDArray[np.int32]


def scan_image(features: FrameFeatures, min_depth: float, max_depth: float, stride: int,
               region: NDArray[np.bool_] | None = None) -> ScanImage:
    """Subsample the frame by 2 and choose seeds off the dominant plane (and inside `region`, (H, W), if given)."""
    frame = features.frame
    depth = np.ascontiguousarray(frame.depth[::2, ::2])
    smooth = cv2.blur(frame.rgb, (5, 5))[::2, ::2]
    c = frame.camera
    camera = np.array([c.fx / 2, c.fy / 2, c.cx / 2, c.cy / 2])
    candidate = (depth > min_depth) & (depth < max_depth) & (features.normal[..., 2] < 0)
    off_plane = candidate & ~dominant_plane(depth, features.normal, camera, candidate)
    grid = np.zeros_like(candidate)
    grid[stride // 2::stride, stride // 2::stride] = True
    use = off_plane & grid
    if region is not None:
        use = candidate & grid & region[::2, ::2]
    v, u = np.nonzero(use)
    return ScanImage(depth, features.normal, chroma_of(smooth), camera, np.stack([u, v], -1).astype(np.int32))


def dominant_plane(depth: NDArray[np.float32], normal: NDArray[np.float32], camera: NDArray[np.float64],
                   candidate: NDArray[np.bool_], thickness: float = 0.008) -> NDArray[np.bool_]:
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
def _evaluate(t, px, py, pz, points, normals, chroma, outside, depth, normal, chroma_image, cam, tau, gap, least):  # noqa: ANN001, PLR0913
    """Score of template t with its centre at (px, py, pz): mean value of its points, -1 when given up early."""
    h, w = depth.shape
    total = 0.0
    n_points, n_out = points.shape[1], outside.shape[1]
    for i in range(n_points):
        if i == 12 and total < least * 12 - 2.5:
            return -1.0
        if i == 24 and total < least * 24 - 2.5:
            return -1.0
        x, y, z = px + points[t, i, 0], py + points[t, i, 1], pz + points[t, i, 2]
        if z < 0.05:
            return -1.0
        u, v = int(cam[0] * x / z + cam[2] + 0.5), int(cam[1] * y / z + cam[3] + 0.5)
        if u < 0 or v < 0 or u >= w or v >= h:
            continue
        zo = depth[v, u]
        if zo <= 0:
            total += MISSING_VALUE
            continue
        e = zo - z
        if e < -tau:
            total += OCCLUDED_VALUE
        elif e > tau:
            total += BEHIND_VALUE
        else:
            value = 1.0 - 0.4 * abs(e) / tau
            nx, ny, nz = normal[v, u, 0], normal[v, u, 1], normal[v, u, 2]
            if nz != 0:
                dot = nx * normals[t, i, 0] + ny * normals[t, i, 1] + nz * normals[t, i, 2]
                value *= min(max((dot - 0.2) / 0.6, 0.0), 1.0)
            else:
                value *= 0.7
            if not np.isnan(chroma[t, i, 0]):
                da, db = chroma_image[v, u, 0] - chroma[t, i, 0], chroma_image[v, u, 1] - chroma[t, i, 1]
                value *= 1.0 - 0.6 * min(np.sqrt(da * da + db * db) / 0.5, 1.0)
            total += value
    score = total / n_points
    if score < least:
        return -1.0
    ring, n_ring = 0.0, 0
    for i in range(n_out):
        if np.isnan(outside[t, i, 0]):
            continue
        x, y, z = px + outside[t, i, 0], py + outside[t, i, 1], pz + outside[t, i, 2]
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


@njit(cache=True, parallel=True, fastmath=FAST)
def _scan(seeds, points, normals, chroma, outside, anchors, depth, normal, chroma_image, cam, tau, gap, least,  # noqa: ANN001, PLR0913
          keep):
    """Best `keep` (score, template, centre) per seed: (S, keep, 5)."""
    n = seeds.shape[0]
    best = np.zeros((n, keep, 5))
    best[:, :, 0] = -1
    for s in prange(n):
        u, v = seeds[s, 0], seeds[s, 1]
        z = depth[v, u]
        x, y = (u - cam[2]) / cam[0] * z, (v - cam[3]) / cam[1] * z
        nx, ny, nz = normal[v, u, 0], normal[v, u, 1], normal[v, u, 2]
        for t in range(points.shape[0]):
            for a in range(anchors.shape[1]):
                i = anchors[t, a]
                if nx * normals[t, i, 0] + ny * normals[t, i, 1] + nz * normals[t, i, 2] < 0.85:
                    continue
                px, py, pz = x - points[t, i, 0], y - points[t, i, 1], z - points[t, i, 2]
                score = _evaluate(t, px, py, pz, points, normals, chroma, outside, depth, normal, chroma_image, cam,
                                  tau, gap, max(least, best[s, keep - 1, 0]))
                if score > best[s, keep - 1, 0]:
                    j = keep - 1
                    while j > 0 and best[s, j - 1, 0] < score:
                        for q in range(5):
                            best[s, j, q] = best[s, j - 1, q]
                        j -= 1
                    best[s, j, 0], best[s, j, 1] = score, t
                    best[s, j, 2], best[s, j, 3], best[s, j, 4] = px, py, pz
    return best


def scan(image: ScanImage, templates: Templates, diameter: float, center: NDArray[np.float64], *, least: float = 0.35,
         keep_per_seed: int = 2, subset: NDArray[np.int64] | None = None,
         ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Candidate poses (K, 4, 4) and scores (K,), best first, before non-maximum suppression.

    Args:
      least: scores below are dropped. subset: template indices to use (None = all).
    """
    pick = slice(None) if subset is None else subset
    t = templates
    best = _scan(image.seeds, t.points[pick], t.normals[pick], t.chroma[pick], t.outside[pick], t.anchors[pick],
                 image.depth, image.normal, image.chroma, image.camera, max(0.008, 0.08 * diameter),
                 max(0.012, 0.08 * diameter), least, keep_per_seed).reshape(-1, 5)
    best = best[best[:, 0] > 0]
    best = best[np.argsort(-best[:, 0], kind="stable")]
    rotations = t.rotations[pick][best[:, 1].astype(int)]
    return from_rotation_translation(rotations, best[:, 2:] - rotations @ center), best[:, 0]
