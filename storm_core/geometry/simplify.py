"""Mesh simplification by vertex clustering with quadric error: flat stays flat, edges and corners stay sharp."""

import numpy as np
from numpy.typing import NDArray


def cluster_mesh(vertices: NDArray[np.float64], faces: NDArray[np.int64], colors: NDArray[np.uint8] | None, *,
                 max_faces: int, finest: float) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.uint8] | None]:
    """A mesh of at most max_faces; unchanged when it already is.

    Args:
      vertices: (V, 3). faces: (F, 3). colors: (V, 3) or None. finest: smallest cell edge tried, unit of vertices.
    """
    cell = finest
    while len(faces) > max_faces:
        new = _cluster(vertices, faces, colors, cell)
        if len(new[1]) <= max_faces:
            return new
        cell *= 1.15
    return vertices, faces, colors


def _cluster(vertices, faces, colors, cell):  # noqa: ANN001, ANN202
    key = np.floor((vertices - vertices.min(0)) / cell).astype(np.int64)
    _, label = np.unique(key, axis=0, return_inverse=True)
    label = label.ravel()
    count = np.bincount(label)
    n = len(count)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([np.bincount(label, values[:, k], n) for k in range(values.shape[1])], -1) / count[:, None]

    center = mean(vertices)
    # One quadric per cluster: squared distance to the planes of all incident faces, area-weighted (Garland-Heckbert).
    tri = vertices[faces]
    cross = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    area = np.linalg.norm(cross, axis=1)
    normal = cross / np.maximum(area, 1e-30)[:, None]
    a = np.zeros((n, 3, 3))
    b = np.zeros((n, 3))
    for k in range(3):
        who = label[faces[:, k]]
        offset = (normal * (tri[:, 0] - center[who])).sum(-1)
        np.add.at(a, who, area[:, None, None] * normal[:, :, None] * normal[:, None, :])
        np.add.at(b, who, (area * offset)[:, None] * normal)
    weight = np.trace(a, axis1=1, axis2=2)
    a += (0.01 * weight + 1e-30)[:, None, None] * np.eye(3)
    move = np.linalg.solve(a, b[..., None])[..., 0]
    length = np.linalg.norm(move, axis=1, keepdims=True)
    placed = center + move * np.minimum(1.0, cell / np.maximum(length, 1e-30))
    new_faces = label[faces]
    distinct = ((new_faces[:, 0] != new_faces[:, 1]) & (new_faces[:, 1] != new_faces[:, 2])
                & (new_faces[:, 2] != new_faces[:, 0]))
    new_faces = new_faces[distinct]
    # Faces that fell together: keep one of each, its winding included.
    start = new_faces.argmin(1)
    rolled = np.stack([new_faces[np.arange(len(start)), (start + k) % 3] for k in range(3)], -1)
    new_colors = None if colors is None else np.round(mean(colors.astype(float))).astype(np.uint8)
    return placed, np.unique(rolled, axis=0), new_colors
