"""The objects of a benchmark: procedural ones for every stratum with their look-alikes, or the user's own meshes.

Objects of the splits train, val and test come from disjoint ranges of seeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from storm_core.bop.dataset import read_models_info
from storm_core.errors import ConfigError
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.mesh_io import load_models
from storm_core.simulation import prints
from storm_core.simulation.families import FAMILIES
from storm_core.simulation.procedural import Recipe, build, other_print, other_shape, random_recipe

SPLITS = ("train", "val", "test")
_SEEDS_PER_SPLIT = 10**7
_SEEDS_PER_BENCHMARK = 1000
_FIRST_PROP = 10**6
_CLEAR = 0.35
"""Two plain colours are different objects to a camera when one channel differs by more."""

_PRINTED = tuple(kind for kind in FAMILIES if kind not in ("lump", "pipe"))
_Roles = Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[float, float], int]]
_ROLES: _Roles = {
    "textured": (("box", "can", "bottle", "mug", "assembly", "polygon", "rounded_block"), ("print",), (0.09, 0.20), 4),
    "textureless": (("mug", "assembly", "pebble", "bracket"), ("plain",), (0.08, 0.18), 2),
    "bare": (("assembly", "bracket", "pipe", "pebble"), ("bare",), (0.08, 0.18), 2),
    "thin": (("plate", "pipe"), ("print",), (0.09, 0.20), 2),
    "small": (("box", "fastener", "rounded_block", "assembly", "gear"), ("print",), (0.04, 0.055), 2),
    "continuous": (("can", "bottle", "vessel", "ring"), ("banded", "plain"), (0.08, 0.18), 2),
    "discrete": (("box", "polygon", "gear", "rounded_block"), ("plain",), (0.08, 0.18), 2)}
"""Axis value `object` -> kinds, looks, diameters [m], how many."""
_SYMMETRIC: _Roles = {
    "cylinder": (("can",), ("banded", "plain"), (0.08, 0.18), 2), "box": (("box",), ("plain",), (0.08, 0.18), 2),
    "bowl": (("vessel",), ("banded", "plain"), (0.08, 0.18), 2)}
"""The same for the suite `symmetric`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PoolObject:
    """One object of a benchmark.

    Attributes:
      declared: symmetries_discrete and symmetries_continuous [mm] of models_info.json.
      role: value of the axis `object`, `same_shape` or `same_print` for look-alikes, `user` for given meshes, `prop`.
      recipe: None for given meshes.
    """

    obj_id: int
    role: str
    model: ObjectModel
    declared: Mapping[str, Any]
    recipe: Recipe | None


@dataclass
class Pool:
    """Objects by BOP id, made when they are first asked for. Ids depend on neither count nor strata.

    Attributes:
      targets: role -> ids of the objects that scenes are about.
      props: ids of objects that stand beside the user's meshes; they are neither annotated nor written.
    """

    targets: dict[str, tuple[int, ...]]
    props: tuple[int, ...] = ()
    _recipes: dict[int, tuple[str, Recipe]] = field(default_factory=dict)
    _made: dict[int, PoolObject] = field(default_factory=dict)

    def __getitem__(self, obj_id: int) -> PoolObject:
        if obj_id not in self._made:
            role, recipe = self._recipes[obj_id]
            made = build(recipe)
            self._made[obj_id] = PoolObject(obj_id=obj_id, role=role, model=made.model, declared=made.declared,
                                            recipe=recipe)
        return self._made[obj_id]

    def seeds(self) -> set[int]:
        """All seeds of its procedural objects."""
        return {seed for _, recipe in self._recipes.values() for seed in (recipe.shape_seed, recipe.print_seed)}

    def look_alike(self, obj_id: int, role: str) -> int:
        """Id of the `same_shape` or `same_print` twin of a procedural target."""
        return obj_id + (1 if role == "same_shape" else 2)


def procedural_pool(split: str, seed: int, *, symmetric: bool = False) -> Pool:
    """Targets of every role, each followed by its two look-alikes.

    Args:
      split: its seeds are used by no other split. seed: of the benchmark. symmetric: of the suite `symmetric`.
    """
    roles = _SYMMETRIC if symmetric else _ROLES
    if split not in SPLITS:
        raise ConfigError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    if not 0 <= seed < _SEEDS_PER_SPLIT // _SEEDS_PER_BENCHMARK:
        raise ConfigError(f"--seed must be between 0 and {_SEEDS_PER_SPLIT // _SEEDS_PER_BENCHMARK - 1}, got {seed}")
    at = SPLITS.index(split) * _SEEDS_PER_SPLIT + seed * _SEEDS_PER_BENCHMARK
    recipes: dict[int, tuple[str, Recipe]] = {}
    targets: dict[str, tuple[int, ...]] = {}
    for role, (kinds, looks, size, count) in roles.items():
        # Neighbours in a role are of different kinds.
        order = np.random.default_rng([at, len(recipes)]).permutation(kinds)
        ids = []
        for k in range(count):
            number = len(recipes) + 1
            recipe = random_recipe(at + 10 * number, kinds=(str(order[k % len(order)]),), looks=looks, size=size)
            recipes[number] = role, recipe
            recipes[number + 1] = "same_shape", _repainted(recipe, at + 10 * number + 1)
            recipes[number + 2] = "same_print", other_shape(recipe, at + 10 * number + 9, kinds=_PRINTED)
            ids.append(number)
        targets[role] = tuple(ids)
    return Pool(targets=targets, _recipes=recipes)


def user_pool(folder: Path | str, split: str, seed: int, unit: str = "auto") -> Pool:
    """The meshes of a folder under their BOP ids, or numbered from 1, among props of the split and seed.

    Raises:
      MeshError: there are none, or one is damaged.
    """
    models = load_models(folder, unit=unit, max_faces=20_000)
    infos = read_models_info(Path(folder).expanduser()) if Path(folder).expanduser().is_dir() else {}
    made = {}
    for number, (name, model) in enumerate(models.items(), start=1):
        obj_id = int(name) if name.isdigit() else number
        entry = infos.get(obj_id, {}) if name.isdigit() else {}
        declared = {key: entry[key] for key in ("symmetries_discrete", "symmetries_continuous") if key in entry}
        made[obj_id] = PoolObject(obj_id=obj_id, role="user", model=model, declared=declared, recipe=None)
    props = {_FIRST_PROP + k: ("prop", recipe) for k, (role, recipe) in procedural_pool(split, seed)._recipes.items()
             if role in _ROLES}
    return Pool(targets={"user": tuple(made)}, props=tuple(props), _recipes=props, _made=made)


def _repainted(recipe: Recipe, seed: int) -> Recipe:
    """The same shape in clearly other colours; a bare object, which has none, becomes a plain one."""
    if recipe.look == "bare":
        return Recipe(shape_seed=recipe.shape_seed, print_seed=seed, kind=recipe.kind, look="plain", size=recipe.size)
    for k in range(8):
        other = other_print(recipe, seed + k)
        if recipe.look != "plain" or np.abs(np.subtract(_plain(recipe), _plain(other))).max() > _CLEAR:
            break
    return other


def _plain(recipe: Recipe) -> prints.Color:
    return prints.inks_of(recipe.print_seed)[1]
