"""Loading CAD models: units, checks, selection, colours, simplification."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.spatial import cKDTree

from storm_core.errors import MeshError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.mesh_io import load_model, load_models
from storm_core.geometry.pose import from_rotation_translation, so3_exp
from storm_core.geometry.surface import points_at, sample
from storm_core.rendering.raster import NumbaRenderer
from test.real_data import real_data


def write(path: Path, extents: tuple[float, float, float] = (0.08, 0.12, 0.05),
          mesh: trimesh.Trimesh | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (mesh or trimesh.creation.box(extents=extents)).export(path)
    return path


def bop_folder(folder: Path, infos: dict[str, dict], scale: float = 1000.0) -> Path:
    for key in infos:
        write(folder / f"obj_{int(key):06d}.ply", tuple(scale * e for e in (0.08, 0.12, 0.05)))
    (folder / "models_info.json").write_text(json.dumps(infos))
    return folder


def volume(model: ObjectModel) -> float:
    return float(trimesh.Trimesh(model.vertices, model.faces, process=False).volume)


# Units.

@pytest.mark.parametrize("unit, metres", [("m", 1.0), ("mm", 1e-3), ("cm", 1e-2), ("in", 0.0254)])
@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl", ".off", ".glb"])
def test_every_format_in_every_unit_gives_metres(tmp_path: Path, unit: str, metres: float, suffix: str) -> None:
    path = write(tmp_path / f"box{suffix}", tuple(e / metres for e in (0.08, 0.12, 0.05)))
    model = load_model(path, unit=unit)
    assert np.allclose(model.size, [0.08, 0.12, 0.05], atol=1e-6)
    assert model.diameter == pytest.approx(np.linalg.norm([0.08, 0.12, 0.05]), rel=1e-6)
    assert volume(model) == pytest.approx(0.08 * 0.12 * 0.05, rel=1e-5)
    assert model.colors is None and model.name == "box"


def test_bop_models_are_in_millimetres(tmp_path: Path) -> None:
    models = load_models(bop_folder(tmp_path, {"1": {"diameter": 152.6}, "7": {"diameter": 152.6}}))
    assert list(models) == ["1", "7"] and np.allclose(models["7"].size, [0.08, 0.12, 0.05], atol=1e-6)


def test_plain_meshes_have_their_unit_guessed_with_a_warning(tmp_path: Path) -> None:
    for scale in (1.0, 1000.0):
        model = load_model(write(tmp_path / "box.ply", (0.08 * scale, 0.12 * scale, 0.05 * scale)))
        assert model.diameter == pytest.approx(0.1526, abs=1e-3)
        assert any("mesh_unit" in warning for warning in model.warnings)


def test_glb_is_in_metres_without_guessing(tmp_path: Path) -> None:
    assert not any("unit" in warning for warning in load_model(write(tmp_path / "box.glb")).warnings)


@pytest.mark.parametrize("extents, unit, word", [
    ((80.0, 120.0, 50.0), "m", r"mesh_unit to mm"),
    ((0.08, 0.12, 0.05), "mm", r"mesh_unit to m \("),
    ((5.0, 7.0, 4.0), "auto", r"cannot be guessed.*cm.*in"),
    ((1e5, 1e5, 1e5), "m", "scale the mesh"),
])
def test_wrong_scale_names_the_unit_that_fits(tmp_path: Path, extents: tuple, unit: str, word: str) -> None:
    with pytest.raises(MeshError, match=word):
        load_model(write(tmp_path / "box.ply", extents), unit=unit)


def test_millimetre_mesh_declared_as_metres_is_refused_by_its_own_models_info(tmp_path: Path) -> None:
    folder = bop_folder(tmp_path, {"1": {"diameter": 1526.0}})
    with pytest.raises(MeshError, match=r"models_info\.json says 1\.526 m"):
        load_models(folder)


def test_unknown_unit(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="'parsec' is unknown"):
        load_model(write(tmp_path / "box.ply"), unit="parsec")


# Selection.

def test_objects_are_selected_by_id_padded_id_name_or_stem(tmp_path: Path) -> None:
    folder = bop_folder(tmp_path, {"1": {"name": "mug"}, "12": {}})
    write(folder / "extra.stl", (80.0, 120.0, 50.0))
    models = load_models(folder, ["mug", "000012", "extra"])
    assert list(models) == ["mug", "000012", "extra"] and models["mug"].name == "mug"
    assert list(load_models(folder)) == ["1", "12"], "files outside models_info.json are loaded only by name"


def test_unknown_object_lists_those_there(tmp_path: Path) -> None:
    folder = bop_folder(tmp_path, {"1": {"name": "mug"}})
    with pytest.raises(MeshError, match=r"no object 'cup' .* 1 \(mug\)"):
        load_models(folder, ["cup"])


def test_one_mesh_under_two_names_is_refused(tmp_path: Path) -> None:
    folder = bop_folder(tmp_path, {"1": {"name": "mug"}})
    with pytest.raises(MeshError, match="same mesh"):
        load_models(folder, ["1", "mug"])


def test_a_mesh_file_can_stand_for_the_folder(tmp_path: Path) -> None:
    assert list(load_models(write(tmp_path / "box.stl"))) == ["box"]


# Broken files.

def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="does not exist"):
        load_models(tmp_path / "none")
    with pytest.raises(MeshError, match="no meshes in"):
        load_models(tmp_path)
    with pytest.raises(MeshError, match="does not exist"):
        load_model(tmp_path / "box.ply")
    with pytest.raises(MeshError, match="unknown mesh format"):
        load_model(tmp_path / "box.step")


PLY = "ply\nformat ascii 1.0\nelement vertex {v}\nproperty float x\nproperty float y\nproperty float z\n" \
      "element face {f}\nproperty list uchar int vertex_indices\nend_header\n{body}"


@pytest.mark.parametrize("v, f, body, word", [
    (0, 0, "", "triangles|cannot read"),
    (3, 0, "0 0 0\n1 0 0\n0 1 0\n", "triangles"),
    (3, 1, "0 0 0\n0.1 0 0\nnan 0.1 0\n3 0 1 2\n", "finite"),
    (3, 1, "0 0 0\n0.1 0 0\n0.2 0 0\n3 0 1 2\n", "degenerate"),
    (3, 1, "0.1 0 0\n0.1 0 0\n0.1 0 0\n3 0 1 2\n", "degenerate"),
    (3, 1, "0 0 0\n0.1 0 0\n0 0.1 0\n3 0 1 9\n", "damaged|cannot read"),
])
def test_unusable_content_is_named(tmp_path: Path, v: int, f: int, body: str, word: str) -> None:
    path = tmp_path / "bad.ply"
    path.write_text(PLY.format(v=v, f=f, body=body))
    with pytest.raises(MeshError, match=word):
        load_model(path, unit="m")


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl", ".off", ".glb"])
@pytest.mark.parametrize("keep", [0.0, 0.4])
def test_truncated_files_and_noise_raise_mesh_errors_only(tmp_path: Path, suffix: str, keep: float) -> None:
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=0.1)
    path = write(tmp_path / f"cut{suffix}", mesh=mesh)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))] if keep else b"\x00\xff not a mesh" * 20)
    try:
        model = load_model(path, unit="m")
    except MeshError as error:
        assert str(path) in str(error)
    else:
        assert keep and len(model.faces) > 0  # text formats are readable up to the cut


def test_damaged_models_info(tmp_path: Path) -> None:
    folder = bop_folder(tmp_path, {"1": {}})
    (folder / "models_info.json").write_text("{")
    with pytest.raises(MeshError, match=r"models_info\.json"):
        load_models(folder)


@pytest.mark.parametrize(("entry", "complaint"), [
    ({"diameter": None}, "diameter must be a length in mm, got None"), ({"diameter": "x"}, "got 'x'"),
    ({"diameter": -3.0}, "got -3.0"), ({"symmetries_discrete": None}, "symmetries_discrete must be a list, got None"),
    ({"symmetries_discrete": [["z"] * 16]}, "16 finite numbers"),
    ({"symmetries_continuous": "z"}, "symmetries_continuous must be a list, got 'z'"),
])
def test_wrong_values_in_models_info_are_named(tmp_path: Path, entry: dict, complaint: str) -> None:
    folder = bop_folder(tmp_path, {"1": entry})
    with pytest.raises(MeshError, match=rf"models_info\.json, obj_000001: .*{complaint}"):
        load_models(folder)


def test_a_byte_order_mark_is_no_damage(tmp_path: Path) -> None:
    folder = bop_folder(tmp_path, {"1": {"name": "box"}})
    (folder / "models_info.json").write_text((folder / "models_info.json").read_text(), encoding="utf-8-sig")
    assert list(load_models(folder, ["box"])) == ["box"]


def test_warnings_for_holes_far_origin_and_no_colour(tmp_path: Path) -> None:
    mesh = trimesh.creation.box(extents=(0.1, 0.1, 0.1))
    mesh.update_faces(np.arange(12) > 1)
    mesh.apply_translation((2.0, 0, 0))
    text = " ".join(load_model(write(tmp_path / "open.ply", mesh=mesh), unit="m").warnings)
    assert "watertight" in text and "origin" in text and "no colour" in text
    assert "watertight" not in " ".join(load_model(write(tmp_path / "box.ply"), unit="m").warnings)


# Geometry.

def test_inconsistent_winding_is_repaired(tmp_path: Path) -> None:
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=0.1)
    faces = mesh.faces.copy()
    flipped = np.random.default_rng(1).random(len(faces)) < 0.4
    faces[flipped] = faces[flipped][:, ::-1]
    path = write(tmp_path / "ball.ply", mesh=trimesh.Trimesh(mesh.vertices, faces, process=False))
    assert volume(load_model(path, unit="m")) == pytest.approx(mesh.volume, rel=1e-4)


def test_inside_out_pieces_are_turned_but_cavities_stay(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.1)
    hole = trimesh.creation.icosphere(subdivisions=2, radius=0.05)
    hole.invert()
    beside = trimesh.creation.box(extents=(0.05, 0.05, 0.05))
    beside.apply_translation((0.3, 0, 0))
    wanted = ball.volume + hole.volume + beside.volume
    beside.invert()
    path = write(tmp_path / "pieces.ply", mesh=trimesh.util.concatenate([ball, hole, beside]))
    assert volume(load_model(path, unit="m")) == pytest.approx(wanted, rel=1e-4)


def surface_distance(a: ObjectModel, b: trimesh.Trimesh) -> float:
    """Largest distance of points of either surface to the other [m], plus the spacing of the samples."""
    first = points_at(a.vertices.astype(float), a.faces.astype(int), *sample(a.vertices, a.faces, 30000))
    second = points_at(b.vertices, b.faces, *sample(b.vertices, b.faces, 30000))
    return max(cKDTree(first).query(second)[0].max(), cKDTree(second).query(first)[0].max())


@pytest.mark.parametrize("shape", ["cube", "cylinder", "plate", "shell"])
def test_simplified_mesh_stays_within_one_percent(tmp_path: Path, shape: str) -> None:
    mesh = {
        "cube": lambda: trimesh.creation.box(extents=(0.1, 0.1, 0.1)).subdivide_to_size(0.003),
        "cylinder": lambda: trimesh.creation.cylinder(0.04, 0.12, sections=200).subdivide_to_size(0.004),
        "plate": lambda: trimesh.creation.box(extents=(0.12, 0.1, 0.002)).subdivide_to_size(0.0025),
        "shell": lambda: trimesh.creation.annulus(0.047, 0.05, 0.1, sections=120).subdivide_to_size(0.004),
    }[shape]()
    mesh.apply_transform(trimesh.transformations.rotation_matrix(0.7, (1, 2, 3)))
    model = load_model(write(tmp_path / "fine.ply", mesh=mesh), unit="m", max_faces=4000)
    assert 1500 < len(model.faces) <= 4000 < len(mesh.faces)
    diameter = np.linalg.norm(np.ptp(mesh.bounds, axis=0))
    spacing = np.sqrt(mesh.area / 30000)
    assert surface_distance(model, mesh) < 0.01 * diameter + 1.5 * spacing
    assert volume(model) == pytest.approx(mesh.volume, rel=0.06 if shape in ("plate", "shell") else 0.01)


def test_cube_keeps_its_corners_exactly(tmp_path: Path) -> None:
    mesh = trimesh.creation.box(extents=(0.1, 0.1, 0.1)).subdivide_to_size(0.003)
    model = load_model(write(tmp_path / "cube.ply", mesh=mesh), unit="m", max_faces=2000)
    corners = np.array(np.meshgrid(*[[-0.05, 0.05]] * 3)).reshape(3, -1).T
    assert cKDTree(model.vertices).query(corners)[0].max() < 1e-4
    assert np.abs(np.abs(model.vertices).max(1) - 0.05).max() < 1e-4, "every vertex lies on the surface of the cube"


def test_small_untextured_meshes_are_left_alone_and_max_faces_is_obeyed(tmp_path: Path) -> None:
    path = write(tmp_path / "ball.ply", mesh=trimesh.creation.icosphere(subdivisions=3, radius=0.1))
    assert len(load_model(path, unit="m").faces) == 1280
    assert 150 < len(load_model(path, unit="m", max_faces=300).faces) <= 300


def test_evaluation_vertices_are_those_of_the_full_mesh(tmp_path: Path) -> None:
    mesh = trimesh.creation.icosphere(subdivisions=5, radius=0.1)
    model = load_model(write(tmp_path / "ball.ply", mesh=mesh), unit="m", max_faces=300)
    assert len(model.eval_vertices) == len(mesh.vertices) and model.eval_vertices.dtype == np.float64
    assert model.diameter == pytest.approx(0.2, rel=1e-4)
    many = trimesh.creation.icosphere(subdivisions=6, radius=0.1)
    assert len(load_model(write(tmp_path / "many.ply", mesh=many), unit="m", max_faces=300).eval_vertices) == 20000


# Colour.

def textured_box(folder: Path, texture: Image.Image, suffix: str = ".obj") -> Path:
    """A 12-face box whose side +z shows the whole texture; the other sides show its lower left texel."""
    box = trimesh.creation.box(extents=(0.1, 0.1, 0.1))
    vertices, faces = box.vertices[box.faces.reshape(-1)], np.arange(36).reshape(-1, 3)
    uv = np.zeros((36, 2))
    top = np.repeat(box.face_normals[:, 2] > 0.5, 3)
    uv[top] = (vertices[top][:, :2] + 0.05) / 0.1
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=texture) if suffix == ".glb" else None
    visual = trimesh.visual.TextureVisuals(uv=uv, image=texture, material=material)
    return write(folder / f"box{suffix}", mesh=trimesh.Trimesh(vertices, faces, visual=visual, process=False))


@pytest.mark.parametrize("suffix", [".obj", ".glb"])
def test_texture_of_a_low_poly_box_survives(tmp_path: Path, suffix: str) -> None:
    pixels = np.full((64, 64, 3), 30, np.uint8)
    pixels[:32, 32:] = (220, 40, 60)  # image rows run downwards: this is x > 0, y > 0
    pixels[32:, :32] = (40, 200, 90)
    model = load_model(textured_box(tmp_path, Image.fromarray(pixels), suffix), unit="m", max_faces=4000)
    assert 2000 < len(model.faces) <= 4000
    top = model.vertices[:, 2] > 0.0499
    inner = np.abs(model.vertices[:, :2]).max(1) < 0.045
    clear = (np.abs(model.vertices[:, :2]).min(1) > 0.006) & top & inner
    x, y = model.vertices[clear, 0] > 0, model.vertices[clear, 1] > 0
    expected = np.where((x & y)[:, None], (220, 40, 60), np.where((~x & ~y)[:, None], (40, 200, 90), (30, 30, 30)))
    assert clear.sum() > 100 and np.abs(model.colors[clear].astype(int) - expected).max() <= 3


def test_fine_texture_is_averaged_not_picked(tmp_path: Path) -> None:
    checker = ((np.indices((512, 512)).sum(0) % 2) * 255).astype(np.uint8)
    model = load_model(textured_box(tmp_path, Image.fromarray(np.repeat(checker[..., None], 3, 2))), unit="m")
    top = (model.vertices[:, 2] > 0.0499) & (np.abs(model.vertices[:, :2]).max(1) < 0.045)
    assert np.abs(model.colors[top].astype(float).mean() - 127.5) < 6 and model.colors[top].std() < 30


def test_vertex_and_face_colours(tmp_path: Path) -> None:
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=0.1)
    red_up = np.where(mesh.vertices[:, 2:] > 0, (200, 10, 10, 255), (10, 10, 200, 255)).astype(np.uint8)
    mesh.visual.vertex_colors = red_up
    model = load_model(write(tmp_path / "ball.ply", mesh=mesh), unit="m")
    up, down = model.vertices[:, 2] > 0.03, model.vertices[:, 2] < -0.03
    assert np.abs(model.colors[up].astype(int) - (200, 10, 10)).max() < 8
    assert np.abs(model.colors[down].astype(int) - (10, 10, 200)).max() < 8


@pytest.mark.parametrize("inside_out", [False, True])
def test_thin_sheet_keeps_the_colours_of_its_sides_apart(tmp_path: Path, inside_out: bool) -> None:
    mesh = trimesh.creation.box(extents=(0.1, 0.1, 0.001)).subdivide_to_size(0.004)
    colors = np.where(mesh.vertices[:, 2:] > 0, (200, 10, 10, 255), (10, 10, 200, 255)).astype(np.uint8)
    mesh.visual.vertex_colors = colors
    if inside_out:
        mesh.faces = mesh.faces[:, ::-1]
    model = load_model(write(tmp_path / "sheet.ply", mesh=mesh), unit="m")
    inner = np.abs(model.vertices[:, :2]).max(1) < 0.04
    up, down = inner & (model.vertices[:, 2] > 0), inner & (model.vertices[:, 2] < 0)
    assert up.any() and down.any()
    assert model.colors[up, 0].min() > 150 and model.colors[down, 2].min() > 150


def test_the_file_with_texture_is_preferred_and_a_missing_texture_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    textured_box(folder, Image.new("RGB", (8, 8), (200, 30, 40)))
    write(folder / "box.ply", (0.1, 0.1, 0.1))
    assert load_models(folder, unit="m")["box"].colors is not None
    for image in [*folder.glob("*.png"), *folder.glob("*.jpg")]:
        image.unlink()
    assert load_models(folder, unit="m")["box"].colors is None
    assert any("does not exist" in w for w in load_model(folder / "box.obj", unit="m").warnings)


def test_glb_tint_multiplies_its_texture(tmp_path: Path) -> None:
    box = trimesh.creation.box(extents=(0.1, 0.1, 0.1))
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.new("RGB", (4, 4), (200, 100, 50)),
                                                   baseColorFactor=[0.5, 1.0, 0.2, 1.0])
    box.visual = trimesh.visual.TextureVisuals(uv=np.zeros((8, 2)), material=material)
    model = load_model(write(tmp_path / "box.glb", mesh=box))
    assert np.abs(model.colors.astype(int) - (100, 100, 10)).max() <= 2


def test_collapsed_faces_do_not_stretch_the_object(tmp_path: Path) -> None:
    box = trimesh.creation.box(extents=(0.1, 0.1, 0.1))
    vertices, faces = np.vstack([box.vertices, [[0, 0, 0.4]]]), np.vstack([box.faces, [[0, 8, 8]]])
    spike = trimesh.Trimesh(vertices, faces, process=False)
    model = load_model(write(tmp_path / "spike.ply", mesh=spike), unit="m")
    assert model.diameter == pytest.approx(0.1 * np.sqrt(3)) and np.allclose(model.size, 0.1)


def test_bop_ply_with_texture_file(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (20, 180, 240)).save(tmp_path / "obj_000001.png")
    box = trimesh.creation.box(extents=(80.0, 120.0, 50.0))
    vertices = "\n".join(f"{x} {y} {z} 0.5 0.5" for x, y, z in box.vertices)
    faces = "\n".join(f"3 {a} {b} {c}" for a, b, c in box.faces)
    (tmp_path / "obj_000001.ply").write_text(
        "ply\nformat ascii 1.0\ncomment TextureFile obj_000001.png\nelement vertex 8\nproperty float x\n"
        "property float y\nproperty float z\nproperty float texture_u\nproperty float texture_v\nelement face 12\n"
        f"property list uchar int vertex_indices\nend_header\n{vertices}\n{faces}\n")
    model = load_models(tmp_path)["1"]
    assert model.colors is not None and np.abs(model.colors.astype(int) - (20, 180, 240)).max() <= 1


# Identity.

def test_hash_follows_content(tmp_path: Path) -> None:
    path = write(tmp_path / "box.ply")
    first = load_model(path, unit="m")
    assert load_model(path, unit="m", name="other").sha256 == first.sha256
    half_turn = np.diag([-1.0, -1, 1, 1]).reshape(-1).tolist()
    assert load_model(path, unit="m", info={"symmetries_discrete": [half_turn]}).sha256 != first.sha256
    assert load_model(write(path, (0.08, 0.12, 0.051)), unit="m").sha256 != first.sha256


# Real files.

@pytest.mark.parametrize("folder, name, size, colored", [
    ("visp_rbt", "1", (0.0845, 0.0845, 0.0845), True),
    ("ycb_models", "003_cracker_box", (0.0718, 0.1640, 0.2134), True),
    ("ycb_models", "15", None, False),
    ("cad_meshes", "fuze", None, True),
    ("visp_castle_sim", "1", (0.1854, 0.1510, 0.1730), False),
])
def test_real_models(folder: str, name: str, size: tuple | None, colored: bool) -> None:
    model = load_models(real_data(f"{folder}/models"), [name])[name]
    assert len(model.faces) <= 4000 and (model.colors is not None) == colored
    assert size is None or np.allclose(model.size, size, atol=0.002)
    if colored:
        assert model.colors.std(0).max() > 20, "the texture has contrast"


def test_real_cube_stays_a_cube() -> None:
    model = load_models(real_data("visp_rbt/models"), ["1"])["1"]
    corners = np.array(np.meshgrid(*[[-0.04225, 0.04225]] * 3)).reshape(3, -1).T
    assert cKDTree(model.vertices).query(corners)[0].max() < 0.002 * model.diameter
    assert np.abs(np.abs(model.vertices).max(1) - 0.04225).max() < 0.002 * model.diameter


def test_a_large_plain_part_close_to_the_camera_is_drawn(tmp_path: Path) -> None:
    """A board of 2 m in 12 faces; one end of it lies behind the camera."""
    board = load_model(write(tmp_path / "board.stl", (2.0, 1.0, 0.02)), unit="m")
    camera = PinholeCamera(160, 120, 150.0, 150.0, 79.5, 59.5)
    tilted = from_rotation_translation(so3_exp(np.array([0.0, 0.5, 0.0])), np.array([0.0, 0.0, 0.35]))
    small = trimesh.creation.box(extents=(2.0, 1.0, 0.02)).subdivide_to_size(0.03)
    fine = load_model(write(tmp_path / "fine.stl", mesh=small), unit="m", max_faces=40_000)
    drawn, truth = (NumbaRenderer().render(model, tilted[None], camera).mask[0] for model in (board, fine))
    assert truth.sum() > 8000 and (drawn & truth).sum() > 0.95 * truth.sum()
    assert len(board.faces) < 4000
