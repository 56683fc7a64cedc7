"""What the networks look at: the render of a hypothesis and the same window of the frame, one fused kernel.

The window is a square around the projected object centre, `crop_ratio` diameters wide. Both pictures hold RGB in
[0, 1] and the camera-frame place of each pixel relative to the hypothesis, in radii of the object; coordinates that are
unknown or too far away are 0, which removes most of the background.
"""

import numpy as np
from numba import prange
from numpy.typing import NDArray

from storm_core.evidence.compare import CROP_DIAMETERS, crop_camera
from storm_core.geometry.mesh import ObjectModel
from storm_core.kernels import njit
from storm_core.render_compare.shape import INPUT_CHANNELS, Scaling
from storm_core.rendering.raster import raster_one, shade_pixel
from storm_core.types import Frame

GREY = 140.0
"""Colour of a model that has none, 0 to 255."""

AMBIENT = 0.5
"""Share of the light on a render that comes from everywhere; the rest comes from the camera."""

COARSE_CROP = 64
"""Side of the crop [px] up to which the coarse surface shows all that can be seen."""


@njit(cache=True, fastmath=True)
def _relative(out, u, v, x, y, z, bound):  # noqa: ANN001, PLR0913
    """Write a place relative to the centre [radii] into out (3, S, S), each coordinate that is not too large."""
    if abs(x) < bound:
        out[0, v, u] = x
    if abs(y) < bound:
        out[1, v, u] = y
    if abs(z) < bound:
        out[2, v, u] = z


@njit(cache=True, parallel=True, nogil=True, fastmath=True)
def crops_kernel(vertices, faces, colors, center, diameter, poses, cam, rgb, depth, ratio, bound, out):  # noqa: ANN001, PLR0913, PLR0915
    """Fill out (N, 2, 6, S, S), cleared: render and picture of poses (N, 4, 4). rgb (H, W, 3) uint8, depth (H, W)."""
    h, w = depth.shape
    side = out.shape[3]
    radius = 0.5 * diameter
    for k in prange(poses.shape[0]):
        pose = poses[k]
        cx = pose[0, 0] * center[0] + pose[0, 1] * center[1] + pose[0, 2] * center[2] + pose[0, 3]
        cy = pose[1, 0] * center[0] + pose[1, 1] * center[1] + pose[1, 2] * center[2] + pose[1, 3]
        cz = pose[2, 0] * center[0] + pose[2, 1] * center[1] + pose[2, 2] * center[2] + pose[2, 3]
        cz = max(cz, 0.02)
        crop = crop_camera(pose, center, ratio / CROP_DIAMETERS * diameter, cam, side)
        x0, y0, step = crop[4], crop[5], crop[6]
        inv = np.zeros((side, side), np.float32)
        face = np.full((side, side), -1, np.int32)
        raster_one(vertices, faces, pose, crop[:4], inv, face, True)
        normal, color = np.zeros(3), np.full(3, GREY)
        # Colours are means over the pixels that a crop pixel covers (at most 4 x 4 of them): a camera blurs, too.
        taps = min(max(int(step + 0.5), 1), 4)
        for v in range(side):
            ry = (v - crop[3]) / crop[1]
            for u in range(side):
                rx = (u - crop[2]) / crop[0]
                if face[v, u] >= 0:
                    z = 1.0 / inv[v, u]
                    if shade_pixel(vertices, faces, colors, pose, crop, u, v, z, face[v, u], normal, color):
                        facing = abs(normal[0] * rx + normal[1] * ry + normal[2]) / np.sqrt(rx * rx + ry * ry + 1.0)
                        light = (AMBIENT + (1.0 - AMBIENT) * facing) / 255.0
                        for ch in range(3):
                            out[k, 0, ch, v, u] = light * color[ch]
                    _relative(out[k, 0, 3:], u, v, (rx * z - cx) / radius, (ry * z - cy) / radius, (z - cz) / radius,
                              bound)
                x, y = int(np.floor(x0 + step * u + 0.5)), int(np.floor(y0 + step * v + 0.5))
                if 0 <= x < w and 0 <= y < h:
                    z = depth[y, x]
                    if z > 1e-3:
                        _relative(out[k, 1, 3:], u, v, (rx * z - cx) / radius, (ry * z - cy) / radius,
                                  (z - cz) / radius, bound)
                    red = green = blue = 0.0
                    count = 0
                    for j in range(taps):
                        yy = int(np.floor(y0 + step * (v + (j + 0.5) / taps - 0.5) + 0.5))
                        if yy < 0 or yy >= h:
                            continue
                        for i in range(taps):
                            xx = int(np.floor(x0 + step * (u + (i + 0.5) / taps - 0.5) + 0.5))
                            if 0 <= xx < w:
                                red += rgb[yy, xx, 0]
                                green += rgb[yy, xx, 1]
                                blue += rgb[yy, xx, 2]
                                count += 1
                    if count > 0:
                        out[k, 1, 0, v, u] = red / (255.0 * count)
                        out[k, 1, 1, v, u] = green / (255.0 * count)
                        out[k, 1, 2, v, u] = blue / (255.0 * count)


def crop_pairs(frame: Frame, model: ObjectModel, cam_from_objs: NDArray[np.float64], side: int,
               scaling: Scaling) -> NDArray[np.float32]:
    """Pairs (N, 2, 6, side, side) of render (first) and picture for poses (N, 4, 4)."""
    return crops_of(frame.rgb, frame.depth, frame.camera.vector, model, cam_from_objs, side, scaling)


def crops_of(rgb: NDArray[np.uint8], depth: NDArray[np.float32], camera: NDArray[np.float64], model: ObjectModel,
             cam_from_objs: NDArray[np.float64], side: int, scaling: Scaling) -> NDArray[np.float32]:
    """`crop_pairs` of plain arrays: rgb (H, W, 3), depth (H, W) [m], camera = fx fy cx cy [px]."""
    surface = model.coarse if side <= COARSE_CROP else model
    colors = np.zeros((0, 3), np.uint8) if surface.colors is None else surface.colors
    poses = np.ascontiguousarray(cam_from_objs, np.float64).reshape(-1, 4, 4)
    out = np.zeros((len(poses), 2, INPUT_CHANNELS, side, side), np.float32)
    crops_kernel(surface.vertices, surface.faces, colors, model.center, model.diameter, poses, camera, rgb, depth,
                 scaling.crop_ratio, scaling.bound, out)
    return out
