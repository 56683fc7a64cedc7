"""What the learned verifier looks at: a small crop of the live frame beside the model rendered at a pose.

A crop is bytes, so that a training set is small, and so that training and tracking see exactly the same numbers.
"""

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.columns import FAST
from storm_core.evidence.compare import crop_camera
from storm_core.geometry.mesh import ObjectModel
from storm_core.kernels import njit
from storm_core.rendering.raster import raster_one, shade_pixel
from storm_core.types import Frame

SIDE = 48
"""Resolution of the crop [px]; it is 1.15 diameters wide."""

PLANES = 9
"""Of a crop: live RGB, rendered RGB, depth difference, measured depth around the centre, silhouette."""

GAP, AROUND = 0.25, 1.0
"""Depth differences that the two depth planes hold at most [diameters]."""

INPUTS = 10
"""Channels of the network: live RGB, rendered RGB, depth difference, depth around, silhouette, depth is known."""

AGREES = 0.1
"""Depth difference [diameters] up to which a pixel may belong to the object; colours are compared over such pixels."""

LEAST_SPREAD = 0.06
"""Standard deviation of colour (of 1) below which a surface is plain: its noise is not blown up."""

_FINEST = 4
"""A crop pixel averages at most so many by so many pixels of the frame."""

_NO_COLOR = np.zeros((0, 3), np.uint8)


@njit(cache=True, fastmath=FAST)
def _coded(difference, limit):  # noqa: ANN001
    """1 to 255 for differences of -limit to limit; 0 means unknown."""
    return np.uint8(128 + int(np.rint(127.0 * min(max(difference / limit, -1.0), 1.0))))


@njit(cache=True, nogil=True, fastmath=FAST)
def crop_kernel(vertices, faces, colors, center, diameter, pose, cam, depth_image, rgb, side, out):  # noqa: ANN001, PLR0913
    """Fill out (PLANES, side, side) uint8 for one pose (4, 4)."""
    h, w = depth_image.shape
    crop = crop_camera(pose, center, diameter, cam, side)
    inverse = np.zeros((side, side), np.float32)
    face = np.full((side, side), -1, np.int32)
    raster_one(vertices, faces, pose, crop[:4], inverse, face, True)
    middle = pose[2, 0] * center[0] + pose[2, 1] * center[1] + pose[2, 2] * center[2] + pose[2, 3]
    normal, color = np.zeros(3), np.zeros(3)
    taps = min(max(int(np.rint(crop[6])), 1), _FINEST)
    out[:] = 0
    for v in range(side):
        for u in range(side):
            fx, fy = crop[4] + crop[6] * u, crop[5] + crop[6] * v
            x, y = int(np.floor(fx + 0.5)), int(np.floor(fy + 0.5))
            inside = 0 <= x < w and 0 <= y < h
            zo = depth_image[y, x] if inside else np.float32(0)
            if inside:
                n, r, g, b = 0, 0.0, 0.0, 0.0
                for j in range(taps):
                    for i in range(taps):
                        xx = int(np.floor(fx + crop[6] * ((i + 0.5) / taps - 0.5) + 0.5))
                        yy = int(np.floor(fy + crop[6] * ((j + 0.5) / taps - 0.5) + 0.5))
                        if 0 <= xx < w and 0 <= yy < h:
                            n += 1
                            r += rgb[yy, xx, 0]
                            g += rgb[yy, xx, 1]
                            b += rgb[yy, xx, 2]
                if n > 0:
                    out[0, v, u], out[1, v, u], out[2, v, u] = np.uint8(r / n), np.uint8(g / n), np.uint8(b / n)
            if zo > 0:
                out[7, v, u] = _coded((zo - middle) / diameter, AROUND)
            if face[v, u] < 0:
                continue
            z = 1.0 / inverse[v, u]
            out[8, v, u] = 1
            if zo > 0:
                out[6, v, u] = _coded((zo - z) / diameter, GAP)
            if colors.shape[0] > 0:
                shade_pixel(vertices, faces, colors, pose, crop, u, v, z, face[v, u], normal, color)
                for k in range(3):
                    out[3 + k, v, u] = np.uint8(color[k])


def crop_of(frame: Frame, model: ObjectModel, cam_from_obj: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The crop (PLANES, SIDE, SIDE) of one pose (4, 4); see PLANES."""
    out = np.empty((PLANES, SIDE, SIDE), np.uint8)
    crop_kernel(model.vertices, model.faces, model.colors if model.colors is not None else _NO_COLOR, model.center,
                model.diameter, np.ascontiguousarray(cam_from_obj, np.float64), frame.camera.vector, frame.depth,
                frame.rgb, SIDE, out)
    return out


def inputs(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The network's input (..., INPUTS, SIDE, SIDE) of crops (..., PLANES, SIDE, SIDE).

    Colours of picture and render are each freed of their mean and spread over what may be the object: exposure, white
    balance and the light of the day under which the model was scanned are no evidence.
    """
    silhouette = crops[..., 8, :, :] > 0
    known = crops[..., 6, :, :] > 0
    gap = np.where(known, crops[..., 6, :, :].astype(np.float32) - 128, 0) / np.float32(127)
    around = crops[..., 7, :, :]
    here = silhouette & (np.abs(gap) <= AGREES / GAP)
    parts = [_normalised(crops[..., k:k + 3, :, :].astype(np.float32) / np.float32(255), here) for k in (0, 3)]
    parts[1] *= silhouette[..., None, :, :]
    rest = [gap * silhouette, np.where(around > 0, around.astype(np.float32) - 128, 0) / np.float32(127),
            silhouette.astype(np.float32), (around > 0).astype(np.float32)]
    return np.concatenate([*parts, np.stack(rest, -3)], -3, dtype=np.float32)


def _normalised(color: NDArray[np.float32], here: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Colours (..., 3, H, W) without their mean and spread over the pixels `here` (..., H, W)."""
    weight = here[..., None, :, :].astype(np.float32)
    count = np.maximum(weight.sum((-2, -1), keepdims=True), 1)
    away = color - (color * weight).sum((-2, -1), keepdims=True) / count
    spread = np.sqrt((away**2 * weight).sum((-3, -2, -1), keepdims=True) / (3 * count))
    return np.clip(away / np.maximum(spread, np.float32(LEAST_SPREAD)), -3, 3)
