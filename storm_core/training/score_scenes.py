"""Depth views of one procedural object each, cheap enough to make while training: what the score network learns from.

A view is a window of a depth camera around the object: the object in a random pose, a surface behind it, often
something before it, the errors of an active-stereo camera, and a mask that is wrong in the ways masks are wrong.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.simplify import simplify
from storm_core.geometry.surface import diameter
from storm_core.geometry.symmetry import symmetry_group
from storm_core.rendering.raster import NumbaRenderer
from storm_core.simulation.families import FAMILIES, draw
from storm_core.simulation.mask_noise import disturbed_mask
from storm_core.simulation.objects import object_model
from storm_core.simulation.procedural import declaration
from storm_core.simulation.sensor import DepthSensor

VERTICES, FACES = 450, 1200
"""Of a training object: coarse, because only its depth is looked at, in windows of about 80 px."""

SEEDS_PER_SPLIT = 10**7
"""As `simulation.object_pool`: the benchmarks' objects of a split draw from the same disjoint ranges."""

SPLITS = ("train", "val", "test")

LEAST_VISIBLE = 0.2
RENDERER = NumbaRenderer()


@dataclass(frozen=True, eq=False)
class View:
    """One object in one depth image.

    Attributes:
      depth: (H, W) measured [m]. mask: (H, W) what the network is told. true_mask: (H, W) the visible object.
      cam_from_obj: (4, 4). camera: of the window. model: the object.
    """

    depth: NDArray[np.float32]
    mask: NDArray[np.bool_]
    true_mask: NDArray[np.bool_]
    cam_from_obj: NDArray[np.float64]
    camera: PinholeCamera
    model: ObjectModel


@lru_cache(maxsize=4096)
def training_object(split: str, number: int) -> ObjectModel:
    """Object `number` of a split, with the symmetries of its shape; diameter 1 m, views scale it."""
    seed = SPLITS.index(split) * SEEDS_PER_SPLIT + 5 * SEEDS_PER_SPLIT // 10 + number
    rng = np.random.default_rng([seed, 7])
    kind = str(rng.choice(list(FAMILIES)))
    shape = draw(kind, [seed, 1], VERTICES)
    mesh = shape.mesh.copy()
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    middle = (low + high) / 2
    mesh.apply_translation(-np.array([0.0, 0.0, middle[2]]) if shape.turns != 1 else -middle)
    group = symmetry_group(declaration(shape.turns, shape.flip), 1e-3, step_deg=15.0)
    if len(mesh.faces) > FACES:
        mesh = trimesh.Trimesh(*simplify(np.asarray(mesh.vertices), np.asarray(mesh.faces), FACES), process=False)
    mesh.apply_scale(1 / diameter(np.asarray(mesh.vertices)))
    return object_model(f"{kind}_{seed}", mesh, None, centred=False, symmetries=group)


def scaled(model: ObjectModel, factor: float) -> ObjectModel:
    """The same shape in another size."""
    return ObjectModel(
        name=model.name, vertices=(model.vertices * np.float32(factor)), faces=model.faces, colors=None,
        diameter=model.diameter * factor, symmetries=model.symmetries, eval_vertices=model.eval_vertices * factor,
        sha256=f"{model.sha256}-{factor:.6f}")


def random_view(split: str, objects: int, rng: np.random.Generator, mask_noise: float = 1.0) -> View:
    """A view of one of the first `objects` objects of a split."""
    while True:
        view = _attempt(split, objects, rng, mask_noise)
        if view is not None:
            return view


def _attempt(split: str, objects: int, rng: np.random.Generator, mask_noise: float) -> View | None:
    size = 0.05 * 6 ** rng.uniform()
    model = scaled(training_object(split, int(rng.integers(objects))), size)
    z = float(np.clip(size * 3 * 5 ** rng.uniform(), 0.3, 2.0))
    # Full-resolution pixels, as many as a camera of 300 to 900 px focal length sees, within what is quick to render.
    side = int(np.clip(rng.uniform(300, 900) * 1.5 * size / z, 32, 120))
    focal = side * z / (1.5 * size)
    aside = rng.uniform(-0.4, 0.4, 2)
    camera = PinholeCamera(side, side, focal, focal, side / 2 - aside[0] * focal, side / 2 - aside[1] * focal)
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=rng).as_matrix()
    center = camera.back_project(np.array([side / 2, side / 2]) + rng.normal(0, 0.04 * side, 2), z)
    pose[:3, 3] = center - pose[:3, :3] @ model.center
    depth, face = RENDERER.depth(model, pose[None], camera)
    shown = face[0] >= 0
    true = np.where(shown, depth[0], np.inf).astype(np.float32)
    true = np.minimum(true, plane_behind(model, pose, center, camera, rng))
    if rng.random() < 0.5:
        true = np.minimum(true, _before(split, objects, center, size, camera, rng))
    if rng.random() < 0.25:
        true = np.minimum(true, sheet_before(center, size, camera, rng))
    visible = shown & (true == depth[0])
    if visible.sum() < max(LEAST_VISIBLE * shown.sum(), 40):
        return None
    sensor = DepthSensor(noise=rng.uniform(0.03, 0.2), edge_loss=rng.uniform(0.1, 0.6), bias=0.0,
                         speckle=rng.uniform(0.001, 0.02), near=0.1)
    measured = sensor.measure(np.where(np.isfinite(true), true, 0).astype(np.float32), camera, rng)
    return View(depth=measured, mask=disturbed_mask(visible, rng, mask_noise), true_mask=visible, cam_from_obj=pose,
                camera=camera, model=model)


def plane_behind(model: ObjectModel, pose: NDArray[np.float64], center: NDArray[np.float64], camera: PinholeCamera,
            rng: np.random.Generator) -> NDArray[np.float32]:
    """Depth of a plane that the object touches, or stands in front of."""
    ray = center / np.linalg.norm(center)
    normal = -ray + rng.normal(0, 0.6, 3)
    normal /= np.linalg.norm(normal)
    if normal @ ray > -0.25:
        normal = -ray
    vertices = model.vertices @ pose[:3, :3].T + pose[:3, 3]
    gap = 0.0 if rng.random() < 0.7 else rng.uniform(0, 2) * model.diameter
    offset = (vertices @ normal).min() - gap
    v, u = np.mgrid[:camera.height, :camera.width]
    rays = camera.back_project(np.stack([u, v], -1), np.ones(u.shape))
    slope = rays @ normal
    with np.errstate(divide="ignore"):
        depth = np.where(slope < -1e-3, offset / slope, np.inf)
    return np.where((depth > 0) & (depth < 4.0), depth, np.inf).astype(np.float32)


def sheet_before(center: NDArray[np.float64], size: float, camera: PinholeCamera, rng: np.random.Generator
           ) -> NDArray[np.float32]:
    """Depth of a sheet before part of the object: everything on one side of a straight edge."""
    v, u = np.mgrid[:camera.height, :camera.width]
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * (u - camera.width / 2) + np.sin(angle) * (v - camera.height / 2)
    z = center[2] - size * rng.uniform(0.6, 2.0)
    # A window is 1.5 diameters wide.
    covered = along > rng.uniform(-0.12, 0.3) * camera.width
    return np.where(covered & (z > 0.12), z, np.inf).astype(np.float32)


def _before(split: str, objects: int, center: NDArray[np.float64], size: float, camera: PinholeCamera,
            rng: np.random.Generator) -> NDArray[np.float32]:
    """Depth of another object nearer to the camera, or beside."""
    other = scaled(training_object(split, int(rng.integers(objects))), size * rng.uniform(0.3, 1.0))
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=rng).as_matrix()
    way = rng.normal(size=3)
    place = center * (1 - rng.uniform(0.2, 1.0) * size / center[2]) + way / np.linalg.norm(way) * np.array(
        [1, 1, 0]) * size * rng.uniform(0.2, 0.7)
    pose[:3, 3] = place - pose[:3, :3] @ other.center
    depth, face = RENDERER.depth(other, pose[None], camera)
    return np.where(face[0] >= 0, depth[0], np.inf).astype(np.float32)
