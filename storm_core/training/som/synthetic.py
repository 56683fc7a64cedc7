"""Pictures with the masks of the objects in them: rendered on the fly from procedural objects on a cluttered table."""

from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np

from storm_core.config import OnboardingConfig
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.chirality import achiral
from storm_core.geometry.mesh import ObjectModel
from storm_core.onboarding.views import ReferenceViews, reference_views
from storm_core.simulation.procedural import build, random_recipe
from storm_core.simulation.room import room
from storm_core.simulation.scene import GAMMA, Body, Scene, SceneRenderer, View, look_at, stand
from storm_core.simulation.sensor import DepthSensor
from storm_core.training.som.source import Masks
from storm_core.types import Frame

FIRST_SEED = 700_000_000
"""Seeds of training objects; above those of every benchmark split, which must stay disjoint from training."""
PICTURES_PER_OBJECT = 40
SMALLEST_SHARE = 0.0008
"""Visible share of the picture from which an object is asked for."""
_KEPT = 48
"""Pictures kept in memory; one is asked several times within a batch or two."""


def camera_of(width: int) -> PinholeCamera:
    """The camera of training pictures, `width` px wide, 4:3."""
    height, focal = round(width * 0.75), 0.95 * width
    return PinholeCamera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


def drawn_cast(keys: Sequence[str], seed: int, index: int) -> list[str]:
    """Objects of a picture, the first in focus; one may be there several times."""
    rng = np.random.default_rng([seed, index, 1])
    cast = [keys[index % len(keys)]]
    cast += [keys[k] for k in rng.integers(len(keys), size=rng.integers(3, 7))]
    if rng.random() < 0.2:
        cast += cast[:1] * int(rng.integers(1, 3))
    return cast


class SyntheticSource:
    """Up to 100,000 procedural objects and pictures of them, all decided by the seed; see `Source`."""

    def __init__(self, objects: int, seed: int, width: int, onboarding: OnboardingConfig, *,
                 prefix: str = "synthetic") -> None:
        """prefix: of the keys. seed: below 2,000; another one means other objects."""
        self._seeds = {f"{prefix}/{k}": FIRST_SEED + 100_000 * seed + k for k in range(objects)}
        self._seed, self._onboarding = seed, onboarding
        self._camera = camera_of(width)
        self.keys = tuple(self._seeds)
        self.present = [frozenset(drawn_cast(self.keys, seed, k)) for k in range(PICTURES_PER_OBJECT * objects)]
        # Whether an object is hidden is only known when the picture is rendered; see `picture`.
        self.shown = self.present

    @cache  # noqa: B019  the source lives as long as the process
    def model(self, key: str) -> ObjectModel:
        return build(random_recipe(self._seeds[key], size=(0.05, 0.25))).model

    @lru_cache(maxsize=256)  # noqa: B019
    def views(self, key: str) -> ReferenceViews:
        return reference_views(self.model(key), self._onboarding)

    @cache  # noqa: B019
    def may_mirror(self, key: str) -> bool:
        return achiral(self.model(key))

    @lru_cache(maxsize=_KEPT)  # noqa: B019
    def picture(self, index: int) -> tuple[Frame, Masks]:
        """The picture; objects too hidden to be asked for have an empty mask."""
        rng = np.random.default_rng([self._seed, index, 2])
        cast = drawn_cast(self.keys, self._seed, index)
        bodies = self._placed([self.model(key) for key in cast], rng)
        scene = Scene(bodies=bodies, planes=room(rng), power=rng.uniform(1, 2.2), ambient=rng.uniform(0.2, 0.5),
                      lamp=(rng.uniform(-1, 1), rng.uniform(-1, 0.2), rng.uniform(0.8, 1.6)))
        distance, elevation = rng.uniform(0.45, 1.2), np.radians(rng.uniform(22, 70))
        azimuth = np.radians(rng.uniform(-150, -30))
        eye = distance * np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
                                   np.sin(elevation)])
        view = SceneRenderer(scene, self._camera).view(
            look_at(eye, np.array([*rng.normal(0, 0.04, 2), 0.03]), rng.normal(0, 0.2)),
            np.array([b.world_from_obj for b in bodies]), oversample=1)
        sensor = DepthSensor(noise=rng.uniform(0.05, 0.2), edge_loss=rng.uniform(0.2, 0.6))
        depth = sensor.measure(view.depth, self._camera, rng)
        rgb = np.clip(view.light * rng.uniform(0.8, 1.3), 0, 1) ** (1 / GAMMA)
        frame = Frame(rgb=np.round(255 * rgb).astype(np.uint8), depth=depth, camera=self._camera, stamp_ns=index + 1)
        return frame, self._masks(cast, view)

    def _placed(self, models: list[ObjectModel], rng: np.random.Generator) -> tuple[Body, ...]:
        spread, places, bodies = rng.uniform(0.09, 0.18), [], []
        for model in models:
            place = np.zeros(2)
            for _ in range(30):
                place = rng.normal(0, spread, 2)
                gaps = [np.linalg.norm(place - p) / (model.diameter + d) for p, d in places]
                if not gaps or min(gaps) > 0.4 * rng.uniform(0.55, 1):
                    break
            places.append((place, model.diameter))
            upright = rng.random() < 0.6
            tilt = (0.0, 0.0) if upright else (np.pi / 2 * rng.integers(4), np.pi / 2 * rng.integers(2))
            bodies.append(Body(model=model, gloss=rng.uniform(0.01, 0.15),
                               world_from_obj=stand(model, *place, rng.uniform(0, 2 * np.pi), tilt)))
        return tuple(bodies)

    def _masks(self, cast: list[str], view: View) -> Masks:
        out = {}
        for key in set(cast):
            mask = np.isin(view.body, [k for k, name in enumerate(cast) if name == key])
            out[key] = mask if mask.mean() >= SMALLEST_SHARE else np.zeros_like(mask)
        return out
