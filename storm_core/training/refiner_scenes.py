"""Colour and depth views of procedural objects in clutter, cheap enough to make while training: what the refiner and
the scorer learn from.

A view is a window of an RGB-D camera around one object: the object in a random pose, a surface behind it, other objects
beside and before it, a lamp, and the errors of one of four kinds of depth camera. At times the object gives no depth
at all, or only in parts, as glass, chrome and black rubber do: then its picture must say where it is.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import from_rotation_translation
from storm_core.rendering.raster import NumbaRenderer
from storm_core.simulation import depth_sensors, textures
from storm_core.simulation.procedural import build, random_recipe
from storm_core.simulation.scene import GAMMA
from storm_core.simulation.sensor import ColorSensor
from storm_core.training.score_scenes import SEEDS_PER_SPLIT, SPLITS, plane_behind, sheet_before

WINDOW = 2.0
"""Width of a view [diameters]: hypotheses that are off look beside the object, too."""

LEAST_VISIBLE = 0.25
SILENT = 0.08
"""Share of views whose object gives no depth at all; as many give depth in parts only."""

_RENDERER = NumbaRenderer()
_LINEAR = ((np.arange(256) / 255.0) ** GAMMA).astype(np.float32)
_GREY = np.uint8(140)


@dataclass(frozen=True, eq=False)
class RgbdView:
    """One object in one picture.

    Attributes:
      rgb: (H, W, 3) uint8. depth: (H, W) measured [m], 0 = missing. camera: of the window.
      cam_from_obj: (4, 4). model: the object, with its declared symmetries.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    camera: PinholeCamera
    cam_from_obj: NDArray[np.float64]
    model: ObjectModel


VERTICES = 950
"""Of a training object: coarse, because it is drawn in windows of about 100 px."""


@lru_cache(maxsize=4096)
def colored_object(split: str, number: int) -> ObjectModel:
    """Object `number` of a split, printed, banded, plain or bare, with its symmetries."""
    # The upper half of a split's seeds belongs to training; this part of it to the refiner.
    recipe = random_recipe(SPLITS.index(split) * SEEDS_PER_SPLIT + 7 * SEEDS_PER_SPLIT // 10 + number)
    return build(recipe, vertices=VERTICES).model


def random_rgbd_view(split: str, objects: int, rng: np.random.Generator) -> RgbdView:
    """A view of one of the first `objects` objects of a split."""
    while True:
        view = _attempt(split, objects, rng)
        if view is not None:
            return view


@dataclass(eq=False)
class _Canvas:
    """What the camera would see without any error.

    Attributes:
      depth: (H, W) [m], inf = nothing. light: (H, W, 3) linear. lamp: (3,) unit, towards it. ambient, power: of it.
    """

    camera: PinholeCamera
    depth: NDArray[np.float32]
    light: NDArray[np.float32]
    lamp: NDArray[np.float64]
    ambient: float
    power: float

    def draw(self, model: ObjectModel, cam_from_obj: NDArray[np.float64], gloss: float) -> NDArray[np.bool_]:
        """Draw an object in front of what is farther; returns its whole silhouette."""
        seen = _RENDERER.render(model, cam_from_obj[None], self.camera)
        face, depth = seen.face[0] >= 0, seen.depth[0]
        near = face & (depth < self.depth)
        normal = seen.normal[0][near].astype(float)
        albedo = _LINEAR[seen.color[0][near] if seen.color is not None else np.full((len(normal), 3), _GREY)]
        spark = gloss * np.maximum(normal @ _halfway(self.lamp), 0) ** 24
        bright = self.ambient + self.power * np.maximum(normal @ self.lamp, 0)
        self.light[near] = albedo * bright[:, None].astype(np.float32) + spark[:, None].astype(np.float32)
        self.depth[near] = depth[near]
        return face

    def cover(self, depth: NDArray[np.float32], albedo: NDArray[np.float32], bright: float) -> None:
        """Draw a surface of given depth (H, W) [m] and reflectance (H, W, 3) in front of what is farther."""
        near = depth < self.depth
        self.light[near] = albedo[near] * np.float32(bright)
        self.depth[near] = depth[near]


def _attempt(split: str, objects: int, rng: np.random.Generator) -> RgbdView | None:
    model = colored_object(split, int(rng.integers(objects)))
    size = model.diameter
    z = float(np.clip(size * 3 * 4 ** rng.uniform(), 0.3, 1.6))
    # As many pixels as a camera of 400 to 800 px focal length sees, within what is quick to draw.
    side = int(np.clip(rng.uniform(400, 800) * WINDOW * size / z, 40, 100))
    focal = side * z / (WINDOW * size)
    aside = rng.uniform(-0.4, 0.4, 2)
    camera = PinholeCamera(side, side, focal, focal, side / 2 - aside[0] * focal, side / 2 - aside[1] * focal)
    center = camera.back_project(np.array([side / 2, side / 2]), z)
    pose = _pose(model, center, rng)
    ray = center / np.linalg.norm(center)
    lamp = -ray + rng.normal(0, 0.7, 3)
    canvas = _Canvas(camera, np.full((side, side), np.inf, np.float32), np.zeros((side, side, 3), np.float32),
                     lamp / np.linalg.norm(lamp), rng.uniform(0.2, 0.7), rng.uniform(0.3, 0.9))
    whole = canvas.draw(model, pose, rng.choice([0.0, 0.1, 0.5], p=[0.5, 0.3, 0.2]))
    own = np.where(whole, canvas.depth, -1.0)
    if rng.random() < 0.9:
        canvas.cover(plane_behind(model, pose, center, camera, rng), _surface(side, rng),
                     canvas.ambient + canvas.power * rng.uniform(0.2, 1))
    for _ in range(rng.integers(0, 4)):
        other = colored_object(split, int(rng.integers(objects)))
        canvas.draw(other, _pose(other, _beside(center, size, other, rng), rng), rng.choice([0.0, 0.3]))
    if rng.random() < 0.2:
        canvas.cover(sheet_before(center, size, camera, rng), _surface(side, rng), rng.uniform(0.3, 1.2))
    visible = whole & (canvas.depth == own)
    if visible.sum() < max(LEAST_VISIBLE * whole.sum(), 60):
        return None
    depth = _sensor(rng).measure(np.where(np.isfinite(canvas.depth), canvas.depth, 0), camera, rng, canvas.light)
    _silence(depth, visible, rng)
    camera_eye = ColorSensor(gain=float(rng.uniform(0.7, 1.5)), blur=float(rng.uniform(0.3, 1.0)),
                             drift=float(rng.uniform(0, 0.2)), read=float(rng.uniform(0.002, 0.015)))
    return RgbdView(rgb=camera_eye.expose(canvas.light, float(rng.uniform(0, 10)), rng),
                    depth=depth.astype(np.float32), camera=camera, cam_from_obj=pose, model=model)


def _pose(model: ObjectModel, center: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A random rotation (4, 4) with the object's centre at a place [m]."""
    rotation = Rotation.random(random_state=rng).as_matrix()
    return from_rotation_translation(rotation, center - rotation @ model.center)


def _beside(center: NDArray[np.float64], size: float, other: ObjectModel, rng: np.random.Generator
            ) -> NDArray[np.float64]:
    """A place for another object, mostly beside the one at `center` (3,) [m], at times before or behind it."""
    apart = (size + other.diameter) / 2
    angle = rng.uniform(0, 2 * np.pi)
    across = apart * rng.uniform(0.45, 1.1)
    place = center + np.array([np.cos(angle) * across, np.sin(angle) * across, rng.normal(0, 0.5) * apart])
    place[2] = max(place[2], 0.15 + other.diameter / 2)
    return place


def _halfway(lamp: NDArray[np.float64]) -> NDArray[np.float64]:
    half = lamp + np.array([0.0, 0.0, -1.0])
    return half / max(float(np.linalg.norm(half)), 1e-6)


def _surface(side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Linear reflectance (side, side, 3): two colours, mixed by noise or in squares."""
    a, b = _LINEAR[rng.integers(20, 255, (2, 3))]
    kind = rng.integers(3)
    if kind == 0:
        share = np.clip(0.5 + 0.7 * textures.noise(side, side, (int(rng.integers(1, 8)),) * 2, rng, 3), 0, 1)
    elif kind == 1:
        v, u = np.indices((side, side)) // int(rng.integers(6, 40))
        share = ((u + v) % 2).astype(np.float32)
    else:
        share = np.full((side, side), 0.5, np.float32)
    return (share[..., None] * a + (1 - share[..., None]) * b).astype(np.float32)


def _sensor(rng: np.random.Generator) -> depth_sensors.DepthCamera:
    """One of the four kinds, with errors of a random size."""
    kind = rng.choice(4, p=[0.4, 0.2, 0.2, 0.2])
    if kind == 0:
        return depth_sensors.ActiveStereo(noise=rng.uniform(0.03, 0.2), edge_loss=rng.uniform(0.1, 0.6), bias=0.0,
                                          speckle=rng.uniform(0.001, 0.02), near=0.1)
    if kind == 1:
        return depth_sensors.StructuredLight(noise=rng.uniform(0.03, 0.12))
    if kind == 2:
        return depth_sensors.PassiveStereo(noise=rng.uniform(0.08, 0.2))
    return depth_sensors.TimeOfFlight()


def _silence(depth: NDArray[np.float32], visible: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """At times take the object's depth away, or some of it in patches."""
    chance = rng.random()
    if chance < SILENT:
        depth[visible] = 0
    elif chance < 2 * SILENT:
        h, w = depth.shape
        patches = cv2.resize(rng.random((6, 6), np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
        depth[visible & (patches < rng.uniform(0.2, 0.8))] = 0
