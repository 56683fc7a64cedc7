"""What is done to training pictures. Turns are camera rolls, exact for depth too; mirrors only where that is honest."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.training.som.settings import AugmentSettings
from storm_core.types import Frame

Picture = tuple[Frame, NDArray[np.bool_]]
"""A frame and the wanted object's mask in it."""


def augmented(frame: Frame, mask: NDArray[np.bool_], settings: AugmentSettings, rng: np.random.Generator, *,
              may_mirror: bool) -> Picture:
    """Rolled, mirrored if that is honest, with other colours, blur, a covered part, and now and then without depth."""
    if settings.mirror == "achiral" and may_mirror and rng.random() < 0.5:
        frame, mask = mirrored(frame, mask)
    if settings.turn > 0:
        frame, mask = rolled(frame, mask, rng.uniform(-settings.turn, settings.turn))
    rgb, depth = frame.rgb, np.array(frame.depth)
    if settings.color > 0:
        rgb = recolored(rgb, settings.color, rng)
    if rng.random() < settings.blur:
        rgb = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.3, 1.8))
    if rng.random() < settings.erase:
        rgb, depth, mask = _covered(rgb, depth, mask, rng)
    if rng.random() < settings.lose_depth:
        depth = np.zeros_like(depth)
    return replace(frame, rgb=rgb, depth=depth), mask


def mirrored(frame: Frame, mask: NDArray[np.bool_]) -> Picture:
    """Left and right exchanged: what a camera in front of a mirror sees. A left shoe becomes a right one."""
    camera = frame.camera
    flipped = replace(camera, cx=camera.width - 1 - camera.cx)
    return (replace(frame, rgb=np.ascontiguousarray(frame.rgb[:, ::-1]), camera=flipped,
                    depth=np.ascontiguousarray(frame.depth[:, ::-1])), np.ascontiguousarray(mask[:, ::-1]))


def rolled(frame: Frame, mask: NDArray[np.bool_], angle_deg: float) -> Picture:
    """The camera rolled about its optical axis. What it did not see before is grey and without depth."""
    camera = frame.camera
    size = (camera.width, camera.height)
    matrix = cv2.getRotationMatrix2D((camera.cx, camera.cy), angle_deg, 1.0)
    rgb = cv2.warpAffine(frame.rgb, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(128, 128, 128))
    depth = cv2.warpAffine(frame.depth, matrix, size, flags=cv2.INTER_NEAREST)
    turned = cv2.warpAffine(mask.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0
    return replace(frame, rgb=rgb, depth=depth), turned


def recolored(rgb: NDArray[np.uint8], strength: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Another exposure, white balance, saturation and contrast, and noise."""
    image = rgb.astype(np.float32) / 255 * np.float32(1 + rng.uniform(-strength, strength))
    image = image * (1 + rng.uniform(-0.4, 0.4, 3) * strength).astype(np.float32)
    grey = image.mean(-1, keepdims=True)
    image = grey + (image - grey) * np.float32(1 + rng.uniform(-strength, strength))
    image = (image - 0.5) * np.float32(1 + rng.uniform(-strength, strength)) + 0.5
    image += rng.normal(0, 0.05 * strength * rng.random(), image.shape).astype(np.float32)
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8)


def _covered(rgb: NDArray[np.uint8], depth: NDArray[np.float32], mask: NDArray[np.bool_],
             rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_]]:
    """A rectangle of 2 to 10 % of the picture, of one colour, in front of all; the covered part is not the object."""
    height, width = mask.shape
    area, aspect = rng.uniform(0.02, 0.10) * height * width, np.exp(rng.uniform(-1, 1))
    h, w = int(min(height, np.sqrt(area * aspect))), int(min(width, np.sqrt(area / aspect)))
    y, x = rng.integers(height - h + 1), rng.integers(width - w + 1)
    part = np.s_[y:y + h, x:x + w]
    near = depth[part][depth[part] > 0]
    rgb, mask = np.array(rgb), np.array(mask)
    rgb[part] = rng.integers(0, 256, 3)
    depth[part] = near.min() * rng.uniform(0.7, 0.95) if near.size else 0
    mask[part] = False
    return rgb, depth, mask
