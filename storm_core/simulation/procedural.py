"""Procedural objects beyond the catalog: any seed gives another closed, coloured object with declared symmetries.

A recipe is plain data (kind, print, seeds, size), so that a benchmark can name its objects and make look-alikes: the
same shape under another print, or the same print on another shape.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import from_rotation_translation, so3_exp
from storm_core.geometry.symmetry import symmetry_group
from storm_core.simulation import prints
from storm_core.simulation.families import CONTINUOUS, FAMILIES, Shape, draw
from storm_core.simulation.objects import object_model

SMALLEST, LARGEST = 0.04, 0.30
"""Diameters of procedural objects [m]."""

PRINTED_VERTICES, PLAIN_VERTICES = 12_000, 5_000

LOOKS = ("print", "banded", "plain", "bare")
"""print: pictures without symmetry; banded: rings of colour; plain: one colour; bare: a mesh without any colour."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to make one object.

    Attributes:
      shape_seed, print_seed: decide its form and its colours. kind: a family. look: one of LOOKS.
      size: diameter [m].
    """

    shape_seed: int
    print_seed: int
    kind: str
    look: str
    size: float

    @property
    def name(self) -> str:
        again = "" if self.print_seed == self.shape_seed else f"_p{self.print_seed}"
        return f"{self.kind}_{self.shape_seed}{again}"


@dataclass(frozen=True, eq=False, kw_only=True)
class ProceduralObject:
    """An object and its `symmetries_discrete`, `symmetries_continuous` as models_info.json has them [mm]."""

    recipe: Recipe
    model: ObjectModel
    declared: Mapping[str, Any]


def procedural_object(seed: int) -> ObjectModel:
    """A random object: the same seed gives the same mesh, colours and declared symmetries."""
    return build(random_recipe(seed)).model


def random_recipe(seed: int, *, kinds: Sequence[str] = tuple(FAMILIES), looks: Sequence[str] | None = None,
                  size: tuple[float, float] = (SMALLEST, LARGEST)) -> Recipe:
    """A recipe of the given kinds, looks and range of diameters [m]; small sizes are as likely as large ones."""
    rng = np.random.default_rng([seed, 0])
    kind = str(rng.choice(kinds))
    wanted = looks or ("print", "print", "print", *LOOKS)
    look = str(rng.choice([look for look in wanted if look != "banded" or kind in BANDED] or ["plain"]))
    diameter = float(np.round(size[0] * (size[1] / size[0]) ** rng.uniform(), 4))
    return Recipe(shape_seed=seed, print_seed=seed, kind=kind, look=look, size=diameter)


BANDED = ("can", "bottle", "vessel")
"""Families with enough height for rings of colour."""


def other_print(recipe: Recipe, seed: int) -> Recipe:
    """The same shape with other pictures and colours."""
    return replace(recipe, print_seed=seed)


def other_shape(recipe: Recipe, seed: int, *, kinds: Sequence[str] = tuple(FAMILIES)) -> Recipe:
    """The same pictures and colours on another kind of shape, one of `kinds`, of the same size."""
    rng = np.random.default_rng([seed, 4])
    others = [kind for kind in kinds if kind != recipe.kind and (recipe.look != "banded" or kind in BANDED)]
    return replace(recipe, shape_seed=seed, kind=str(rng.choice(others)))


def build(recipe: Recipe, *, vertices: int | None = None) -> ProceduralObject:
    """Make the object; its origin is on its axis of symmetry, at half height, or else the centre of its box.

    Args:
      vertices: about so many; None: enough for pictures of a whole camera.
    """
    printed = recipe.look not in ("plain", "bare")
    wanted = vertices or (PRINTED_VERTICES if printed else PLAIN_VERTICES)
    shape = draw(recipe.kind, [recipe.shape_seed, 1], wanted)
    colors, turns, flip = _painted(shape, recipe)
    mesh = shape.mesh
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    axial = shape.turns != 1
    centre = np.array([0.0, 0.0, (low[2] + high[2]) / 2]) if axial else (low + high) / 2
    mesh.apply_translation(-centre)
    model = object_model(recipe.name, mesh, colors, centred=False)
    mesh.apply_scale(recipe.size / model.diameter)
    declared = declaration(turns, flip)
    return ProceduralObject(recipe=recipe, declared=declared, model=object_model(
        recipe.name, mesh, colors, centred=False, symmetries=symmetry_group(declared, 1e-3)))


def _painted(shape: Shape, recipe: Recipe) -> tuple[NDArray[np.float32] | None, int, bool]:
    """Vertex colours, and what they leave of the symmetry: turns, flip."""
    inks, color = prints.inks_of(recipe.print_seed)
    rng = np.random.default_rng([recipe.print_seed, 2])
    mesh = shape.mesh
    if recipe.look == "bare":
        return None, shape.turns, shape.flip
    if recipe.look == "plain":
        colors = np.empty((len(mesh.vertices), 3), np.float32)
        colors[:] = color
        return colors, shape.turns, shape.flip
    if recipe.look == "banded":
        return prints.banded(mesh, rng, inks), shape.turns, False
    style = str(rng.choice(list(prints.PICTURES)))
    if recipe.kind in ("lump", "pipe"):
        return prints.mottled(mesh, rng, inks), 1, False
    size = np.ptp(np.asarray(mesh.vertices), axis=0)
    if shape.turned:
        half = np.pi * size[1] / 2
        halves = [prints.picture(style, half, size[2], rng, inks) for _ in range(2)]
        colors = prints.wrapped(mesh, np.concatenate(halves, 1), inks.second, margin=rng.uniform(0.04, 0.15))
        # A flat bowl has no wall that takes a picture, and stays as symmetric as it is.
        plain = bool((colors == colors[0]).all())
        return colors, shape.turns if plain else 1, shape.flip and plain
    sides = [prints.picture(style, size[across], size[up], rng, inks)
             for across, up in ((1, 2), (0, 2), (0, 1)) for _ in range(2)]
    return prints.six_sided(mesh, sides), 1, False


def declaration(turns: int, flip: bool) -> dict[str, Any]:
    """The whole finite group but identity, because readers of the format do not multiply discrete symmetries."""
    about_z = [so3_exp([0, 0, 2 * np.pi * k / turns]) for k in range(turns)] if turns != CONTINUOUS else [np.eye(3)]
    group = [turn @ f for f in ([np.eye(3), so3_exp([np.pi, 0, 0])] if flip else [np.eye(3)]) for turn in about_z]
    out: dict[str, Any] = {}
    if len(group) > 1:
        transforms = from_rotation_translation(np.stack(group[1:]), np.zeros(3))
        out["symmetries_discrete"] = [np.round(m, 12).reshape(16).tolist() for m in transforms]
    if turns == CONTINUOUS:
        out["symmetries_continuous"] = [{"axis": [0, 0, 1], "offset": [0, 0, 0]}]
    return out
