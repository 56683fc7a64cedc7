"""Points on the surface of a clip's mesh, for contenders that align point clouds."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray

COUNT = 4000


@dataclass(frozen=True, eq=False)
class MeshPoints:
    """points, normals: (N, 3) [m]. colors: (N, 3) in [0, 1], None for an uncoloured mesh. center: (3,) of the box."""

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    colors: NDArray[np.float64] | None
    center: NDArray[np.float64]


def mesh_points(clip: Path) -> MeshPoints:
    """Points evenly at random over the surface of model.ply, always the same."""
    mesh = trimesh.load(clip / "model.ply", process=False)
    points, face = trimesh.sample.sample_surface(mesh, COUNT, seed=0)
    colors = None
    if mesh.visual.kind == "vertex":
        corners = mesh.triangles[face]
        weights = trimesh.triangles.points_to_barycentric(corners, points)
        colors = (mesh.visual.vertex_colors[mesh.faces[face], :3] / 255.0 * weights[..., None]).sum(1)
    return MeshPoints(np.asarray(points), mesh.face_normals[face], colors, mesh.bounds.mean(0))
