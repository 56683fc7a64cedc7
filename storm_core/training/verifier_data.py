"""Training rows for the verifier: simulated scenes, searched for objects that are there and objects that are not."""

import dataclasses
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from storm_core.config import OnboardingConfig, RegistrationConfig, SomConfig
from storm_core.evidence.compare import compare, to_evidence
from storm_core.evidence.features import frame_features
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import so3_exp, transform
from storm_core.onboarding.onboard import onboard
from storm_core.registration.register import best_candidate
from storm_core.simulation import textures
from storm_core.simulation.objects import CATALOG, make_object, printed_box
from storm_core.simulation.scene import Body, Plane, Scene, SceneRenderer, look_at, stand
from storm_core.simulation.sensor import DepthSensor
from storm_core.som.detect import GeometricLocalizer
from storm_core.types import Evidence, Frame, Hint

OCCLUDED_SHARE = 0.5
"""Share of the scenes in which something near the camera hides a part of one object, and its shadow some depth."""

VARIANTS = 24
"""Textures per catalog entry; training and validation scenes draw from disjoint ones."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One judged pose.

    Attributes:
      found: the search's answer (else a made-up pose: the truth or a wrong candidate).
      error: ADD / diameter for coloured models, ADD-S / diameter for uncoloured ones; inf for absent objects.
    """

    scene: int
    found: bool
    error: float
    evidence: Evidence


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """Poses of one model in one frame, the search's answer first, and how wrong they are (see `Row.error`)."""

    frame: Frame
    model: ObjectModel
    cam_from_objs: NDArray[np.float64]
    errors: tuple[float, ...]


def rows_of_scene(seed: int, validation: bool) -> Iterator[Row]:
    """The evidence of every judged pose of one scene."""
    for judged in judged_of_scene(seed, validation):
        table = compare(frame_features(judged.frame), judged.model, judged.cam_from_objs, side=96)
        for k, (numbers, error) in enumerate(zip(table, judged.errors, strict=True)):
            yield Row(seed, k == 0, error, to_evidence(numbers))


def judged_of_scene(seed: int, validation: bool) -> Iterator[Judged]:
    """Build one scene, search it for two objects that are there and three that are not."""
    rng = np.random.default_rng([seed, int(validation)])
    frame, models, cam_from_objs, visible = _scene(seed, rng, validation)
    order = [i for i in np.argsort(visible)[::-1] if visible[i] > 1200][:4]
    # The object that something hides comes first in the scene, and is always asked for.
    asked = [i for i in order if i == 0] + [i for i in rng.permutation(order) if i != 0]
    queries = [(models[i], cam_from_objs[i]) for i in asked[:2]]
    queries += [(_object(rng, validation), None) for _ in range(3)]
    features = frame_features(frame)
    localizer = GeometricLocalizer({}, SomConfig(), OnboardingConfig())
    for exact, truth in queries:
        model = as_scanned(exact, rng)
        onboarded = onboard(model, OnboardingConfig(rotations=400, cache="/dev/null"))
        candidates = localizer.candidates(features, onboarded, Hint())
        hidden = localizer.hidden_candidates(features, onboarded, Hint())
        best = best_candidate(features, onboarded, np.concatenate([candidates, hidden]), RegistrationConfig())
        if best is None:
            continue
        poses = [best.cam_from_obj, *candidates[:4], *hidden[:2]]
        if truth is not None:
            poses += [truth, _nudged(truth, model.diameter, rng)]
        yield Judged(frame, model, np.array(poses), tuple(_error(model, pose, truth) for pose in poses))


def _object(rng: np.random.Generator, validation: bool) -> ObjectModel:
    names = list(CATALOG)
    variant = int(rng.integers(VARIANTS)) + (1000 if validation else 0)
    model = make_object(names[rng.integers(len(names))], variant)
    scale = rng.uniform(0.6, 1.5)
    return dataclasses.replace(
        model,
        vertices=(model.vertices * scale).astype(np.float32),
        diameter=model.diameter * scale,
        eval_vertices=model.eval_vertices * scale,
        sha256=f"{model.sha256}-{scale}",
    )


def as_scanned(model: ObjectModel, rng: np.random.Generator) -> ObjectModel:
    """The model as a user would have it: colours of another light and camera, blurred, or none at all."""
    if model.colors is None or rng.random() < 0.2:
        return dataclasses.replace(model, colors=None, sha256=f"{model.sha256}-plain")
    colors = (model.colors / 255.0) ** rng.uniform(0.6, 1.6) * rng.uniform(0.75, 1.3, 3)
    grey = colors.mean(-1, keepdims=True)
    colors = grey + (colors - grey) * rng.uniform(0.4, 1.3)
    if rng.random() < 0.6:
        near = cKDTree(model.vertices).query(model.vertices, k=int(rng.integers(4, 40)))[1]
        colors = colors[near].mean(1)
    return dataclasses.replace(
        model, colors=(np.clip(colors, 0, 1) * 255).astype(np.uint8), sha256=f"{model.sha256}-{rng.integers(1 << 30)}"
    )


def _scene(
    seed: int, rng: np.random.Generator, validation: bool
) -> tuple[Frame, list[ObjectModel], NDArray[np.float64], list[int]]:
    """A cluttered table: the frame, the models on it, their cam_from_objs (N, 4, 4) and visible px."""
    focal = rng.uniform(550, 1080)
    camera = PinholeCamera(640, 480, focal, focal, 319.5 + rng.uniform(-8, 8), 239.5 + rng.uniform(-8, 8))
    spread = rng.uniform(0.09, 0.17)
    models: list[ObjectModel] = []
    places: list[NDArray[np.float64]] = []
    for _ in range(rng.integers(4, 8)):
        model = _object(rng, validation)
        for _ in range(30):
            place = rng.normal(0, spread, 2)
            gaps = [
                np.linalg.norm(place - p) / (model.diameter + m.diameter) for p, m in zip(places, models, strict=True)
            ]
            if not gaps or min(gaps) > 0.45 * rng.uniform(0.55, 1):
                break
        models.append(model)
        places.append(place)
    bodies = []
    for model, place in zip(models, places, strict=True):
        upright = rng.random() < 0.6
        tilt = (0.0, 0.0) if upright else (np.pi / 2 * rng.integers(4), np.pi / 2 * rng.integers(2))
        bodies.append(
            Body(model=model, world_from_obj=stand(model, place[0], place[1], rng.uniform(0, 2 * np.pi), tilt))
        )
    table = (textures.wood, textures.cloth, textures.plaster, textures.carpet)[rng.integers(4)](512, 512, rng)
    wall = (textures.plaster, textures.wood)[rng.integers(2)](512, 512, rng)
    planes = (
        Plane(
            centre=(0, 0, 0),
            right=(1, 0, 0),
            down=(0, 1, 0),
            half=(rng.uniform(0.5, 0.9), rng.uniform(0.4, 0.8)),
            picture=table,
        ),
        Plane(centre=(0, 0.8, 0.3), right=(1, 0, 0), down=(0, 0, -1), half=(1.5, 1.2), picture=wall),
    )
    scene = Scene(
        bodies=tuple(bodies),
        planes=planes,
        power=rng.uniform(1, 2.2),
        ambient=rng.uniform(0.2, 0.5),
        lamp=(rng.uniform(-1, 1), rng.uniform(-1, 0.2), rng.uniform(0.8, 1.6)),
    )
    distance, elevation = rng.uniform(0.45, 1.1) * max(1, focal / 800), np.deg2rad(rng.uniform(22, 65))
    azimuth = np.deg2rad(rng.uniform(-150, -30))
    eye = distance * np.array(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    )
    world_from_cam = look_at(eye, np.array([*rng.normal(0, 0.03, 2), 0.03]), rng.normal(0, 0.15))
    if rng.random() < OCCLUDED_SHARE:
        bodies.append(_occluder(world_from_cam, bodies[0], rng))
        scene = dataclasses.replace(scene, bodies=tuple(bodies))
    view = SceneRenderer(scene, camera).view(world_from_cam, np.array([b.world_from_obj for b in bodies]))
    sensor = DepthSensor(
        baseline=rng.uniform(0.02, 0.08),
        noise=rng.uniform(0.05, 0.2),
        edge_loss=rng.uniform(0.2, 0.6),
        speckle=rng.uniform(0.001, 0.006),
    )
    frame = Frame(
        rgb=_photo(view.light, rng), depth=sensor.measure(view.depth, camera, rng), camera=camera, stamp_ns=seed
    )
    return frame, models, view.cam_from_bodies[: len(models)], [int((view.body == i).sum()) for i in range(len(models))]


def _occluder(world_from_cam: NDArray[np.float64], target: Body, rng: np.random.Generator) -> Body:
    """A printed sheet between camera and target that ends anywhere across it, from any side."""
    size = (rng.uniform(0.16, 0.3), rng.uniform(0.2, 0.4), 0.005)
    model = printed_box("sheet", size, rng, tuple(rng.uniform(0.3, 0.9, 3)), tuple(rng.uniform(0.1, 0.9, 3)), 0.005)
    center = target.world_from_obj[:3, :3] @ target.model.center + target.world_from_obj[:3, 3]
    nearness = rng.uniform(0.45, 0.85)
    angle = rng.choice([0.0, np.pi, rng.uniform(0, 2 * np.pi)])
    across = world_from_cam[:3, :3] @ [np.cos(angle), np.sin(angle), 0.0]
    edge = rng.uniform(-0.45, 0.35) * target.model.diameter * nearness
    pose = np.eye(4)
    pose[:3, :3] = world_from_cam[:3, :3] @ so3_exp([0, 0, angle]) @ so3_exp(rng.normal(0, 0.1, 3))
    pose[:3, 3] = world_from_cam[:3, 3] + nearness * (center - world_from_cam[:3, 3]) + (edge + size[0] / 2) * across
    return Body(model=model, world_from_obj=pose, gloss=0.05)


def _photo(light: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """An unknown camera: exposure, white balance, saturation, contrast, blur and noise drawn wide."""
    image = np.clip(light * rng.uniform(0.8, 1.3) * rng.uniform(0.88, 1.12, 3), 0, 1) ** (1 / 2.2)
    grey = image.mean(-1, keepdims=True)
    image = (grey + (image - grey) * rng.uniform(0.6, 1.7) - 0.5) * rng.uniform(0.8, 1.4) + 0.5
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.3)) + rng.normal(
        0, rng.uniform(0.005, 0.04), image.shape
    )
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


def _nudged(pose: NDArray[np.float64], diameter: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A pose a tracker would have: a few hundredths of a diameter off."""
    out = pose.copy()
    out[:3, 3] += rng.normal(0, 0.015, 3) * diameter
    out[:3, :3] = so3_exp(rng.normal(0, 0.03, 3)) @ out[:3, :3]
    return out


def _error(model: ObjectModel, pose: NDArray[np.float64], truth: NDArray[np.float64] | None) -> float:
    if truth is None:
        return float("inf")
    vertices = model.eval_vertices[:: max(1, len(model.eval_vertices) // 800)]
    a, b = transform(pose, vertices), transform(truth, vertices)
    distance = np.linalg.norm(a - b, axis=1).mean() if model.colors is not None else cKDTree(a).query(b)[0].mean()
    return float(distance / model.diameter)
