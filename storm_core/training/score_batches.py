"""Training batches of the score network from views: noisy poses, what they would show, the exact target score."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import from_rotation_translation, so3_log, transform
from storm_core.score_model.clouds import ScenePoints, object_points, scene_points
from storm_core.score_model.encoder import NetworkConfig
from storm_core.score_model.noise import rotation_score, sample_rotations
from storm_core.score_model.schedule import Schedule
from storm_core.training.score_scenes import View

LEVELS = 64
"""Noise levels in use; rotation noise is tabulated for each."""

STALE = 0.35
"""Share of draws whose visible points were rendered at a pose a little away, as between renders of the sampler."""

ERROR_POINTS = 48
ERROR_FLOOR = 0.005
"""Errors below are all the same to a camera [diameters]."""


@dataclass(frozen=True, eq=False)
class Batch:
    """B views with K draws each; arrays of draws are (B K, ...), views first.

    Attributes:
      scene, scene_normals: (B, N, 3) relative to the median of the view [diameters].
      obj, obj_normals: (B K, M, 3) relative to the noisy centre [diameters].
      centers: (B K, 3) relative to the median [diameters]. rays: (B K, 3). axes: (B K, 3, 3).
      level: (B K,). widths: (B K, 2). target: (B K, 6) score times width. error: (B K,) log of mean point error.
    """

    scene: NDArray[np.float32]
    scene_normals: NDArray[np.float32]
    obj: NDArray[np.float32]
    obj_normals: NDArray[np.float32]
    centers: NDArray[np.float32]
    rays: NDArray[np.float32]
    axes: NDArray[np.float32]
    level: NDArray[np.float32]
    widths: NDArray[np.float32]
    target: NDArray[np.float32]
    error: NDArray[np.float32]


def batch_of(views: list[tuple[View, ScenePoints]], draws: int, network: NetworkConfig, schedule: Schedule,
             rng: np.random.Generator) -> Batch:
    """Noise draws around the true poses of views."""
    parts = [_draws(view, seen, draws, network, schedule, rng) for view, seen in views]
    names = [f.name for f in fields(Batch) if f.name not in ("scene", "scene_normals")]
    return Batch(
        scene=np.stack([seen.points for _, seen in views]), scene_normals=np.stack([seen.normals for _, seen in views]),
        **{name: np.concatenate([part[name] for part in parts]).astype(np.float32) for name in names})


def seen_view(view: View, network: NetworkConfig, rng: np.random.Generator) -> tuple[View, ScenePoints] | None:
    """The view with the points of its mask; None when too few were measured."""
    seen = scene_points(view.depth, view.mask, view.camera, view.model.diameter, network.scene_points, rng)
    return None if seen is None else (view, seen)


def _draws(view: View, seen: ScenePoints, draws: int, network: NetworkConfig, schedule: Schedule,
           rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """The arrays of `Batch` for the draws of one view."""
    model, truth = view.model, view.cam_from_obj
    # One draw in each part of the range of levels: batches vary less.
    level = (np.arange(draws) + rng.random(draws)) / draws
    level = (np.floor(level * LEVELS) + 0.5) / LEVELS
    widths = schedule.widths(level)
    noise = rng.normal(size=(draws, 3))
    turns = np.concatenate([sample_rotations(1, width, rng) for width in widths[:, 1]])
    center = truth[:3, :3] @ model.center + truth[:3, 3]
    centers = center + noise * widths[:, :1] * model.diameter
    poses = _placed(model.center, turns @ truth[:3, :3], centers)
    omega = so3_log(turns)
    angle = np.linalg.norm(omega, axis=1)
    slope = np.array([rotation_score(a[None], w)[0] for a, w in zip(angle, widths[:, 1], strict=True)])
    axis = omega / np.maximum(angle, 1e-9)[:, None]
    points, normals = _visible(view, poses, centers, widths, network.points, rng)
    return {
        "obj": points, "obj_normals": normals, "centers": (centers - seen.origin) / model.diameter,
        "rays": centers / np.linalg.norm(centers, axis=1, keepdims=True), "axes": poses[:, :3, :3], "level": level,
        "widths": widths, "target": np.concatenate([-noise, widths[:, 1:] * slope[:, None] * axis], 1),
        "error": np.log(ERROR_FLOOR + point_error(view, poses) / model.diameter),
    }


def _placed(center: NDArray[np.float64], rotations: NDArray[np.float64], centers: NDArray[np.float64]
            ) -> NDArray[np.float64]:
    """Poses (N, 4, 4) with given rotations whose object centres lie at given places [m]."""
    return from_rotation_translation(rotations, centers - rotations @ center)


def _visible(view: View, poses: NDArray[np.float64], centers: NDArray[np.float64], widths: NDArray[np.float64],
             count: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Object points of the poses, some of them as another pose nearby would show them."""
    n = len(poses)
    stale = rng.random(n) < STALE
    away = np.concatenate([sample_rotations(1, 0.7 * min(w, 0.8) if s else 0.0, rng)
                           for w, s in zip(widths[:, 1], stale, strict=True)])
    shifted = centers + stale[:, None] * rng.normal(size=(n, 3)) * 0.7 * widths[:, :1] * view.model.diameter
    rendered = _placed(view.model.center, away @ poses[:, :3, :3], shifted)
    points, normals = object_points(view.model, rendered, view.camera, count)
    return points @ away, normals @ away


def point_error(view: View, poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean distance of points of the model to where they belong (N,) [m], over its symmetries the least."""
    return errors_of(view.model, view.cam_from_obj, poses)


def errors_of(model: ObjectModel, truth: NDArray[np.float64], poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """`point_error` of poses (N, 4, 4) of an object whose true pose is `truth` (4, 4)."""
    points = model.eval_vertices[np.linspace(0, len(model.eval_vertices) - 1, ERROR_POINTS).astype(int)]
    wanted = transform(truth @ model.symmetries, points)
    given = transform(poses, points)
    return np.linalg.norm(given[:, None] - wanted[None], axis=-1).mean(-1).min(-1)
