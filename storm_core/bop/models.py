"""Models as BOP measures with them: every vertex of the file, the stated diameter, the declared symmetries. mm -> m."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from storm_core.bop.cameras import MM
from storm_core.bop.dataset import read_models_info
from storm_core.errors import MeshError
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.mesh_io import METRES, stated_diameter
from storm_core.geometry.mesh_read import SUFFIXES, read_surface
from storm_core.geometry.pose import from_rotation_translation, so3_exp
from storm_core.geometry.surface import diameter
from storm_core.geometry.symmetry import declared_symmetries
from storm_core.metrics.pose_error_batch import extreme_points

SYMMETRY_STEP = 0.01
"""Largest way of a surface point between neighbouring turns about a continuous axis / diameter."""
AVERAGED_POINTS = 20_000
"""Mean distances are taken over at most so many vertices."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class EvalModel:
    """An object as the metrics see it.

    Attributes:
      points: (V, 3) all vertices [m]. faces: (F, 3) int32.
      diameter: stated in models_info.json, else measured [m].
      symmetries: (S, 4, 4) obj -> obj, identity first.
    """

    points: Array
    faces: NDArray[np.int32]
    diameter: float
    symmetries: Array

    @cached_property
    def vertices(self) -> NDArray[np.float32]:
        """(V, 3) as the renderer takes them [m]."""
        return np.ascontiguousarray(self.points, np.float32)

    @cached_property
    def sha256(self) -> str:
        """Digest of everything that errors depend on."""
        parts = (self.points, self.faces, self.symmetries, np.array(self.diameter))
        return hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest()

    @cached_property
    def extremes(self) -> Array:
        """The points that largest distances are reached at (H, 3) [m]."""
        return extreme_points(self.points)

    @cached_property
    def averaged(self) -> Array:
        """The points that mean distances are taken over [m]: all, or an even choice of AVERAGED_POINTS."""
        if len(self.points) <= AVERAGED_POINTS:
            return self.points
        return self.points[np.linspace(0, len(self.points) - 1, AVERAGED_POINTS).round().astype(int)]

    @cached_property
    def tree(self) -> Any:
        """cKDTree of `averaged`."""
        return cKDTree(self.averaged)

    @staticmethod
    def of(model: ObjectModel) -> "EvalModel":
        """From a model that STORM works with: its evaluation vertices, measured diameter and own symmetries."""
        return EvalModel(points=model.eval_vertices, faces=model.faces, diameter=model.diameter,
                         symmetries=model.symmetries)


def load_eval_models(folder: Path, obj_ids: Collection[int], unit: str = "auto") -> dict[int, EvalModel]:
    """{obj_id: model} of a BOP models folder.

    Args:
      unit: of the mesh files: m, mm, cm or in; auto = mm, as in BOP. models_info.json is in mm always.

    Raises:
      MeshError: the folder or a mesh is missing or damaged, or models_info.json contradicts the mesh.
    """
    if not folder.is_dir():
        raise MeshError(f"models folder {folder} does not exist; pass --models DIR with the meshes of the dataset")
    infos = read_models_info(folder)
    scale = METRES["mm" if unit == "auto" else unit]
    return {obj_id: _load(_file(folder, obj_id), infos.get(obj_id, {}), scale) for obj_id in sorted(obj_ids)}


def bop_symmetries(info: Mapping[str, Any], step: float = SYMMETRY_STEP) -> Array:
    """Declared symmetries (S, 4, 4) obj -> obj [m], identity first, as BOP makes them of an entry of models_info.json.

    Every turn about a continuous axis follows every discrete symmetry; the set need not be a group. STORM's own choice
    is `geometry.symmetry.symmetry_group`.

    Raises:
      MeshError: a matrix is not rigid, or an axis is zero.
    """
    matrices, axes = declared_symmetries(info, MM)
    discrete = [np.eye(4), *matrices]
    turns = []
    for axis, offset in axes:
        count = int(np.ceil(np.pi / step))
        r = so3_exp(np.arange(count)[:, None] * (2 * np.pi / count) * (axis / np.linalg.norm(axis)))
        turns.append(from_rotation_translation(r, offset - r @ offset))
    if not turns:
        return np.array(discrete)
    return np.concatenate([np.concatenate(turns) @ d for d in discrete])


def _file(folder: Path, obj_id: int) -> Path:
    for suffix in SUFFIXES:
        path = folder / f"obj_{obj_id:06d}{suffix}"
        if path.is_file():
            return path
    raise MeshError(f"{folder} has no mesh of object {obj_id}; expected obj_{obj_id:06d}.ply")


def _load(path: Path, info: Mapping[str, Any], scale: float) -> EvalModel:
    parts, _ = read_surface(path)
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    points = np.concatenate([part.vertices for part in parts]) * scale
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)])
    if faces.min() < 0 or faces.max() >= len(points) or not np.isfinite(points).all():
        raise MeshError(f"mesh {path} is damaged: a face without vertex, or a vertex that is no number")
    measured = diameter(points)
    stated = stated_diameter(info, path)
    if measured <= 0 or (stated > 0 and not 0.8 < measured / stated < 1.25):
        raise MeshError(f"mesh {path} is {measured:.4g} m across, but models_info.json says {stated:.4g} m (BOP: mm); "
                        "correct --mesh-unit, the mesh or models_info.json")
    try:
        symmetries = bop_symmetries(info)
    except MeshError as error:
        raise MeshError(f"{path.parent / 'models_info.json'}, {path.stem}: {error}") from error
    return EvalModel(points=points, faces=faces.astype(np.int32), diameter=stated or measured, symmetries=symmetries)
