"""Closed triangle meshes by construction: lattice solids, solids of revolution, tubes and blobs. Metres, z up."""

import numpy as np
import trimesh
from numpy.typing import ArrayLike, NDArray

from storm_core.simulation.textures import noise


def lattice_solid(lines: tuple[ArrayLike, ArrayLike, ArrayLike], filled: ArrayLike, edge: float) -> trimesh.Trimesh:
    """The surface of filled cells of a rectilinear lattice: boxes, L and U profiles.

    Args:
      lines: cell borders along x, y and z [m], ascending.
      filled: (nx, ny, nz) bool, which cells are solid.
      edge: cells are divided until no surface edge along an axis is longer [m].
    """
    solid = np.asarray(filled, bool)
    axes: list[NDArray[np.float64]] = []
    for axis, borders in enumerate(np.asarray(line, float) for line in lines):
        counts = np.maximum(np.ceil(np.diff(borders) / edge - 1e-9).astype(int), 1)
        cuts = [np.linspace(a, b, n, endpoint=False)
                for a, b, n in zip(borders[:-1], borders[1:], counts, strict=True)]
        axes.append(np.concatenate([*cuts, borders[-1:]]))
        solid = np.repeat(solid, counts, axis)
    padded = np.pad(solid, 1)
    quads = []
    for axis in range(3):
        for side in (0, 1):
            empty = np.roll(padded, 1 - 2 * side, axis)[1:-1, 1:-1, 1:-1] == 0
            cells = np.argwhere(solid & empty)
            cells[:, axis] += side
            a, b = np.zeros(3, int), np.zeros(3, int)
            a[(axis + 1) % 3] = b[(axis + 2) % 3] = 1
            ring = np.stack([cells, cells + a, cells + a + b, cells + b], 1)
            quads.append(ring if side else ring[:, ::-1])
    corners = np.concatenate(quads)
    shape = tuple(len(axis) for axis in axes)
    flat = np.ravel_multi_index(corners.reshape(-1, 3).T, shape)
    used, index = np.unique(flat, return_inverse=True)
    at = np.unravel_index(used, shape)
    vertices = np.stack([axes[k][at[k]] for k in range(3)], 1)
    q = index.reshape(-1, 4)
    # Alternating diagonals keep the grid from leaning to one side when it is simplified or displaced.
    parity = (corners[:, 0].sum(1) % 2).astype(bool)
    even, odd = q[~parity], q[parity]
    faces = np.concatenate([even[:, [0, 1, 2]], even[:, [0, 2, 3]], odd[:, [0, 1, 3]], odd[:, [1, 2, 3]]])
    return trimesh.Trimesh(vertices, faces, process=False)


def box(size: tuple[float, float, float], edge: float) -> trimesh.Trimesh:
    """A box of edge lengths `size` [m] around the origin."""
    x, y, z = (np.array([-s / 2, s / 2]) for s in size)
    return lattice_solid((x, y, z), np.ones((1, 1, 1), bool), edge)


def revolve(profile: ArrayLike, edge: float) -> trimesh.Trimesh:
    """A closed solid of revolution about z.

    Args:
      profile: (N, 2) corner points (radius, z) [m], from the bottom axis to the top axis, solid on the axis side; the
        first and last radius must be 0.
    """
    p = np.asarray(profile, float)
    pieces = [np.linspace(a, b, max(int(np.ceil(np.linalg.norm(b - a) / edge)), 1), endpoint=False)
              for a, b in zip(p[:-1], p[1:], strict=True)]
    line = np.concatenate([*pieces, p[-1:]])
    segments = max(int(np.ceil(2 * np.pi * line[:, 0].max() / edge)), 12)
    angle = 2 * np.pi * np.arange(segments) / segments
    inner = line[1:-1]
    rings = np.stack([inner[:, :1] * np.cos(angle), inner[:, :1] * np.sin(angle),
                      np.repeat(inner[:, 1:], segments, 1)], -1).reshape(-1, 3)
    vertices = np.concatenate([rings, [[0, 0, line[0, 1]], [0, 0, line[-1, 1]]]])
    here = np.arange(segments)
    after = (here + 1) % segments
    low = np.arange(len(inner) - 1)[:, None] * segments
    high = low + segments
    faces = [np.stack([low + here, low + after, high + after], -1).reshape(-1, 3),
             np.stack([low + here, high + after, high + here], -1).reshape(-1, 3)]
    top = (len(inner) - 1) * segments
    faces.append(np.stack([after, here, np.full(segments, len(rings))], -1))
    faces.append(np.stack([top + here, top + after, np.full(segments, len(rings) + 1)], -1))
    return trimesh.Trimesh(vertices, np.concatenate(faces), process=False)


def tube(path: ArrayLike, radius: ArrayLike, edge: float) -> trimesh.Trimesh:
    """A round tube with capped ends along points (N, 3) [m]; radius: one per point or one for all [m]."""
    p = np.asarray(path, float)
    r = np.broadcast_to(np.asarray(radius, float), len(p))
    tangent = np.gradient(p, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    seed = np.eye(3)[np.argmin(np.abs(tangent).max(0))]
    first = np.cross(tangent, seed)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(tangent, first)
    segments = max(int(np.ceil(2 * np.pi * r.max() / edge)), 8)
    angle = 2 * np.pi * np.arange(segments) / segments
    ring = first[:, None] * np.cos(angle)[:, None] + second[:, None] * np.sin(angle)[:, None]
    vertices = np.concatenate([(p[:, None] + r[:, None, None] * ring).reshape(-1, 3), p[[0, -1]]])
    here = np.arange(segments)
    after = (here + 1) % segments
    low = np.arange(len(p) - 1)[:, None] * segments
    high = low + segments
    last = (len(p) - 1) * segments
    faces = np.concatenate([
        np.stack([low + here, low + after, high + after], -1).reshape(-1, 3),
        np.stack([low + here, high + after, high + here], -1).reshape(-1, 3),
        np.stack([after, here, np.full(segments, len(vertices) - 2)], -1),
        np.stack([last + here, last + after, np.full(segments, len(vertices) - 1)], -1)])
    return trimesh.Trimesh(vertices, faces, process=False)


def ball(radii: tuple[float, float, float], subdivisions: int) -> trimesh.Trimesh:
    """An ellipsoid around the origin."""
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    mesh.apply_scale(radii)
    return mesh


def blob(radius: float, bump: float, rng: np.random.Generator, subdivisions: int = 5) -> trimesh.Trimesh:
    """A sphere displaced along its normals by smooth noise of relative height `bump`."""
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    v = np.asarray(mesh.vertices)
    lobes = rng.normal(size=(14, 3))
    lobes /= np.linalg.norm(lobes, axis=1, keepdims=True)
    weights = rng.uniform(-1, 1, 14)
    height = (np.exp(6 * (v @ lobes.T - 1)) * weights).sum(1) + 0.06 * np.sin(9 * v @ lobes[:3].T).sum(1)
    return trimesh.Trimesh(v * (radius * (1 + bump * height))[:, None], mesh.faces, process=False)


def mottle(vertices: NDArray[np.floating], rng: np.random.Generator, cells: int = 8) -> NDArray[np.float32]:
    """Solid noise (V,) in about [-1, 1]: three noise pictures seen along the axes and averaged."""
    low, high = vertices.min(0), vertices.max(0)
    unit = (vertices - low) / (high - low).max()
    total = np.zeros(len(vertices), np.float32)
    for axis in range(3):
        picture = noise(256, 256, (cells, cells), rng, 3)
        a, b = (np.clip((unit[:, (axis + k) % 3] * 255).astype(int), 0, 255) for k in (1, 2))
        total += picture[b, a]
    return total / np.float32(1.8)
