"""Procedural objects: closed, of sensible size, seeded, and exactly as symmetric as they declare."""

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from storm_core.geometry.pose import angle_between, so3_exp, transform
from storm_core.simulation.families import FAMILIES
from storm_core.simulation.procedural import (
    LARGEST,
    SMALLEST,
    Recipe,
    build,
    other_print,
    other_shape,
    procedural_object,
    random_recipe,
)

LOOKS = ("print", "plain", "banded")
CASES = [(kind, look) for kind in FAMILIES for look in LOOKS if look != "banded" or kind in ("can", "bottle", "vessel")]


@pytest.fixture(scope="module")
def made():
    """One object of every family and look."""
    return {(kind, look): build(Recipe(shape_seed=40 + k, print_seed=40 + k, kind=kind, look=look, size=0.12))
            for k, (kind, look) in enumerate(CASES)}


def mismatch(model, turn):
    """Share of the surface that a turn brings onto another place or colour: further than mesh edges, or 40 counts.

    A vertex is compared with the best of its nearest neighbours: meshes are not as symmetric as the surface they stand
    for, so at the border of two colours the nearest vertex may lie on the other side.
    """
    v = model.vertices.astype(float)
    some = np.random.default_rng(0).permutation(len(v))[:1500]
    near, who = cKDTree(v).query(transform(turn, v[some]), k=6)
    edge = np.linalg.norm(v[model.faces[:, 0]] - v[model.faces[:, 1]], axis=1).mean()
    apart = near[:, 0] > max(0.012 * model.diameter, edge)
    c = model.colors.astype(float)
    colored = np.abs(c[who] - c[some, None]).max(-1).min(-1) > 40
    return float((apart | colored).mean())


@pytest.mark.parametrize(("kind", "look"), CASES)
def test_declared_symmetries_leave_the_textured_surface_unchanged(made, kind, look):
    model = made[kind, look].model
    assert np.array_equal(model.symmetries[0], np.eye(4))
    for turn in model.symmetries[1::max(1, len(model.symmetries) // 9)]:
        assert mismatch(model, turn) < 0.01


@pytest.mark.parametrize(("kind", "look"), CASES)
def test_no_other_turn_does(made, kind, look):
    """Quarter, third and sixth turns about the axes that are not declared change form or colours visibly."""
    model = made[kind, look].model
    turns = [so3_exp(np.radians(angle) * np.eye(3)[axis]) for axis in range(3)
             for angle in (60, 90, 120, 180, 240, 270)]
    for turn in turns:
        pose = np.eye(4)
        pose[:3, :3] = turn
        if angle_between(model.symmetries, pose).min() > np.radians(2.6):
            assert mismatch(model, pose) > 0.03


@pytest.mark.parametrize(("kind", "look"), CASES)
def test_meshes_are_closed_outward_and_of_the_asked_size(made, kind, look):
    model = made[kind, look].model
    whole = trimesh.Trimesh(model.vertices.astype(float), model.faces, process=False)
    for part in whole.split(only_watertight=False):
        assert part.is_watertight and part.is_winding_consistent and part.volume > 0
    assert 2000 <= len(model.vertices) <= 20000
    assert model.diameter == pytest.approx(0.12, rel=1e-5)


def test_the_seed_decides_everything():
    assert procedural_object(5).sha256 == procedural_object(5).sha256
    recipes = [random_recipe(seed) for seed in range(200)]
    assert len(set(recipes)) == 200
    assert {r.kind for r in recipes} == set(FAMILIES)
    assert {r.look for r in recipes} == {"print", "banded", "plain", "bare"}
    sizes = np.array([r.size for r in recipes])
    assert sizes.min() >= SMALLEST and sizes.max() <= LARGEST and sizes.max() > 4 * sizes.min()


def test_look_alikes_share_form_or_print():
    common = []
    for seed in range(3, 7):
        recipe = random_recipe(seed, kinds=("can", "box"), looks=("print",))
        twins = other_print(recipe, 9), other_shape(recipe, 9, kinds=("can", "box", "plate"))
        model, print_twin, shape_twin = (build(r).model for r in (recipe, *twins))
        assert np.array_equal(model.vertices, print_twin.vertices)
        assert np.abs(model.colors.astype(float) - print_twin.colors).mean() > 20
        assert twins[1].kind != recipe.kind
        inks, others, again = (np.histogramdd(m.colors, bins=5, range=[(0, 255)] * 3)[0] / len(m.colors)
                               for m in (model, print_twin, shape_twin))
        common.append((np.minimum(inks, again).sum(), np.minimum(inks, others).sum()))
    same, different = np.mean(common, 0)
    assert same > different + 0.2


def test_a_plain_object_has_one_color_and_a_bare_one_none():
    plain, bare = (build(Recipe(shape_seed=1, print_seed=1, kind="gear", look=look, size=0.1)).model
                   for look in ("plain", "bare"))
    assert len(np.unique(plain.colors, axis=0)) == 1
    assert bare.colors is None
    assert np.array_equal(plain.symmetries, bare.symmetries) and len(plain.symmetries) > 8


def test_a_bowl_without_a_wall_takes_no_picture_and_stays_round():
    flat = build(random_recipe(700_000_074, size=(0.05, 0.25)))
    assert flat.recipe.kind == "vessel" and flat.recipe.look == "print"
    assert (flat.model.colors == flat.model.colors[0]).all() and "symmetries_continuous" in flat.declared
