"""Fewer triangles by clustering vertices on a grid, each cluster placed where it fits its planes best.

Grid clustering gives evenly spread vertices, which is what per-vertex colours need; the quadric placement (Garland and
Heckbert's error quadrics, used per cluster as Lindstrom does) keeps corners and edges sharp.
"""

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.surface import Faces, Vertices, area_vectors, compact, compact_faces, vertex_normals

_FLAT = 2e-2
"""Eigenvalues of a cluster's quadric below this share of the largest are noise: do not move along them."""


def simplify(vertices: Vertices, faces: Faces, max_faces: int) -> tuple[Vertices, Faces]:
    """At most `max_faces` faces: the finest grid that reaches the number; unchanged when there are already few."""
    if len(faces) <= max_faces:
        return vertices, faces
    cluster, cell = _clustering(vertices, faces, max_faces)
    return compact(_place(vertices, faces, cluster, cell), cluster[faces])


def simplify_colored(vertices: Vertices, faces: Faces, colors: NDArray[np.float64],
                     max_faces: int) -> tuple[Vertices, Faces, NDArray[np.float64]]:
    """The same with vertex colours (V, C): a new vertex gets the mean of those it stands for."""
    if len(faces) <= max_faces:
        return vertices, faces, colors
    cluster, cell = _clustering(vertices, faces, max_faces)
    mean = np.zeros((cluster.max() + 1, colors.shape[1]))
    np.add.at(mean, cluster, colors)
    mean /= np.bincount(cluster)[:, None]
    used, compacted = compact_faces(cluster[faces])
    return _place(vertices, faces, cluster, cell)[used], compacted, mean[used]


def _clustering(vertices: Vertices, faces: Faces, max_faces: int) -> tuple[Faces, float]:
    """Cluster index of each vertex on the finest grid that leaves at most `max_faces` faces, and its cell size."""
    normals = vertex_normals(vertices, faces)
    area = np.linalg.norm(area_vectors(vertices, faces), axis=1).sum()
    fine, coarse = 0.0, 1.2 * float(np.sqrt(2 * area / max_faces))
    while _face_count(faces, _clusters(vertices, normals, coarse)) > max_faces:
        fine, coarse = coarse, coarse * 1.3
    for _ in range(7):
        middle = (fine + coarse) / 2
        if _face_count(faces, _clusters(vertices, normals, middle)) > max_faces:
            fine = middle
        else:
            coarse = middle
    return _clusters(vertices, normals, coarse), coarse


def refine(vertices: Vertices, faces: Faces, max_edge: float) -> tuple[Vertices, Faces]:
    """Longest edges halved until none is longer than `max_edge`; shape and shared vertices stay as they are."""
    while True:
        corners = vertices[faces]
        lengths = np.linalg.norm(corners[:, [1, 2, 0]] - corners, axis=2)  # edge k runs from corner k to k + 1
        longest = lengths.argmax(1)
        split = lengths.max(1) > max_edge
        if not split.any():
            return vertices, faces
        rows, k = np.flatnonzero(split), longest[split]
        a, b, c = faces[rows, k], faces[rows, (k + 1) % 3], faces[rows, (k + 2) % 3]
        edges, index = np.unique(np.sort(np.stack([a, b], 1), axis=1), axis=0, return_inverse=True)
        middle = len(vertices) + index.reshape(-1)
        vertices = np.concatenate([vertices, vertices[edges].mean(1)])
        faces = np.concatenate([faces[~split], np.stack([a, middle, c], 1), np.stack([middle, b, c], 1)])


def _clusters(vertices: Vertices, normals: Vertices, cell: float) -> Faces:
    """Cluster index of each vertex: its grid cell, the two sides of a thin wall apart."""
    grid = np.floor((vertices - vertices.min(0)) / cell + 0.25).astype(np.int64)
    key = np.ravel_multi_index(tuple(grid.T), tuple(grid.max(0) + 1))
    _, index = np.unique(key, return_inverse=True)
    index = index.reshape(-1)
    moment = np.zeros((index.max() + 1, 3, 3))
    np.add.at(moment, index, normals[:, :, None] * normals[:, None, :])
    main = np.linalg.eigh(moment)[1][:, :, 2]
    along = np.einsum("nc,nc->n", normals, main[index])
    total = np.bincount(index, along)
    behind = along * np.where(total < 0, -1, 1)[index] < -0.5
    _, index = np.unique(2 * index + behind, return_inverse=True)
    return index.reshape(-1)


def _face_count(faces: Faces, cluster: Faces) -> int:
    corners = np.sort(cluster[faces], axis=1)
    corners = corners[(corners[:, 0] != corners[:, 1]) & (corners[:, 1] != corners[:, 2])]
    n = cluster.max() + 1
    return len(np.unique((corners[:, 0] * n + corners[:, 1]) * n + corners[:, 2]))


def _place(vertices: Vertices, faces: Faces, cluster: Faces, cell: float) -> Vertices:
    """The point of each cluster with the least squared distance to the planes of the faces that touch it."""
    count = cluster.max() + 1
    vectors = area_vectors(vertices, faces)
    area = np.linalg.norm(vectors, axis=1)
    normal = vectors / np.maximum(area, 1e-300)[:, None]
    centroid = vertices[faces].mean(1)
    weight, mean = np.zeros(count), np.zeros((count, 3))
    quadric, right = np.zeros((count, 3, 3)), np.zeros((count, 3))
    corner_cluster = cluster[faces]
    for k in range(3):
        np.add.at(weight, corner_cluster[:, k], area + 1e-300)
        np.add.at(mean, corner_cluster[:, k], (area + 1e-300)[:, None] * vertices[faces[:, k]])
    mean /= weight[:, None]
    for k in range(3):
        # A face with two corners in one cluster counts twice there: it is mostly that cluster's face.
        at = corner_cluster[:, k]
        distance = np.einsum("nc,nc->n", normal, centroid - mean[at])
        np.add.at(quadric, at, area[:, None, None] * normal[:, :, None] * normal[:, None, :])
        np.add.at(right, at, (area * distance)[:, None] * normal)
    values, axes = np.linalg.eigh(quadric)
    usable = values > _FLAT * values[:, 2:]
    inverse = np.where(usable, 1 / np.where(usable, values, 1.0), 0.0)
    step: NDArray[np.float64] = np.einsum("nij,nj,nkj,nk->ni", axes, inverse, axes, right)
    far = np.abs(step).max(1) > cell
    return mean + np.where(far[:, None], 0.0, step)
