"""Families of procedural shapes: each draws one shape of about unit size and says which turns leave it unchanged."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import trimesh

from storm_core.simulation import shapes, solids

CONTINUOUS = 0
"""`turns` of a shape that every rotation about z leaves unchanged."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Shape:
    """A closed shape and its proper symmetries, colour ignored; the axis is x = y = 0.

    Attributes:
      turns: rotations about z by 360 / turns degrees (1 = none, CONTINUOUS = all).
      flip: half a turn about the x axis, at half height, as well.
      turned: a body of revolution with an outer wall that a label can be wrapped around.
    """

    mesh: trimesh.Trimesh
    turns: int = 1
    flip: bool = False
    turned: bool = False


Rng = np.random.Generator


def box(rng: Rng, edge: float) -> Shape:
    """Cuboids of clearly different edges, a quarter of them with a square base."""
    a, b, c = rng.uniform(0.75, 1.0), rng.uniform(0.35, 0.6), rng.uniform(0.15, 0.28)
    x, y, z = ((a, b, c), (b, c, a), (c, b, a))[rng.integers(3)]
    square = rng.random() < 0.25
    if square:
        x = y = float(rng.uniform(0.3, 0.5))
        z = 1.0
    return Shape(mesh=shapes.box((x, y, z), edge), turns=4 if square else 2, flip=True)


def plate(rng: Rng, edge: float) -> Shape:
    """Cards, tiles and lids: a thirtieth to a fifteenth as thick as they are long."""
    size = (1.0, rng.uniform(0.45, 0.8), rng.uniform(0.03, 0.06))
    return Shape(mesh=shapes.box(size, edge), turns=2, flip=True)


def can(rng: Rng, edge: float) -> Shape:
    """Cylinders, the same at both ends."""
    r, h, rim = rng.uniform(0.22, 0.42), 1.0, rng.uniform(0.01, 0.04)
    profile = [(0, 0), (r - rim, 0), (r, rim), (r, h - rim), (r - rim, h), (0, h)]
    return Shape(mesh=shapes.revolve(profile, edge), turns=CONTINUOUS, flip=True, turned=True)


def bottle(rng: Rng, edge: float) -> Shape:
    """Body, shoulder, neck and cap."""
    r, neck = rng.uniform(0.17, 0.26), rng.uniform(0.05, 0.09)
    body, shoulder, throat = rng.uniform(0.45, 0.68), rng.uniform(0.72, 0.8), rng.uniform(0.83, 0.88)
    waist = r * rng.uniform(0.8, 1.0)
    wall = solids.rounded([(0.0, 0.0), (r, 0.0), (r, 0.25), (waist, 0.4), (r, body), (neck, shoulder), (neck, throat)],
                          0.06)
    cap = neck * rng.uniform(1.15, 1.4)
    profile = np.concatenate([wall, [(cap, throat + 0.005), (cap, 0.99), (cap - 0.01, 1.0), (0.0, 1.0)]])
    return Shape(mesh=shapes.revolve(profile, edge), turns=CONTINUOUS, turned=True)


def vessel(rng: Rng, edge: float) -> Shape:
    """Cups and bowls: hollow, open at the top."""
    return Shape(mesh=_vessel(rng, edge)[0], turns=CONTINUOUS, turned=True)


def mug(rng: Rng, edge: float) -> Shape:
    """A cup with a handle."""
    mesh, (low, high), thick = _vessel(rng, edge, slim=True)
    span = rng.uniform(0.28, 0.36)
    angle = np.linspace(-1.45, 1.45, max(int(3 * span / edge), 16))
    # Both ends lie inside the wall, so that nothing shows in the cup.
    middle = 0.55
    wall = low + (high - low) * middle - 0.55 * thick
    arc = np.stack([wall + span * 0.9 * (np.cos(angle) - np.cos(1.45)), np.zeros_like(angle),
                    middle + span * np.sin(angle)], 1)
    arc[:, 0] += (high - low) * (arc[:, 2] - middle)
    handle = shapes.tube(arc, rng.uniform(0.045, 0.065), edge)
    return Shape(mesh=trimesh.util.concatenate([mesh, handle]), turned=True)


def _vessel(rng: Rng, edge: float, *, slim: bool = False) -> tuple[trimesh.Trimesh, tuple[float, float], float]:
    """A hollow body of height 1, its radii at the two ends and its wall."""
    low, high = (rng.uniform(0.32, 0.4), rng.uniform(0.4, 0.46)) if slim else (rng.uniform(0.3, 0.6),
                                                                              rng.uniform(0.55, 1.3))
    thick = 0.07
    profile = [(0, 0), (low, 0), (high, 0.97), (high - 0.3 * thick, 1.0), (high - 0.7 * thick, 1.0),
               (high - thick, 0.97), (low - thick, 1.6 * thick), (0, 1.5 * thick)]
    return shapes.revolve(profile, edge), (low, high), thick


def bracket(rng: Rng, edge: float) -> Shape:
    """L, T and U profiles."""
    kind = rng.integers(3)
    wide, tall, deep = 1.0, rng.uniform(0.6, 0.9), rng.uniform(0.3, 0.5)
    thick = rng.uniform(0.10, 0.18)
    half = wide / 2
    y = np.array([-deep / 2, deep / 2])
    z = np.array([0.0, thick * rng.uniform(0.6, 0.9), tall])
    if kind == 0:
        filled = np.array([[1, 1], [1, 0]], bool)
        return Shape(mesh=shapes.lattice_solid((np.array([-half, -half + thick, half]), y, z), filled[:, None], edge))
    inner = thick / 2 if kind == 1 else half - thick
    x = np.array([-half, -inner, inner, half])
    filled = np.array([[1, 0], [1, 1], [1, 0]] if kind == 1 else [[1, 1], [1, 0], [1, 1]], bool)
    return Shape(mesh=shapes.lattice_solid((x, y, z), filled[:, None], edge), turns=2)


def ring(rng: Rng, edge: float) -> Shape:
    """Tori and flat washers."""
    thin, tall = rng.uniform(0.06, 0.14), rng.uniform(0.06, 0.2)
    count = 4 * max(int(np.ceil(2 * np.pi * max(thin, tall) / edge / 4)), 4)
    angle = 2 * np.pi * (np.arange(count) + 0.5) / count
    profile = np.stack([thin * np.cos(angle), tall * np.sin(angle)], 1)
    return Shape(mesh=solids.ring(0.5 - thin, profile, edge), turns=CONTINUOUS, flip=True)


def rounded_block(rng: Rng, edge: float) -> Shape:
    """Superquadrics: soap bars, pebbles, cushions."""
    radii = (0.5, rng.uniform(0.26, 0.38), rng.uniform(0.12, 0.2))
    return Shape(mesh=solids.superquadric(radii, (rng.uniform(0.4, 0.9), rng.uniform(0.4, 0.9)), edge), turns=2,
                 flip=True)


def polygon(rng: Rng, edge: float) -> Shape:
    """Prisms over triangles to hexagons and over stars."""
    corners, star = int(rng.integers(3, 7)), float(rng.choice([1.0, 0.55, 0.7]))
    outline = solids.polygon_outline(corners, 0.5, edge, star=star)
    return Shape(mesh=solids.prism(outline, rng.uniform(0.25, 0.7), edge), turns=corners, flip=True)


def pebble(rng: Rng, edge: float) -> Shape:
    """Prisms over a wavy outline without any symmetry."""
    count = int(np.ceil(2 * np.pi * 0.5 / edge))
    angle = 2 * np.pi * np.arange(count) / count
    waves = sum(rng.uniform(0.05, 0.12) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (1, 2, 3, 4))
    return Shape(mesh=solids.prism(solids.polar_outline(0.4 * (1 + waves)), rng.uniform(0.2, 0.5), edge))


def gear(rng: Rng, edge: float) -> Shape:
    """A toothed wheel with a hub on one side."""
    teeth, thick = int(rng.integers(9, 19)), rng.uniform(0.12, 0.25)
    wheel = solids.prism(solids.gear_outline(teeth, 0.41, 0.5, edge), thick, edge)
    # A round hub of a multiple of `teeth` corners is as symmetric as the wheel.
    hub = solids.prism(solids.polygon_outline(2 * teeth, rng.uniform(0.15, 0.24), edge), rng.uniform(0.2, 0.35), edge)
    hub.apply_translation([0, 0, np.ptp(hub.vertices[:, 2]) / 2])
    return Shape(mesh=trimesh.util.concatenate([wheel, hub]), turns=teeth)


def fastener(rng: Rng, edge: float) -> Shape:
    """A bolt: hexagonal head on a round shank."""
    head_tall, shank = rng.uniform(0.18, 0.3), rng.uniform(0.10, 0.16)
    head = solids.prism(solids.polygon_outline(6, shank * rng.uniform(1.7, 2.2), edge), head_tall, edge)
    rod = solids.prism(solids.polygon_outline(36, shank, edge), 1.0 - 0.5 * head_tall, edge)
    rod.apply_translation([0, 0, -np.ptp(rod.vertices[:, 2]) / 2])
    return Shape(mesh=trimesh.util.concatenate([head, rod]), turns=6)


def assembly(rng: Rng, edge: float) -> Shape:
    """A block with a boss on top and a lug at one side, as housings and motors have."""
    size = np.array([1.0, rng.uniform(0.5, 0.7), rng.uniform(0.3, 0.5)])
    block = shapes.box(tuple(size), edge)
    r = rng.uniform(0.12, 0.2)
    boss = solids.prism(solids.polygon_outline(32, r, edge), rng.uniform(0.4, 0.7), edge)
    boss.apply_translation([rng.uniform(0.12, 0.25) * rng.choice([-1, 1]), 0.0, size[2] / 2])
    lug = shapes.box((rng.uniform(0.2, 0.35), 0.3, rng.uniform(0.1, 0.18)), edge)
    lug.apply_translation([rng.uniform(0.1, 0.3), size[1] / 2, -0.2 * size[2]])
    return Shape(mesh=trimesh.util.concatenate([block, boss, lug]))


def lump(rng: Rng, edge: float) -> Shape:
    """A displaced sphere, like a stone or a piece of fruit."""
    squeeze = np.array([1.0, rng.uniform(0.6, 0.9), rng.uniform(0.5, 0.8)])
    subdivisions = 5 if edge < 0.035 else 4
    mesh = shapes.blob(0.5, rng.uniform(0.2, 0.35), rng, subdivisions)
    mesh.apply_scale(squeeze)
    return Shape(mesh=mesh)


def pipe(rng: Rng, edge: float) -> Shape:
    """A bent tube that tapers; its path leaves the plane."""
    t = np.linspace(0, 1, max(int(1.8 / edge), 24))
    path = np.stack([t - 0.5, rng.uniform(0.15, 0.3) * np.sin(1.5 * np.pi * t),
                     rng.uniform(0.12, 0.25) * np.sin(np.pi * t) ** 2], 1)
    radius = rng.uniform(0.06, 0.09) * (1.25 - 0.5 * t)
    return Shape(mesh=shapes.tube(path, radius, edge))


FAMILIES: dict[str, Callable[[Rng, float], Shape]] = {
    "box": box, "plate": plate, "can": can, "bottle": bottle, "vessel": vessel, "mug": mug, "bracket": bracket,
    "ring": ring, "rounded_block": rounded_block, "polygon": polygon, "pebble": pebble, "gear": gear,
    "fastener": fastener, "assembly": assembly, "lump": lump, "pipe": pipe}
"""Maker by name; edge: wanted length of mesh edges, in units of the shape."""


def draw(kind: str, seed: list[int], vertices: int) -> Shape:
    """One shape of a family with about `vertices` vertices; the same seed gives the same shape at any resolution."""
    edge = 0.06
    for _ in range(4):
        shape = FAMILIES[kind](np.random.default_rng(seed), edge)
        count = len(shape.mesh.vertices)
        if 0.7 * vertices < count < 1.3 * vertices:
            break
        edge *= float(np.sqrt(count / vertices))
    return shape
