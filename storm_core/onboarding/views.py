"""Reference views: what an object looks like from all around, with mask, depth and pose, under several lamps."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.config import OnboardingConfig
from storm_core.errors import InputError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.viewpoints import cameras_on_sphere
from storm_core.onboarding.array_cache import cache_folder
from storm_core.onboarding.lights import LIGHTS, lit
from storm_core.rendering.raster import NumbaRenderer

VERSION = 1
"""Bump when the content of the cache changes meaning."""

BACKGROUND = 128
"""Grey around the object, all channels."""
BARE = (140, 143, 148)
"""RGB of a mesh without colours: bare metal."""
FIELD_OF_VIEW_DEG = 45.0
FILL = 0.92
"""Share of the picture's width that the object's bounding sphere takes."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ReferenceViews:
    """V square views of one object under L lamps.

    Attributes:
      object_name: as users write it. sha256: content hash of the model or of the pictures.
      diameter: of the object [m].
      rgb: (L, V, S, S, 3) uint8. lights: names of the L lamps.
      depth: (V, S, S) float32, z-depth [m], 0 beside the object. mask: (V, S, S) bool.
      cam_from_objs: (V, 4, 4). camera: of every view.
    """

    object_name: str
    sha256: str
    diameter: float
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    mask: NDArray[np.bool_]
    cam_from_objs: NDArray[np.float64]
    camera: PinholeCamera
    lights: tuple[str, ...]

    def __post_init__(self) -> None:
        lamps, views, height, width = self.rgb.shape[:4]
        if not (self.mask.shape == self.depth.shape == (views, height, width) and len(self.lights) == lamps
                and self.cam_from_objs.shape == (views, 4, 4)):
            raise InputError(f"reference views of {self.object_name} do not fit together: rgb {self.rgb.shape}, depth "
                             f"{self.depth.shape}, mask {self.mask.shape}, poses {self.cam_from_objs.shape}, "
                             f"{len(self.lights)} lamps")
        if not self.mask.any((1, 2)).all():
            raise InputError(f"a reference view of {self.object_name} shows nothing of the object; its mask is empty")

    def __len__(self) -> int:
        return self.rgb.shape[1]


def render_views(model: ObjectModel, n: int, size: int, lights: tuple[str, ...] = tuple(LIGHTS)) -> ReferenceViews:
    """Render n views of size x size px from a Fibonacci sphere, upright, the whole object in every one.

    Raises:
      InputError: an unknown lamp.
    """
    for light in lights:
        if light not in LIGHTS:
            raise InputError(f"unknown lamp {light!r}; known: {', '.join(LIGHTS)}")
    radius = float(np.linalg.norm(model.vertices - model.center.astype(np.float32), axis=1).max())
    half = np.radians(FIELD_OF_VIEW_DEG) / 2
    # A sphere of radius r fits a cone of half angle a at distance r / sin(a).
    distance = radius / np.sin(np.arctan(FILL * np.tan(half)))
    poses = cameras_on_sphere(n, model.center, distance)
    focal = size / 2 / np.tan(half)
    camera = PinholeCamera(size, size, focal, focal, (size - 1) / 2, (size - 1) / 2)
    renderer = NumbaRenderer()
    depth, face = renderer.depth(model, poses, camera)
    fine = camera.resized(2 * size, 2 * size)
    rgb = np.empty((len(lights), n, size, size, 3), np.uint8)
    for k in range(n):
        drawn = renderer.render(model, poses[k:k + 1], fine)
        shown = drawn.mask[0]
        color = drawn.color[0][shown] if drawn.color is not None else np.tile(np.uint8(BARE), (int(shown.sum()), 1))
        for i, light in enumerate(lights):
            picture = np.full((2 * size, 2 * size, 3), BACKGROUND, np.uint8)
            picture[shown] = lit(color, drawn.normal[0][shown], LIGHTS[light])
            rgb[i, k] = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    return ReferenceViews(object_name=model.name, sha256=model.sha256, diameter=model.diameter, rgb=rgb, depth=depth,
                          mask=face >= 0, cam_from_objs=poses, camera=camera, lights=tuple(lights))


def views_file(model: ObjectModel, config: OnboardingConfig) -> Path:
    """Where the cached views of a model are, or would be."""
    text = f"views{VERSION}|{model.sha256}|{len(model.faces)}|{config.views}|{config.view_size}|{LIGHTS}"
    return cache_folder(config) / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.views.npz"


def reference_views(model: ObjectModel, config: OnboardingConfig) -> ReferenceViews:
    """The views of a model; from the cache when it holds them. A cache that cannot be written is no error."""
    path = views_file(model, config)
    try:
        with np.load(path) as data:
            return ReferenceViews(
                object_name=model.name, sha256=model.sha256, diameter=model.diameter, rgb=data["rgb"],
                depth=data["depth"], mask=data["mask"], cam_from_objs=data["cam_from_objs"], lights=tuple(LIGHTS),
                camera=PinholeCamera(config.view_size, config.view_size, *data["camera"].tolist()))
    except (OSError, KeyError, ValueError, EOFError):
        pass
    views = render_views(model, config.views, config.view_size)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            np.savez_compressed(file, rgb=views.rgb, depth=views.depth, mask=views.mask,
                                cam_from_objs=views.cam_from_objs, camera=views.camera.vector)
        os.replace(file.name, path)
    except OSError:
        pass
    return views
