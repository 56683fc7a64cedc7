"""Pictures with the masks of the objects in them: cached renders of procedural objects laid over a rough background.

Cheap data for small networks: a picture costs milliseconds instead of a tenth of a second. Shapes, depths and
occlusions are right, light and shadows are not: what an object does to its surroundings cannot be learned here.
"""

from dataclasses import replace
from functools import cache, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.config import OnboardingConfig
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.chirality import achiral
from storm_core.geometry.mesh import ObjectModel
from storm_core.onboarding.views import ReferenceViews, reference_views, render_views
from storm_core.simulation.procedural import build, random_recipe
from storm_core.simulation.sensor import DepthSensor
from storm_core.training.som.source import Masks
from storm_core.training.som.synthetic import FIRST_SEED, PICTURES_PER_OBJECT, SMALLEST_SHARE, camera_of, drawn_cast
from storm_core.types import Frame

SPRITES, SPRITE_PX, VIEW_PX = 13, 128, 96
"""Renders of each object that pictures are made of, from other sides than its reference views, and the sides of both
[px]: small, because hundreds of objects stay in memory."""


class CompositeSource:
    """Up to 100,000 procedural objects, those of `SyntheticSource`, and pictures pasted together; see `Source`."""

    def __init__(self, objects: int, seed: int, width: int, onboarding: OnboardingConfig, *,
                 prefix: str = "synthetic") -> None:
        """prefix: of the keys. seed: below 2,000; another one means other objects. width: of the pictures [px]."""
        self._seeds = {f"{prefix}/{k}": FIRST_SEED + 100_000 * seed + k for k in range(objects)}
        self._seed, self._camera = seed, camera_of(width)
        self._onboarding = replace(onboarding, view_size=VIEW_PX)
        self.keys = tuple(self._seeds)
        self.present = [frozenset(drawn_cast(self.keys, seed, k)) for k in range(PICTURES_PER_OBJECT * objects)]
        # Whether an object is hidden is only known when the picture is made; see `picture`.
        self.shown = self.present

    def model(self, key: str) -> ObjectModel:
        return build(random_recipe(self._seeds[key], size=(0.05, 0.25))).model

    @lru_cache(maxsize=512)  # noqa: B019  the source lives as long as the process
    def views(self, key: str) -> ReferenceViews:
        return reference_views(self.model(key), self._onboarding)

    @lru_cache(maxsize=512)  # noqa: B019
    def sprites(self, key: str) -> ReferenceViews:
        """What is pasted; kept in memory only."""
        return render_views(self.model(key), SPRITES, SPRITE_PX)

    @cache  # noqa: B019
    def may_mirror(self, key: str) -> bool:
        return achiral(self.model(key))

    def picture(self, index: int) -> tuple[Frame, Masks]:
        """The picture; objects too hidden to be asked for have an empty mask."""
        rng = np.random.default_rng([self._seed, index, 3])
        cast = drawn_cast(self.keys, self._seed, index)
        rgb, depth = background(self._camera, rng)
        owner = np.full(depth.shape, -1)
        for number in rng.permutation(len(cast)):
            self._paste(cast[number], int(number), (rgb, depth, owner), rng)
        sensor = DepthSensor(noise=rng.uniform(0.05, 0.2), edge_loss=rng.uniform(0.2, 0.6))
        frame = Frame(rgb=rgb, depth=sensor.measure(depth, self._camera, rng), camera=self._camera, stamp_ns=index + 1)
        masks = {}
        for key in set(cast):
            mask = np.isin(owner, [k for k, name in enumerate(cast) if name == key])
            masks[key] = mask if mask.mean() >= SMALLEST_SHARE else np.zeros_like(mask)
        return frame, masks

    def _paste(self, key: str, number: int, layers: tuple[NDArray, NDArray, NDArray], rng: np.random.Generator) -> None:
        """Put one object, turned about the optical axis, on the background's surface; what is nearer stays in front."""
        rgb, depth, owner = layers
        sprites, camera = self.sprites(key), self._camera
        lamp, view = int(rng.integers(len(sprites.lights))), int(rng.integers(len(sprites)))
        u, v = rng.uniform(0.15, 0.85) * camera.width, rng.uniform(0.15, 0.85) * camera.height
        z = float(depth[int(v), int(u)]) - rng.uniform(0.1, 0.5) * sprites.diameter
        away = float(np.linalg.norm(sprites.cam_from_objs[view, :3, 3]))
        matrix = cv2.getRotationMatrix2D((sprites.camera.cx, sprites.camera.cy), rng.uniform(-180, 180),
                                         camera.fx * away / (sprites.camera.fx * max(z, 0.2)))
        matrix[:, 2] += (u - sprites.camera.cx, v - sprites.camera.cy)
        size = (camera.width, camera.height)
        mask = cv2.warpAffine(sprites.mask[view].astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0
        surface = cv2.warpAffine(sprites.depth[view], matrix, size, flags=cv2.INTER_NEAREST) - away + z
        front = mask & (surface < depth) & (surface > 0.1)
        color = cv2.warpAffine(sprites.rgb[lamp, view], matrix, size, flags=cv2.INTER_LINEAR)
        rgb[front], depth[front], owner[front] = color[front], surface[front], number


def background(camera: PinholeCamera, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A tilted, uneven plane (depth (H, W) [m]) under blotches of two colours (rgb (H, W, 3))."""
    size, shape = (camera.width, camera.height), (camera.height, camera.width)
    rows, columns = np.mgrid[:shape[0], :shape[1]].astype(np.float32)
    across, down = (columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy
    inverse = (1 + rng.uniform(-0.3, 0.3) * across + rng.uniform(-0.1, 0.9) * down) / rng.uniform(0.45, 1.2)
    bumps = cv2.resize(rng.normal(0, 1, (6, 8)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    depth = (1 / np.clip(inverse, 0.25, 4.0) + rng.uniform(0, 0.015) * bumps).astype(np.float32)
    cells = int(rng.integers(3, 40))
    blend = cv2.resize(rng.random((cells, cells)).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.3:
        blend = (blend > 0.5).astype(np.float32)
    ends = rng.uniform(20, 235, (2, 3)).astype(np.float32)
    rgb = ends[0] + (ends[1] - ends[0]) * (rng.uniform(0.1, 1) * blend)[..., None] + rng.normal(0, 4, (*shape, 3))
    return np.clip(rgb, 0, 255).astype(np.uint8), depth
