"""More closed meshes by construction: prisms of star-shaped outlines, rings, superquadrics, cups. Metres, z up.

Outlines and profiles are plain arrays; see `shapes` for boxes, lattice solids, solids of revolution and tubes.
"""

import numpy as np
import trimesh
from numpy.typing import ArrayLike, NDArray


def polar_outline(radius: ArrayLike) -> NDArray[np.float64]:
    """Closed outline (N, 2), counter-clockwise, of radii (N,) at even angles [m]."""
    r = np.asarray(radius, float)
    angle = 2 * np.pi * np.arange(len(r)) / len(r)
    return np.stack([r * np.cos(angle), r * np.sin(angle)], 1)


def polygon_outline(corners: int, radius: float, edge: float, *, star: float = 1.0) -> NDArray[np.float64]:
    """A regular polygon, or a star when every other of 2 x `corners` corners is drawn in to `star` x radius.

    Args:
      radius: of the circumscribed circle [m]. edge: longest straight piece [m].
    """
    count = corners if star >= 1.0 else 2 * corners
    radii = np.where((np.arange(count) % 2 == 0) | (star >= 1.0), radius, star * radius)
    tips = polar_outline(radii)
    after = np.roll(tips, -1, 0)
    # The same number of pieces on every side keeps the mesh as symmetric as the outline.
    pieces = max(int(np.ceil(np.linalg.norm(after - tips, axis=1).max() / edge)), 1)
    share = np.arange(pieces)[:, None] / pieces
    return np.concatenate([a + share * (b - a) for a, b in zip(tips, after, strict=True)])


def gear_outline(teeth: int, inner: float, outer: float, edge: float) -> NDArray[np.float64]:
    """Trapezoidal teeth between two radii [m]."""
    per_tooth = 4 * max(int(np.ceil(2 * np.pi * outer / teeth / edge / 4)), 2)
    phase = np.arange(per_tooth) / per_tooth
    height = np.clip(2.5 - np.abs(phase - 0.5) * 8, 0, 1)
    return polar_outline(np.tile(inner + (outer - inner) * height, teeth))


def prism(outline: ArrayLike, height: float, edge: float) -> trimesh.Trimesh:
    """A solid between z = -height/2 and height/2 over an outline (N, 2) that is star-shaped around the origin [m]."""
    p = np.asarray(outline, float)
    n = len(p)
    inward = max(int(np.ceil(np.linalg.norm(p, axis=1).max() / edge)), 1)
    upward = max(int(np.ceil(height / edge)), 1)
    scale = np.concatenate([np.arange(1, inward) / inward, np.ones(upward + 1), np.arange(inward - 1, 0, -1) / inward])
    level = np.concatenate([np.full(inward - 1, -0.5), np.linspace(-0.5, 0.5, upward + 1), np.full(inward - 1, 0.5)])
    rings = [np.column_stack([p * s, np.full(n, z * height)]) for s, z in zip(scale, level, strict=True)]
    vertices = np.concatenate([*rings, [[0, 0, -height / 2], [0, 0, height / 2]]])
    return _skinned(vertices, n, len(rings))


def ring(major: float, profile: ArrayLike, edge: float) -> trimesh.Trimesh:
    """A closed profile (N, 2) of (radial offset, z) [m], counter-clockwise, swept around z at radius `major` [m]."""
    p = np.asarray(profile, float)
    n = len(p)
    segments = max(4 * int(np.ceil(2 * np.pi * (major + p[:, 0].max()) / edge / 4)), 24)
    angle = 2 * np.pi * np.arange(segments) / segments
    radius = major + p[:, 0]
    vertices = np.stack([np.outer(np.cos(angle), radius), np.outer(np.sin(angle), radius),
                         np.broadcast_to(p[:, 1], (segments, n))], -1).reshape(-1, 3)
    here = np.arange(segments)[:, None] * n + np.arange(n)
    over = np.roll(here, -1, 0)
    faces = np.concatenate([
        np.stack([here, over, np.roll(over, -1, 1)], -1).reshape(-1, 3),
        np.stack([here, np.roll(over, -1, 1), np.roll(here, -1, 1)], -1).reshape(-1, 3)])
    return trimesh.Trimesh(vertices, faces, process=False)


def superquadric(radii: tuple[float, float, float], rounding: tuple[float, float], edge: float) -> trimesh.Trimesh:
    """A superellipsoid (Barr 1981): |x|, |y| with exponent 2 / rounding[1], their mix with |z| 2 / rounding[0].

    Args:
      radii: half axes [m]. rounding: 1 = ellipsoid, towards 0 = box, 2 = octahedron; (up, around).
    """
    segments = max(4 * int(np.ceil(2 * np.pi * max(radii[:2]) / edge / 4)), 16)
    levels = max(2 * int(np.ceil(np.pi * max(radii) / edge / 2)), 12)
    around = 2 * np.pi * np.arange(segments) / segments
    up = np.pi * (np.arange(1, levels) / levels - 0.5)

    def bent(value: NDArray[np.float64], power: float) -> NDArray[np.float64]:
        # The sine of pi in floating point is not 0, which a small power would blow up.
        value = np.where(np.abs(value) < 1e-12, 0.0, value)
        return np.sign(value) * np.abs(value) ** power

    wide = bent(np.cos(up), rounding[0])
    vertices = np.stack([
        radii[0] * np.outer(wide, bent(np.cos(around), rounding[1])),
        radii[1] * np.outer(wide, bent(np.sin(around), rounding[1])),
        np.broadcast_to((radii[2] * bent(np.sin(up), rounding[0]))[:, None], (levels - 1, segments)),
    ], -1).reshape(-1, 3)
    poles = [[0, 0, -radii[2]], [0, 0, radii[2]]]
    return _skinned(np.concatenate([vertices, poles]), segments, levels - 1)


def rounded(corners: ArrayLike, reach: float, *, steps: int = 4) -> NDArray[np.float64]:
    """A polyline (N, 2) whose inner corners are rounded by Bezier arcs that start `reach` [m] before them."""
    p = np.asarray(corners, float)
    out = [p[:1]]
    t = np.linspace(0, 1, steps)[:, None]
    for before, here, after in zip(p[:-2], p[1:-1], p[2:], strict=True):
        a = here + (before - here) * min(0.45, reach / max(np.linalg.norm(before - here), 1e-9))
        b = here + (after - here) * min(0.45, reach / max(np.linalg.norm(after - here), 1e-9))
        out.append((1 - t) ** 2 * a + 2 * t * (1 - t) * here + t**2 * b)
    return np.concatenate([*out, p[-1:]])


def _skinned(vertices: NDArray[np.float64], around: int, rings: int) -> trimesh.Trimesh:
    """Faces over stacked rings of `around` vertices, from the bottom pole (second to last) to the top pole (last)."""
    here = np.arange(around)
    after = (here + 1) % around
    low = np.arange(rings - 1)[:, None] * around
    high = low + around
    bottom, top, last = rings * around, rings * around + 1, (rings - 1) * around
    faces = np.concatenate([
        np.stack([low + here, low + after, high + after], -1).reshape(-1, 3),
        np.stack([low + here, high + after, high + here], -1).reshape(-1, 3),
        np.stack([after, here, np.full(around, bottom)], -1),
        np.stack([last + here, last + after, np.full(around, top)], -1)])
    return trimesh.Trimesh(vertices, faces, process=False)
