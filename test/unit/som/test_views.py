"""Reference views: geometry, light, cache, folders, commands."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from storm_core.bop.view_folder import read_views, write_views
from storm_core.cli import main as cli
from storm_core.config import OnboardingConfig
from storm_core.errors import DatasetError, InputError
from storm_core.geometry.pose import require_pose, transform
from storm_core.geometry.viewpoints import cameras_on_sphere, fibonacci_sphere
from storm_core.onboarding.lights import LIGHTS
from storm_core.onboarding.views import reference_views, render_views, views_file
from test.synthetic import bracket, textured_box

BOX = textured_box()


def test_cameras_lie_on_the_sphere_look_at_the_centre_and_stand_upright() -> None:
    center = np.array([0.1, -0.2, 0.3])
    for pose, direction in zip(cameras_on_sphere(40, center, 0.7), fibonacci_sphere(40), strict=True):
        require_pose(pose)
        np.testing.assert_allclose(transform(pose, center[None])[0], [0, 0, 0.7], atol=1e-12)
        eye = -pose[:3, :3].T @ pose[:3, 3]
        np.testing.assert_allclose(eye, center + 0.7 * direction, atol=1e-12)
        if abs(direction[2]) < 0.95:
            assert (pose[:3, :3] @ [0, 0, 1.0])[1] < 0, "the object's z must point up in the picture"


def test_views_show_the_whole_object_with_exact_depth_under_every_lamp() -> None:
    views = render_views(BOX, 6, 96)
    assert views.rgb.shape == (len(LIGHTS), 6, 96, 96, 3) and len(views) == 6
    assert not views.mask[:, [0, -1]].any() and not views.mask[:, :, [0, -1]].any()
    assert views.mask.any((1, 2)).all() and ((views.depth > 0) == views.mask).all()
    for k in range(6):
        rows, columns = np.nonzero(views.mask[k])
        points = views.camera.back_project(np.stack([columns, rows], -1), views.depth[k, rows, columns])
        obj = (points - views.cam_from_objs[k, :3, 3]) @ views.cam_from_objs[k, :3, :3]
        assert np.abs(np.abs(obj) / (BOX.size / 2)).max() < 1.01, "depth does not lie on the box"
    assert len({views.rgb[i].tobytes() for i in range(len(LIGHTS))}) == len(LIGHTS)
    with pytest.raises(InputError, match="moon"):
        render_views(BOX, 4, 64, ("moon",))


def test_a_mesh_without_colour_is_rendered_too() -> None:
    assert render_views(bracket(), 4, 64).mask.any((1, 2)).all()


def test_views_are_kept_by_content(tmp_path: Path) -> None:
    config = OnboardingConfig(cache=str(tmp_path), views=4, view_size=64)
    first = reference_views(BOX, config)
    assert views_file(BOX, config).is_file()
    second = reference_views(replace(BOX, name="other"), config)
    assert second.object_name == "other"
    for name in ("rgb", "depth", "mask", "cam_from_objs"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert views_file(replace(BOX, sha256="changed"), config) != views_file(BOX, config)
    views_file(BOX, config).write_bytes(b"damaged")
    np.testing.assert_array_equal(reference_views(BOX, config).rgb, first.rgb)


def test_a_folder_of_views_reads_back_as_it_was_written(tmp_path: Path) -> None:
    views = render_views(BOX, 4, 64, ("studio", "dim"))
    write_views(tmp_path, views, 3)
    again = read_views(tmp_path)
    np.testing.assert_array_equal(again.mask, views.mask)
    np.testing.assert_array_equal(np.where(views.mask[None, ..., None], views.rgb, 128), again.rgb)
    np.testing.assert_allclose(again.depth, views.depth, atol=6e-5)
    np.testing.assert_allclose(again.cam_from_objs, views.cam_from_objs, atol=1e-9)
    assert (again.object_name, again.lights) == ("box", ("studio", "dim"))
    (tmp_path / "rgb" / "000005.png").unlink()
    with pytest.raises(DatasetError, match="view 5 of 8"):
        read_views(tmp_path)


def test_the_commands_write_views_and_report_their_time(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    trimesh.creation.box(extents=(0.05, 0.08, 0.1)).export(tmp_path / "brick.ply")
    mesh, cache = str(tmp_path / "brick.ply"), f"onboarding.cache={tmp_path / 'cache'}"
    assert cli.main(["render", "views", mesh, "--out", str(tmp_path / "views"), "--views", "4", "--size", "64",
                     "--lights", "studio", "--json", str(tmp_path / "render.json")]) == 0
    assert len(read_views(tmp_path / "views" / "brick")) == 4
    assert json.loads((tmp_path / "render.json").read_text())["objects"]["brick"]["pictures"] == 4
    small = ["--set", cache, "--set", "onboarding.rotations=60", "--set", "onboarding.views=4", "--set",
             "onboarding.view_size=64"]
    for cached in (False, True):
        assert cli.main(["onboard", mesh, *small, "--json", str(tmp_path / "on.json")]) == 0
        assert json.loads((tmp_path / "on.json").read_text())["objects"]["brick"]["cached"] is cached
    capsys.readouterr()
    (tmp_path / "file").touch()
    assert cli.main(["onboard", mesh, *small, "--set", f"onboarding.cache={tmp_path / 'file'}"]) == 1
    said = capsys.readouterr()
    assert "kept in" not in said.out and f"cannot write {tmp_path / 'file'} (" in said.err
    assert cli.main(["onboard", str(tmp_path / "none.ply")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_two_meshes_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        trimesh.creation.box(extents=(0.05, 0.08, 0.1)).export(tmp_path / folder / "brick.ply")
    assert cli.main(["render", "views", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "v")]) == 1
    assert "brick" in capsys.readouterr().err and not (tmp_path / "v").exists()
