"""Meshes from the cache are those that reading the file gives."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import trimesh

from storm_core.geometry import mesh_io
from storm_core.geometry.mesh import ObjectModel
from storm_core.onboarding.model_cache import ModelCache


def same(a: ObjectModel, b: ObjectModel) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) and type(getattr(a, f.name)) is
               type(getattr(b, f.name)) for f in fields(ObjectModel))


def mesh_file(folder: Path, *, coloured: bool, length: float = 0.1) -> Path:
    mesh = trimesh.creation.box(extents=(length, 0.06, 0.04)).subdivide()
    if coloured:
        mesh.visual.vertex_colors = np.random.default_rng(0).integers(0, 255, (len(mesh.vertices), 4), dtype=np.uint8)
    file = folder / "part.ply"
    mesh.export(file)
    return file


@pytest.mark.parametrize("coloured", [True, False])
def test_the_cache_gives_what_the_file_gives_and_reads_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                               coloured: bool) -> None:
    file, cache, read = mesh_file(tmp_path, coloured=coloured), ModelCache(tmp_path / "cache"), []
    truth = mesh_io.load_model(file, unit="m", max_faces=200)
    really = mesh_io.load_model
    monkeypatch.setattr(mesh_io, "load_model", lambda *a, **k: (read.append(a), really(*a, **k))[1])
    for _ in range(3):
        assert same(cache.load(file, unit="m", max_faces=200), truth)
    assert len(read) == 1
    assert cache.load(file, name="other", unit="m", max_faces=200).name == "other" and len(read) == 1
    info = {"symmetries_discrete": [np.diag([-1.0, -1.0, 1.0, 1.0]).ravel().tolist()]}
    for changed in ({"unit": "auto"}, {"max_faces": 300}, {"info": info}):
        settings = {"unit": "m", "max_faces": 200} | changed
        assert same(cache.load(file, **settings), really(file, **settings))
    assert len(read) == 4
    mesh_file(tmp_path, coloured=coloured, length=0.2)
    assert cache.load(file, unit="m", max_faces=200).diameter > 0.2, "the file has changed"


def test_a_damaged_cache_and_files_with_textures_are_read_again(tmp_path: Path) -> None:
    file, cache = mesh_file(tmp_path, coloured=False), ModelCache(tmp_path / "cache")
    truth = cache.load(file, unit="m")
    (kept,) = (tmp_path / "cache").iterdir()
    for content in (b"", kept.read_bytes()[:100], b"nothing"):
        kept.write_bytes(content)
        assert same(cache.load(file, unit="m"), truth)
    text = file.read_bytes().replace(b"element vertex", b"comment TextureFile none.png\nelement vertex", 1)
    file.write_bytes(text)
    cache.load(file, unit="m")
    assert len(list((tmp_path / "cache").iterdir())) == 1, "its texture could change without the file"


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    file = mesh_file(tmp_path, coloured=False)
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert same(ModelCache(tmp_path / "cache").load(file, unit="m"), mesh_io.load_model(file, unit="m"))
