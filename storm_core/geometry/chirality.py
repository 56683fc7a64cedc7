"""Does an object equal its mirror image? Only then may pictures of it be mirrored."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.surface import points_at, sample

SAMPLES = 4000
SHAPE_TOLERANCE = 0.02
"""Largest distance between the surface and its mirror image, in diameters (95 % of the points)."""
COLOR_TOLERANCE = 24
"""Largest difference of their colours, of 255 (95 % of the points)."""


def achiral(model: ObjectModel) -> bool:
    """True when a plane mirrors shape and colour of the model onto themselves.

    Tried are planes through the centre of the box and through the centroid, across the file's axes and the principal
    axes. A mirror plane elsewhere is missed, which only means that this object is never mirrored.
    """
    points, colors = _surface(model)
    tree = cKDTree(points)
    spread = np.linalg.eigh(np.cov((points - points.mean(0)).T))[1].T
    return any(_mirrored(points, colors, tree, normal, center, model.diameter)
               for center in (model.center, points.mean(0)) for normal in (*np.eye(3), *spread))


def _surface(model: ObjectModel) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Points (SAMPLES, 3) on the surface [m] and their colours (SAMPLES, 3), None for an uncoloured mesh."""
    vertices = model.vertices.astype(float)
    face, weights = sample(vertices, model.faces, SAMPLES)
    points = points_at(vertices, model.faces, face, weights)
    if model.colors is None:
        return points, None
    return points, np.einsum("nk,nkc->nc", weights, model.colors[model.faces[face]].astype(float))


def _mirrored(points: NDArray[np.float64], colors: NDArray[np.float64] | None, tree: cKDTree,
              normal: NDArray[np.float64], center: NDArray[np.float64], diameter: float) -> bool:
    away = (points - center) @ normal
    distance, nearest = tree.query(points - 2 * away[:, None] * normal)
    # Neighbouring samples lie apart by this much anyway.
    spacing = np.median(tree.query(points, k=2)[0][:, 1])
    if np.quantile(distance, 0.95) > SHAPE_TOLERANCE * diameter + 2 * spacing:
        return False
    return colors is None or bool(np.quantile(np.abs(colors - colors[nearest]).max(1), 0.95) <= COLOR_TOLERANCE)
