"""Masks that are wrong in the ways in which masks are wrong."""

import cv2
import numpy as np
from numpy.typing import NDArray


def disturbed_mask(mask: NDArray[np.bool_], rng: np.random.Generator, strength: float = 1.0) -> NDArray[np.bool_]:
    """A mask (H, W) as a segmenter would give it: grown or shrunk, shifted, with bites; in a quarter of the cases as
    it was. Sizes are shares of the mask's own size times `strength`.
    """
    if strength <= 0 or rng.random() < 0.25:
        return mask
    size = np.sqrt(mask.sum()) * strength
    out = mask.astype(np.uint8)
    radius = int(round(rng.uniform(0, 0.07) * size))
    if radius:
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
        out = cv2.dilate(out, disk) if rng.random() < 0.5 else cv2.erode(out, disk)
    if rng.random() < 0.5:
        dv, du = np.rint(rng.normal(0, 0.03, 2) * size).astype(int)
        out = np.roll(out, (dv, du), (0, 1))
    inside = np.argwhere(out)
    for _ in range(rng.integers(3) if len(inside) else 0):
        v, u = inside[rng.integers(len(inside))]
        bite = int(rng.uniform(0.05, 0.25) * size)
        cv2.circle(out, (int(u), int(v)), max(bite, 1), int(rng.random() < 0.25), -1)
    out = out.astype(bool)
    return out if (out & mask).sum() > 0.3 * mask.sum() else mask
