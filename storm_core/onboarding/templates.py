"""Sparse metric templates: what an object's visible surface looks like from every rotation, in metres, not pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import from_rotation_translation
from storm_core.geometry.viewpoints import super_fibonacci_rotations
from storm_core.kernels import njit
from storm_core.rendering.raster import NumbaRenderer

N_POINTS = 48
N_OUTSIDE = 20
N_ANCHORS = 4
RENDER_PX = 64
DISTANCE = 5.0
"""Camera distance of the template renders, in diameters."""


@dataclass(frozen=True, eq=False)
class Templates:
    """Templates of one object; T templates in camera axes with the object centre as origin.

    Attributes:
      rotations: (T, 3, 3) cam_from_obj rotations.
      points: (T, P, 3) float32 visible surface points [m]. normals: (T, P, 3). chroma: (T, P, 2), nan when uncoloured.
      outside: (T, B, 3) points beside the silhouette, at the depth of the nearest contour [m].
      anchors: (T, A) indices into points: where a seed pixel may lie.
    """

    rotations: NDArray[np.float64]
    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    chroma: NDArray[np.float32]
    outside: NDArray[np.float32]
    anchors: NDArray[np.int32]


def chroma_of(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Two opponent chroma values (..., 2) in about [-1, 1]; brightness divided out, calm in the dark."""
    c = rgb.astype(np.float32)
    total = c.sum(-1) + 60.0
    return np.stack([(c[..., 0] - c[..., 1]) / total * 2, (c[..., 0] + c[..., 1] - 2 * c[..., 2]) / total * 2], -1)


@njit(cache=True)
def _farthest(points, n, first):  # noqa: ANN001, ANN202
    """Indices of n far-apart points (farthest point sampling); repeats when there are fewer than n points."""
    chosen = np.empty(n, np.int64)
    distance = np.full(len(points), np.inf)
    current = first
    for i in range(n):
        chosen[i] = current
        best = -1.0
        following = current
        for k in range(len(points)):
            d = 0.0
            for axis in range(3):
                d += (points[k, axis] - points[current, axis]) ** 2
            distance[k] = min(distance[k], d)
            if distance[k] > best:
                best, following = distance[k], k
        current = following
    return chosen


def build_templates(model: ObjectModel, n: int) -> Templates:
    """Render n rotations and sample each one's visible surface. About 1 ms per template."""
    import cv2

    rotations = super_fibonacci_rotations(n)
    d = model.diameter
    focal = RENDER_PX * DISTANCE / 1.2
    camera = PinholeCamera(RENDER_PX, RENDER_PX, focal, focal, (RENDER_PX - 1) / 2, (RENDER_PX - 1) / 2)
    center_cam = np.array([0, 0, DISTANCE * d])
    poses = from_rotation_translation(rotations, center_cam - rotations @ model.center)
    rendering = NumbaRenderer().render(model, poses, camera)
    points = np.zeros((n, N_POINTS, 3), np.float32)
    normals = np.zeros((n, N_POINTS, 3), np.float32)
    chroma = np.full((n, N_POINTS, 2), np.nan, np.float32)
    outside = np.full((n, N_OUTSIDE, 3), np.nan, np.float32)
    anchors = np.zeros((n, N_ANCHORS), np.int32)
    kernel = np.ones((3, 3), np.uint8)
    masks = rendering.mask.astype(np.uint8)
    for i, mask in enumerate(masks):
        inner = cv2.erode(mask, kernel)
        v, u = np.nonzero(inner if inner.sum() > N_POINTS else mask)
        xyz = camera.back_project(np.stack([u, v], -1), rendering.depth[i, v, u]) - center_cam
        middle = int(((xyz - np.median(xyz, 0)) ** 2).sum(-1).argmin())
        pick = _farthest(xyz, N_POINTS, middle)
        # Scan order is random so that an early exit sees the whole shape, not one corner of it.
        order = np.random.default_rng(i).permutation(N_POINTS)
        pick = np.concatenate([pick[:1], pick[1:][order[order > 0] - 1]])
        points[i], normals[i] = xyz[pick], rendering.normal[i, v[pick], u[pick]]
        if rendering.color is not None:
            smooth = cv2.blur(rendering.color[i], (3, 3))
            chroma[i] = chroma_of(smooth[v[pick], u[pick]])
        # Anchors: well inside the silhouette and facing the camera, where a measured normal can be trusted.
        depth_in = cv2.distanceTransform(mask, cv2.DIST_L2, 3)[v[pick], u[pick]]
        facing = -normals[i, :, 2]
        quality = np.minimum(depth_in, 6) / 6 + facing
        far = _farthest(points[i].astype(float), N_POINTS, int(quality.argmax()))
        good = far[quality[far] > np.median(quality)]
        anchors[i] = np.resize(good if len(good) else far, N_ANCHORS)
        ring = (cv2.dilate(mask, np.ones((9, 9), np.uint8)) == 1) & (cv2.dilate(mask, np.ones((7, 7), np.uint8)) == 0)
        rv, ru = np.nonzero(ring)
        if len(rv):
            pick = np.linspace(0, len(rv) - 1, N_OUTSIDE).astype(int)
            angle = np.argsort(np.arctan2(rv - rv.mean(), ru - ru.mean()))
            rv, ru = rv[angle][pick], ru[angle][pick]
            cv, cu = np.nonzero(mask - inner)
            near = ((cv[None] - rv[:, None]) ** 2 + (cu[None] - ru[:, None]) ** 2).argmin(1)
            outside[i] = (
                camera.back_project(np.stack([ru, rv], -1), rendering.depth[i, cv[near], cu[near]]) - center_cam
            )
    return Templates(rotations, points, normals, chroma, outside, anchors)
