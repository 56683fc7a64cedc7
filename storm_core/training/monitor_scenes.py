"""Labelled poses for the learned verifier: rendered tables of procedural objects, right and wrong poses.

A scene is decided by (split, seed, number) alone. Splits draw objects from disjoint seeds, which no benchmark uses.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from storm_core.evaluation.failures.labels import pose_errors
from storm_core.evaluation.failures.pictures import NEARER, covering_box
from storm_core.evaluation.failures.poses import about_center
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import so3_exp
from storm_core.monitor.crop import GAP, PLANES, SIDE, crop_of
from storm_core.simulation.depth_sensors import DEPTH_CAMERAS, depth_camera
from storm_core.simulation.faults import blur, lose_depth, occlude
from storm_core.simulation.lighting import Lighting, lighting
from storm_core.simulation.procedural import build, other_print, random_recipe
from storm_core.simulation.room import room
from storm_core.simulation.scene import Body, Scene, SceneRenderer, look_at
from storm_core.simulation.table_layout import arrange
from storm_core.training.verifier_data import as_scanned
from storm_core.types import Frame

Array = NDArray[np.float64]

FIRST_SEED = {"train": 740_000_000, "val": 760_000_000}
"""Of the objects of a split; a scene takes at most OBJECTS[1] * 2 seeds."""

OBJECTS = (4, 7)
VIEWS = 12
"""Pictures of one scene, from different sides and under different light."""

LEAST_VISIBLE = 0.3
RIGHT, WRONG = 0.08, 0.13
"""Errors [diameters] up to which a pose is labelled right, and from which wrong; between them there is no lesson."""

LIGHTS = ("normal", "normal", "normal", "dim", "over", "hard_shadow")


class Kind(IntEnum):
    """How a pose came about."""

    RIGHT = 0
    SHIFT = 1
    TURN = 2
    TWIN = 3
    FLIP = 4
    LOOK_ALIKE = 5
    NEIGHBOUR = 6


@dataclass(frozen=True, eq=False, kw_only=True)
class Records:
    """Judged poses; arrays of R rows.

    Attributes:
      crops: (R, PLANES, SIDE, SIDE) uint8. error: MSSD / diameter; inf: another object stands there. kind: see Kind.
      visible: share of the silhouette. scene: number of the scene.
    """

    crops: NDArray[np.uint8]
    error: NDArray[np.float32]
    kind: NDArray[np.uint8]
    visible: NDArray[np.float32]
    scene: NDArray[np.int32]

    @property
    def right(self) -> NDArray[np.bool_]:
        return self.error <= RIGHT


def records_of_scene(split: str, seed: int, number: int) -> Records:
    """All labelled poses of one scene."""
    rng = np.random.default_rng([seed, number, sorted(FIRST_SEED).index(split)])
    first = FIRST_SEED[split] + 2 * OBJECTS[1] * (number + 100_000 * seed)
    recipes = [random_recipe(first + 2 * k, size=(0.05, 0.22)) for k in range(rng.integers(*OBJECTS) + 1)]
    models = [build(recipe).model for recipe in recipes]
    poses = arrange(models, rng, spread=0.015)
    kept = [k for k, pose in enumerate(poses) if pose is not None]
    bodies = tuple(Body(model=models[k], world_from_obj=poses[k], gloss=rng.uniform(0.01, 0.15)) for k in kept)
    others = [build(other_print(recipes[k], first + 2 * k + 1)).model if models[k].colors is not None else None
              for k in kept]
    judged = [_judged(body.model, other, rng) for body, other in zip(bodies, others, strict=True)]
    light = lighting(str(rng.choice(LIGHTS)), rng)
    camera = PinholeCamera(320, 240, focal := rng.uniform(290, 520), focal, 159.5, 119.5)
    scene = Scene(bodies=bodies, planes=room(rng), lamp=light.lamp, power=light.power, ambient=light.ambient,
                  softness=light.softness)
    renderer = SceneRenderer(scene, camera)
    rows = [row for _ in range(VIEWS) for row in _view(renderer, scene, judged, light, rng)]
    crops, error, kind, visible = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Records(crops=np.array(crops, np.uint8).reshape(-1, PLANES, SIDE, SIDE), error=np.array(error, np.float32),
                   kind=np.array(kind, np.uint8), visible=np.array(visible, np.float32),
                   scene=np.full(len(rows), number, np.int32))


@dataclass(frozen=True, eq=False)
class _Judged:
    """What is asked about one body: its model as somebody scanned it, and the same shape with another print."""

    model: ObjectModel
    look_alike: ObjectModel | None


def _judged(model: ObjectModel, look_alike: ObjectModel | None, rng: np.random.Generator) -> _Judged:
    few = model.eval_vertices[:: max(1, len(model.eval_vertices) // 500)]
    scanned = replace(as_scanned(model, rng), eval_vertices=few)
    if look_alike is None or scanned.colors is None:
        return _Judged(scanned, None)
    # The other print goes through a scanner, too, so that its colours alone do not give it away.
    other = replace(as_scanned(look_alike, rng), symmetries=model.symmetries)
    return _Judged(scanned, None if other.colors is None else other)


Row = tuple[NDArray[np.uint8], float, Kind, float]


def _view(renderer: SceneRenderer, scene: Scene, judged: list[_Judged], light: Lighting, rng: np.random.Generator
          ) -> Iterator[Row]:
    """The rows of one picture of the scene."""
    camera = renderer.camera
    aim = scene.bodies[rng.integers(len(scene.bodies))]
    distance = aim.model.diameter * camera.fx / rng.uniform(50, 170)
    distance = float(np.clip(distance, 0.3, 1.5))
    elevation, azimuth = np.radians(rng.uniform(20, 80)), np.radians(rng.uniform(-170, -10))
    target = aim.world_from_obj[:3, 3]
    eye = target + distance * np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
                                        np.sin(elevation)])
    lamp = np.array(light.lamp) + rng.normal(0, 0.25, 3) * [1, 1, 0.2]
    view = renderer.view(look_at(eye, target + rng.normal(0, 0.02, 3), rng.normal(0, 0.4)),
                         np.array([b.world_from_obj for b in scene.bodies]), oversample=1, lamp=lamp)
    sensor = depth_camera(str(rng.choice(list(DEPTH_CAMERAS))))
    exposed = light.sensor.expose(view.light * np.float32(light.tint), rng.uniform(0, 6), rng)
    frame = Frame(rgb=exposed, depth=sensor.measure(view.depth, camera, rng, view.light), camera=camera, stamp_ns=1)
    frame, hidden = _disturbed(frame, view.body, view.depth, rng)
    centers = [pose[:3, :3] @ body.model.center + pose[:3, 3]
               for pose, body in zip(view.cam_from_bodies, scene.bodies, strict=True)]
    for k, asked in enumerate(judged):
        truth = view.cam_from_bodies[k]
        whole = int(renderer.silhouette(k, truth, margin=60).sum())
        visible = float(((view.body == k) & ~hidden).sum()) / max(whole, 1)
        if visible < LEAST_VISIBLE or whole < 300:
            continue
        neighbours = [c for j, c in enumerate(centers) if j != k]
        yield from _rows(frame, asked, truth, neighbours, visible, rng)


def _disturbed(frame: Frame, body: NDArray[np.int16], true_depth: NDArray[np.float32], rng: np.random.Generator
               ) -> tuple[Frame, NDArray[np.bool_]]:
    """The frame with what happens to cameras, each sometimes; and the pixels that something was put before."""
    hidden, fate = np.zeros(body.shape, bool), rng.random()
    if fate < 0.35:
        v, u = np.nonzero(body == rng.choice(np.unique(body[body >= 0]))) if (body >= 0).any() else ((), ())
        if len(v) > 50:
            x0, y0, x1, y1 = covering_box(u, v, rng.uniform(0.1, 0.65), int(rng.integers(4)), frame.camera.width,
                                          frame.camera.height)
            color = tuple(int(c) for c in rng.integers(20, 230, 3))
            frame = next(occlude([frame], range(1), box=(x0, y0, x1, y1), color=color,
                                 distance=NEARER * float(true_depth[v, u].min())))
            hidden[y0:y1, x0:x1] = True
    elif fate < 0.47:
        frame = next(lose_depth([frame], range(1), share=rng.uniform(0.3, 1.0), seed=int(rng.integers(2**31))))
    elif fate < 0.6:
        frame = next(blur([frame], range(1), length=int(rng.integers(3, 11)), angle=rng.uniform(0, np.pi)))
    return frame, hidden


def _rows(frame: Frame, asked: _Judged, truth: Array, neighbours: list[Array], visible: float,
          rng: np.random.Generator) -> Iterator[Row]:
    """Right poses of one object in one picture, and wrong ones that look wrong."""
    model = asked.model
    reference = crop_of(frame, model, truth)
    asks = [(Kind.RIGHT, _moved(model, truth, 0.008 * scale * rng.standard_normal(3),
                                0.015 * scale * rng.standard_normal(3))) for scale in (0.5, 1.0, 1.7)]
    asks += [(kind, _moved(model, pose, 0.006 * rng.standard_normal(3), 0.012 * rng.standard_normal(3)))
             for kind, pose in _wrong(model, truth, neighbours, rng) if pose[2, 3] > 0.1]
    poses = np.array([pose for _, pose in asks])
    errors = pose_errors(model, poses, np.repeat(truth[None], len(poses), 0))
    for (kind, pose), error in zip(asks, errors.tolist(), strict=True):
        crop = crop_of(frame, model, pose)
        if kind is Kind.RIGHT and error <= RIGHT or error >= WRONG and (kind is Kind.SHIFT
                                                                       or looks_wrong(crop, reference)):
            yield crop, error, kind, visible
    if asked.look_alike is not None:
        crop = crop_of(frame, asked.look_alike, asks[1][1])
        if looks_wrong(crop, reference):
            yield crop, float("inf"), Kind.LOOK_ALIKE, visible


def _wrong(model: ObjectModel, truth: Array, neighbours: list[Array], rng: np.random.Generator
           ) -> Iterator[tuple[Kind, Array]]:
    """Poses that trackers end in; procedural objects that are turned about an axis are turned about z."""
    yield Kind.SHIFT, _moved(model, truth, _direction(rng) * rng.uniform(0.13, 0.4), 0.05 * rng.standard_normal(3))
    if rng.random() < 0.4:
        yield Kind.SHIFT, _moved(model, truth, _direction(rng) * rng.uniform(0.4, 1.0), 0.3 * rng.standard_normal(3))
    yield Kind.TURN, _moved(model, truth, np.zeros(3), _direction(rng) * rng.uniform(0.2, 1.2))
    steps = np.pi / 12 * rng.integers(1, 24, 3)
    for step in steps[:2]:
        yield Kind.TWIN, truth @ about_center(model, so3_exp([0.0, 0.0, step]))
    across = np.array([np.cos(steps[2]), np.sin(steps[2]), 0.0])
    yield Kind.FLIP, truth @ about_center(model, so3_exp(np.pi * across))
    if rng.random() < 0.5:
        yield Kind.FLIP, truth @ about_center(model, so3_exp(np.pi * np.eye(3)[rng.integers(2)]))
    if neighbours and rng.random() < 0.4:
        turned = so3_exp(_direction(rng) * rng.uniform(0, np.pi)) @ truth[:3, :3]
        pose = np.eye(4)
        pose[:3, :3] = turned
        pose[:3, 3] = neighbours[rng.integers(len(neighbours))] - turned @ model.center
        yield Kind.NEIGHBOUR, pose


def looks_wrong(crop: NDArray[np.uint8], reference: NDArray[np.uint8]) -> bool:
    """Whether a render differs from the one of the true pose: what nobody can see cannot be learned.

    Both are crops (PLANES, SIDE, SIDE) of one picture; thresholds as for the benchmark's twins.
    """
    common, joint = (crop[8] & reference[8]) > 0, (crop[8] | reference[8]) > 0
    if common.sum() < 0.9 * joint.sum():
        return True
    if common.any() and np.abs(crop[3:6].astype(float) - reference[3:6])[:, common].mean() > 20.0:
        return True
    known = common & (crop[6] > 0) & (reference[6] > 0)
    return bool(known.sum() > 20 and np.abs(crop[6].astype(float) - reference[6])[known].mean() * GAP / 127 > 0.03)


def _moved(model: ObjectModel, pose: Array, shift: Array, turn: Array) -> Array:
    """The pose with its centre shifted [diameters, camera axes] and turned about it [rad, camera axes]."""
    out = pose.copy()
    center = pose[:3, :3] @ model.center + pose[:3, 3] + shift * model.diameter
    out[:3, :3] = so3_exp(turn) @ pose[:3, :3]
    out[:3, 3] = center - out[:3, :3] @ model.center
    return out


def _direction(rng: np.random.Generator) -> Array:
    v = rng.standard_normal(3)
    return v / np.linalg.norm(v)
