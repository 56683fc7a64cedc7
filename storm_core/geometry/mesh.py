"""ObjectModel: a CAD model in metres, checked at load."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.simplify import simplify_colored
from storm_core.geometry.surface import area_vectors

COARSE_FACES = 2000
"""Faces of the coarse surface: at 128 px its depth is right to 0.1 % of the diameter, its contour to 0.2 px."""


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles to be drawn.

    Attributes:
      vertices: (V, 3) float32 [m]. faces: (F, 3) int32. colors: (V, 3) uint8 RGB, None for an uncoloured mesh.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    colors: NDArray[np.uint8] | None


@dataclass(frozen=True, eq=False, kw_only=True)
class ObjectModel:
    """A triangle mesh in the mesh-file frame (`obj`), in metres.

    Attributes:
      name: object name as users write it (BOP id as text, or file stem).
      vertices: (V, 3) float32 [m]. faces: (F, 3) int32, counter-clockwise seen from outside.
      colors: (V, 3) uint8 RGB per vertex, or None for an uncoloured mesh.
      diameter: largest distance between two vertices [m].
      symmetries: (S, 4, 4) obj -> obj transforms that leave the *declared* object unchanged (identity included;
        continuous axes discretised).
      eval_vertices: (E, 3) float64 vertices for metrics [m] (full mesh, at most 20,000, deterministic choice).
      sha256: content hash of mesh, texture and declared symmetries; the onboarding cache key.
      warnings: what the load checks noticed (not watertight, guessed unit, ...).
    """

    name: str
    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    colors: NDArray[np.uint8] | None
    diameter: float
    symmetries: NDArray[np.float64]
    eval_vertices: NDArray[np.float64]
    sha256: str
    warnings: tuple[str, ...] = ()

    @cached_property
    def center(self) -> NDArray[np.float64]:
        """Centre of the bounding box [m], (3,)."""
        return (self.vertices.min(0).astype(float) + self.vertices.max(0)) / 2

    @cached_property
    def size(self) -> NDArray[np.float64]:
        """Bounding box edge lengths [m], (3,)."""
        return self.vertices.max(0).astype(float) - self.vertices.min(0)

    @cached_property
    def thickness(self) -> float:
        """Least distance [m] of two parallel planes with the object between them, of those along a face or an axis of
        the mesh frame: how thin it is, however it lies in that frame."""
        surface = self.coarse
        normals = area_vectors(surface.vertices.astype(float), surface.faces.astype(np.int64))
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        directions = normals[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]
        return float(min(self.size.min(), np.ptp(self.vertices @ directions.T, axis=0).min(initial=np.inf)))

    @cached_property
    def coarse(self) -> Surface:
        """The same surface with few faces, for small renders."""
        colors = np.zeros((len(self.vertices), 0)) if self.colors is None else self.colors.astype(float)
        vertices, faces, colors = simplify_colored(
            self.vertices.astype(float), self.faces.astype(np.int64), colors, COARSE_FACES
        )
        return Surface(
            vertices.astype(np.float32),
            faces.astype(np.int32),
            None if self.colors is None else np.round(colors).astype(np.uint8),
        )
