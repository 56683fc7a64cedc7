"""Procedural objects: closed, outward, dense, seeded; their files load as the same objects."""

import json

import numpy as np
import pytest
import trimesh

from storm_core.geometry.mesh_io import load_models
from storm_core.simulation import shapes
from storm_core.simulation.objects import CATALOG, bop_id, make_object, write_models


@pytest.mark.parametrize("name", CATALOG)
def test_meshes_are_closed_and_face_outward(name):
    model = make_object(name)
    whole = trimesh.Trimesh(model.vertices.astype(float), model.faces, process=False)
    for part in whole.split(only_watertight=False):
        assert part.is_watertight and part.is_winding_consistent
        assert part.volume > 0
    if model.colors is not None and name != "tea_tin":
        assert len(model.faces) >= 8000


@pytest.mark.parametrize("name", CATALOG)
def test_diameter_is_the_largest_distance(name):
    model = make_object(name)
    some = model.vertices[:: max(1, len(model.vertices) // 400)].astype(float)
    assert np.linalg.norm(some[:, None] - some[None], axis=-1).max() <= model.diameter + 1e-6
    assert model.size.max() <= model.diameter + 1e-6 <= np.linalg.norm(model.size) + 1e-5


def test_the_seed_decides_the_print():
    first, again, other = make_object("cereal_box", 3), make_object("cereal_box", 3), make_object("cereal_box", 4)
    assert first.sha256 == again.sha256 and np.array_equal(first.colors, again.colors)
    assert other.sha256 != first.sha256
    assert np.array_equal(first.vertices, other.vertices)


def test_no_half_turn_maps_the_print_onto_itself():
    model = make_object("cereal_box")
    colors = {tuple(np.round(v * 1e5).astype(int)): c.astype(float)
              for v, c in zip(model.vertices, model.colors, strict=True)}
    for flip in ([-1, -1, 1], [-1, 1, -1], [1, -1, -1]):
        turned = [colors[tuple(np.round(v * flip * 1e5).astype(int))] for v in model.vertices]
        assert np.abs(np.array(turned) - model.colors).mean() > 25


def test_volume_of_constructed_shapes():
    box = shapes.box((0.1, 0.2, 0.3), 0.013)
    assert box.volume == pytest.approx(0.006) and box.area == pytest.approx(2 * (0.02 + 0.03 + 0.06))
    assert shapes.revolve([(0, 0), (0.05, 0), (0.05, 0.2), (0, 0.2)], 0.001).volume == pytest.approx(
        np.pi * 0.05**2 * 0.2, rel=1e-3)
    assert shapes.tube(np.linspace((0, 0, 0), (0.1, 0, 0), 5), 0.01, 0.0005).volume == pytest.approx(
        np.pi * 0.01**2 * 0.1, rel=5e-3)
    bracket = make_object("bracket")
    mesh = trimesh.Trimesh(bracket.vertices.astype(float), bracket.faces, process=False)
    assert mesh.volume == pytest.approx(0.036 * (0.090 * 0.010 + 0.014 * 0.060), rel=1e-6)


def test_models_folder_loads_as_the_same_objects(tmp_path):
    made = [make_object(name) for name in ("cereal_box", "bracket")]
    write_models(tmp_path, made)
    loaded = load_models(tmp_path, ["cereal_box", "bracket"])
    for model in made:
        again = loaded[model.name]
        assert again.diameter == pytest.approx(model.diameter, rel=1e-4)
        assert np.allclose(again.size, model.size, rtol=0.02)
        assert (again.colors is None) == (model.colors is None)
        assert not [w for w in again.warnings if "watertight" in w]
    info = json.loads((tmp_path / "models_info.json").read_text())
    assert info[str(bop_id("cereal_box"))]["name"] == "cereal_box"
    assert info[str(bop_id("cereal_box"))]["size_z"] == pytest.approx(142.0, abs=1e-3)
