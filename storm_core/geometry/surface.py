"""Triangle surfaces as arrays: areas, even samples, welding, winding, watertightness, diameter.

scipy is imported where it is used: its packages take a third of a second, and a node with checked meshes needs none.
"""

import numpy as np
from numpy.typing import NDArray

Vertices = NDArray[np.float64]
Faces = NDArray[np.int64]


def area_vectors(vertices: Vertices, faces: Faces) -> NDArray[np.float64]:
    """Normals scaled by area, (F, 3), of faces (F, 3)."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.cross(b - a, c - a) / 2


def vertex_normals(vertices: Vertices, faces: Faces) -> NDArray[np.float64]:
    """Area-weighted unit normals, (V, 3); 0 for vertices without a face."""
    out = np.zeros((len(vertices), 3))
    vectors = area_vectors(vertices, faces)
    for k in range(3):
        np.add.at(out, faces[:, k], vectors)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-300)


def sample(vertices: Vertices, faces: Faces, count: int) -> tuple[Faces, NDArray[np.float64]]:
    """Points spread evenly over the surface, the same at every call.

    Returns:
      face indices (count,) and barycentric weights (count, 3).
    """
    area = np.linalg.norm(area_vectors(vertices, faces), axis=1)
    cumulative = np.cumsum(area)
    index = np.arange(count)
    at = (index + 0.5) / count * cumulative[-1]
    face = np.minimum(np.searchsorted(cumulative, at), len(faces) - 1)
    # The R2 sequence (generalised golden ratio) fills the unit square evenly without a random generator.
    s, t = (0.5 + index * 0.7548776662466927) % 1.0, (0.5 + index * 0.5698402909980532) % 1.0
    root = np.sqrt(s)
    return face, np.stack([1 - root, root * (1 - t), root * t], -1)


def points_at(vertices: Vertices, faces: Faces, face: Faces, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions (N, 3) of barycentric samples."""
    return np.einsum("nk,nkc->nc", weights, vertices[faces[face]])


def weld(vertices: Vertices, faces: Faces, tolerance: float) -> tuple[Vertices, Faces]:
    """Vertices closer than about `tolerance` merged; faces that collapse, repeat or use no area removed."""
    grid = np.round(vertices / tolerance).astype(np.int64)
    _, first, inverse = np.unique(grid, axis=0, return_index=True, return_inverse=True)
    return compact(vertices[first], inverse.reshape(-1)[faces])


def compact(vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    """Without collapsed and repeated faces and without unused vertices."""
    used, faces = compact_faces(faces)
    return vertices[used], faces


def compact_faces(faces: Faces) -> tuple[Faces, Faces]:
    """Indices of the vertices in use, and the faces, collapsed and repeated ones removed, in terms of those."""
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    _, keep = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    faces = faces[np.sort(keep)]
    used, inverse = np.unique(faces, return_inverse=True)
    return used, inverse.reshape(-1, 3)


def _half_edges(faces: Faces) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Undirected edges (3F, 2), the face of each, and whether the face runs along it upwards."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.sort(edges, axis=1), np.tile(np.arange(len(faces)), 3), edges[:, 0] < edges[:, 1]


def is_watertight(faces: Faces) -> bool:
    """Every edge belongs to exactly two faces."""
    edges, _, _ = _half_edges(faces)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    return bool((counts == 2).all())


def orient_outward(vertices: Vertices, faces: Faces) -> Faces:
    """Faces wound alike within each connected piece, counter-clockwise seen from outside.

    A piece whose box lies inside the box of another keeps its sense: it may be the wall of a cavity.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges, owner, upward = _half_edges(faces)
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    edges, owner, upward = edges[order], owner[order], upward[order]
    starts = np.flatnonzero(np.r_[True, (edges[1:] != edges[:-1]).any(1)])
    pairs = starts[np.diff(np.r_[starts, len(edges)]) == 2]
    a, b = owner[pairs], owner[pairs + 1]
    same = upward[pairs] == upward[pairs + 1]
    n = len(faces)
    graph = coo_matrix((np.ones(len(a)), (a, b)), shape=(n, n)).tocsr()
    count, label = connected_components(graph, directed=False)
    flip = _parities(n, a, b, same, count, label) if same.any() else np.zeros(n, bool)
    out = np.where(flip[:, None], faces[:, ::-1], faces)
    boxes = np.array([_box(vertices[out[label == k]]) for k in range(count)]) if count > 1 else None
    for k in range(count):
        mine = label == k
        corners = vertices[out[mine]]
        corners = corners - corners.reshape(-1, 3).mean(0)
        volume = np.einsum("ni,ni->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
        extent = np.ptp(corners.reshape(-1, 3), axis=0).max()
        nested = boxes is not None and _inside_another(boxes, k) and not flip[mine].any()
        if volume < -1e-9 * extent**3 and not nested:
            out[mine] = out[mine][:, ::-1]
    return out


def _parities(n: int, a: Faces, b: Faces, same: NDArray[np.bool_], count: int, label: NDArray) -> NDArray[np.bool_]:
    """Which faces to flip so that neighbours run along their common edge in opposite senses."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import breadth_first_order

    # Weight 1 = agree, 2 = differ; zero would mean "no edge" in a sparse matrix.
    weight = np.where(same, 2.0, 1.0)
    graph = coo_matrix((np.r_[weight, weight], (np.r_[a, b], np.r_[b, a])), shape=(n, n)).tocsr()
    differ = {(int(i), int(j)): bool(s) for i, j, s in zip(a, b, same, strict=True)}
    flip = np.zeros(n, bool)
    roots = np.unique(label, return_index=True)[1]
    for root in roots[:count]:
        order, parent = breadth_first_order(graph, int(root), directed=False)
        for face in order[1:]:
            up = int(parent[face])
            changed = differ.get((up, int(face)), differ.get((int(face), up), False))
            flip[face] = flip[up] ^ changed
    return flip


def _box(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    points = corners.reshape(-1, 3)
    return np.r_[points.min(0), points.max(0)]


def _inside_another(boxes: NDArray[np.float64], k: int) -> bool:
    inside = (boxes[:, :3] < boxes[k, :3]).all(1) & (boxes[:, 3:] > boxes[k, 3:]).all(1)
    return bool(inside.any())


def diameter(vertices: Vertices) -> float:
    """Largest distance between two points (N, 3)."""
    from scipy.spatial import ConvexHull, QhullError
    from scipy.spatial.distance import cdist

    try:
        points = vertices[ConvexHull(vertices).vertices]
    except (QhullError, ValueError):
        points = vertices  # flat or tiny point sets have no hull
    points = points[:: max(1, len(points) // 6000)]
    return float(np.sqrt(max(cdist(points[i:i + 500], points[i:], "sqeuclidean").max()
                             for i in range(0, len(points), 500))))
