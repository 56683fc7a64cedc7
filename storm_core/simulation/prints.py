"""What is printed on procedural objects, and how a picture gets onto a surface: six sides, wrapped, bands or solid."""

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray

from storm_core.simulation.shapes import mottle
from storm_core.simulation.textures import Picture, label, noise, sample

Color = tuple[float, float, float]
"""RGB in [0, 1], display-referred."""


@dataclass(frozen=True)
class Palette:
    """The inks of one object: ground, main accent and a second accent that stands out from both."""

    paper: Color
    accent: Color
    second: Color


def inks_of(seed: int) -> tuple[Palette, Color]:
    """The inks of a print, and the colour of an unprinted object, that a print seed stands for."""
    rng = np.random.default_rng([seed, 3])
    return _palette(rng), _plain_color(rng)


def _palette(rng: np.random.Generator) -> Palette:
    """Paper pale or strong, accents far away in hue or lightness."""
    hue = rng.uniform()
    pale = rng.random() < 0.55
    paper = colorsys.hsv_to_rgb(hue, rng.uniform(0.05, 0.3) if pale else rng.uniform(0.5, 0.85),
                                rng.uniform(0.8, 0.95) if pale else rng.uniform(0.3, 0.7))
    accent = colorsys.hsv_to_rgb(hue + rng.uniform(0.3, 0.7), rng.uniform(0.6, 0.95), rng.uniform(0.25, 0.75))
    second = colorsys.hsv_to_rgb(hue + rng.uniform(0.1, 0.3), rng.uniform(0.5, 0.9), 0.95 if not pale else 0.35)
    return Palette(paper, accent, second)


def _plain_color(rng: np.random.Generator) -> Color:
    """The colour of an unprinted part: often grey, black or white, else a plastic's."""
    if rng.random() < 0.45:
        value = float(rng.choice([0.2, 0.45, 0.62, 0.85]))
        return value, value, 0.98 * value
    return colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.35, 0.85), rng.uniform(0.35, 0.85))


# Pictures.

def stripes(height: int, width: int, rng: np.random.Generator, inks: Palette) -> Picture:
    """Slanted stripes of irregular width, in an irregular order of three inks."""
    y, x = np.indices((height, width), np.float32) / max(height, width)
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    borders = np.sort(rng.uniform(along.min(), along.max(), 16))
    order = np.array([inks.paper, inks.accent, inks.second], np.float32)[rng.integers(0, 3, 17)]
    return order[np.searchsorted(borders, along)]


def marks(height: int, width: int, rng: np.random.Generator, inks: Palette) -> Picture:
    """Rows of made-up characters of three sizes, like the small print on a package."""
    out = np.empty((height, width, 3), np.float32)
    out[:] = inks.paper
    y = int(0.05 * height)
    while y < 0.92 * height:
        size = int(max(5, min(height, width) * rng.choice([0.05, 0.08, 0.16])))
        x = int(0.06 * width)
        end = rng.uniform(0.5, 0.95) * width
        ink = inks.accent if rng.random() < 0.7 else inks.second
        while x + size < end and y + size < height:
            strokes = rng.integers(0, 3, (3, 2, 2)) * size // 3 + np.array([x, y])
            for start, stop in strokes:
                cv2.line(out, start.tolist(), stop.tolist(), ink, max(1, size // 6), cv2.LINE_AA)
            x += int(size * (1.9 if rng.random() < 0.2 else 1.05))
        y += int(1.5 * size)
    return out


def dots(height: int, width: int, rng: np.random.Generator, inks: Palette) -> Picture:
    """Discs of many sizes at random places."""
    out = np.empty((height, width, 3), np.float32)
    out[:] = inks.paper
    for _ in range(22):
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        radius = int(rng.uniform(0.02, 0.14) * min(height, width)) + 1
        cv2.circle(out, centre, radius, inks.accent if rng.random() < 0.6 else inks.second, -1, cv2.LINE_AA)
    return out


def clouds(height: int, width: int, rng: np.random.Generator, inks: Palette) -> Picture:
    """Soft patches of three inks."""
    share = np.clip(0.5 + 1.2 * noise(height, width, (3, 3), rng, 4), 0, 1)[..., None]
    spots = np.clip(2.5 * noise(height, width, (5, 5), rng, 3) - 0.8, 0, 1)[..., None]
    base = (1 - share) * np.float32(inks.paper) + share * np.float32(inks.accent)
    return ((1 - spots) * base + spots * np.float32(inks.second)).astype(np.float32)


def _label(height: int, width: int, rng: np.random.Generator, inks: Palette) -> Picture:
    return label(height, width, rng, inks.paper, inks.accent)


PICTURES: dict[str, Callable[[int, int, np.random.Generator, Palette], Picture]] = {
    "label": _label, "stripes": stripes, "marks": marks, "dots": dots, "clouds": clouds}


def picture(style: str, across: float, up: float, rng: np.random.Generator, inks: Palette) -> Picture:
    """One picture for a field of across x up; units do not matter, the longer side gets 220 px."""
    scale = 220.0 / max(across, up)
    return PICTURES[style](max(int(up * scale), 24), max(int(across * scale), 24), rng, inks)


# Onto a surface: vertex colours (V, 3) float32.

def six_sided(mesh: trimesh.Trimesh, pictures: Sequence[Picture]) -> NDArray[np.float32]:
    """Each vertex takes the picture of the side of its box that it faces most; pictures read from outside.

    Args:
      pictures: of the sides -x, +x, -y, +y, -z, +z.
    """
    v = np.asarray(mesh.vertices)
    low, size = v.min(0), np.ptp(v, axis=0)
    # Rounded, so that ties at edges are broken the same way on opposite sides.
    facing = np.round(np.asarray(mesh.vertex_normals), 3)
    axis = np.abs(facing).argmax(1)
    positive = np.take_along_axis(facing, axis[:, None], 1)[:, 0] > 0
    unit = (v - low) / size
    colors = np.zeros((len(v), 3), np.float32)
    for k in range(3):
        across, up = ((1, 2), (0, 2), (0, 1))[k]
        for side in (0, 1):
            on = (axis == k) & (positive == bool(side))
            # From outside, x runs left on the +y side, y runs left on the -x side, and from below x does.
            mirrored = (k, side) in ((1, 1), (0, 0), (2, 0))
            u = 1 - unit[on, across] if mirrored else unit[on, across]
            colors[on] = sample(pictures[2 * k + side], u, 1 - unit[on, up])
    return colors


def wrapped(mesh: trimesh.Trimesh, wrap: Picture, rest: Color, *, margin: float) -> NDArray[np.float32]:
    """A picture once around the outer wall of a turned body, `margin` (share of the height) clear of both ends.

    `rest` is the colour of everything else.
    """
    v, normals = np.asarray(mesh.vertices), np.asarray(mesh.vertex_normals)
    radius = np.hypot(v[:, 0], v[:, 1])
    outward = (v[:, 0] * normals[:, 0] + v[:, 1] * normals[:, 1]) / np.maximum(radius, 1e-9)
    height = (v[:, 2] - v[:, 2].min()) / np.ptp(v[:, 2])
    on = (outward > 0.8) & (height > margin) & (height < 1 - margin)
    colors = np.empty((len(v), 3), np.float32)
    colors[:] = rest
    if not on.any():
        return colors
    around = np.arctan2(v[on, 1], v[on, 0]) / (2 * np.pi) + 0.5
    colors[on] = sample(wrap, around, 1 - (height[on] - margin) / (1 - 2 * margin))
    return colors


def banded(mesh: trimesh.Trimesh, rng: np.random.Generator, inks: Palette) -> NDArray[np.float32]:
    """Rings of colour that depend on height only, different at the two ends."""
    z = np.asarray(mesh.vertices)[:, 2]
    height = (z - z.min()) / np.ptp(z)
    borders = np.sort(rng.uniform(0.12, 0.88, 4))
    order = np.array([inks.paper, inks.accent, inks.paper, inks.second, inks.accent], np.float32)
    return order[np.searchsorted(borders, np.round(height, 4))]


def mottled(mesh: trimesh.Trimesh, rng: np.random.Generator, inks: Palette) -> NDArray[np.float32]:
    """Solid noise between the inks, as stone or wood has."""
    share = np.clip(0.5 + 0.8 * mottle(np.asarray(mesh.vertices), rng), 0, 1)[:, None]
    return ((1 - share) * np.float32(inks.paper) + share * np.float32(inks.accent)).astype(np.float32)
