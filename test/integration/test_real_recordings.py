"""The main job on real recordings: nothing but images, intrinsics and meshes is there while STORM works."""

import json
import shutil
from pathlib import Path

import pytest

from storm_core.cli.main import main
from test.real_data import real_data

TRUTH_FILES = ("scene_gt.json", "scene_gt_info.json", "gt_quality.json", "mask", "mask_visib")


def blind_copy(scene: Path, place: Path) -> Path:
    """A copy of a scene without any ground truth."""
    target = place / scene.name
    shutil.copytree(scene, target, ignore=shutil.ignore_patterns(*TRUTH_FILES))
    assert not [p for p in target.rglob("*") if p.name in TRUTH_FILES]
    return target


def figures_of(scene: Path, models: Path, place: Path) -> dict:
    """Replay a blind copy, then evaluate what was published with the truth of the original."""
    blind = blind_copy(scene, place / "blind")
    assert main(["replay", str(blind), "--models", str(models), "--objects", "1", "--out", str(place / "out"),
                 "--no-video"]) == 0
    assert json.loads((place / "out" / "results.json").read_text())["truth"] is None
    assert main(["evaluate", "tracking", str(scene), "--pred", str(place / "out" / "predictions.jsonl"), "--models",
                 str(models), "--json", str(place / "r.json")]) == 0
    return json.loads((place / "r.json").read_text())["objects"]["1"]


def test_textured_cube_of_a_real_camera(tmp_path: Path) -> None:
    f = figures_of(real_data("visp_rbt/test/000001"), real_data("visp_rbt/models"), tmp_path)
    assert f["add_auc"] >= 0.85, "colour resolves the cube's 24-fold shape symmetry"
    assert f["adds_auc"] >= 0.95 and f["confidently_wrong"] <= 0.01
    assert f["first_pose_frame"] is not None


def test_depth_camera_beside_the_colour_camera(tmp_path: Path) -> None:
    f = figures_of(real_data("visp_castle_sim/test/000001"), real_data("visp_castle_sim/models"), tmp_path)
    assert f["add_auc"] >= 0.95 and f["coverage"] >= 0.95 and f["confidently_wrong"] <= 0.01


def test_bag_with_a_ground_truth_topic(tmp_path: Path) -> None:
    bag, models = real_data("rosbag_visp_rbt/rbt_10f"), real_data("visp_rbt/models")
    assert main(["replay", str(bag), "--models", str(models), "--objects", "1", "--out", str(tmp_path / "o")]) == 0
    results = json.loads((tmp_path / "o" / "results.json").read_text())
    assert results["truth"] == "/ground_truth/cube" and results["input"]["frames"] == 10
    assert results["objects"]["1"]["add_auc"] >= 0.85 and results["objects"]["1"]["adds_auc"] >= 0.95


@pytest.mark.slow
def test_single_cluttered_pictures(tmp_path: Path) -> None:
    """Nine annotated instances in three YCB-Video frames, each searched on its own; at least seven are right."""
    frames, models = real_data("ycbv_frames"), real_data("ycb_models/models")
    right = 0
    for image, objects in (("629", "2 5 15"), ("1", "2 5 4"), ("2", "1 3 4")):
        assert main(["register", str(frames), "--models", str(models), "--objects", *objects.split(), "--images", image,
                     "--out", str(tmp_path / image)]) == 0
        right += json.loads((tmp_path / image / "results.json").read_text())["summary"]["correct"]
    assert right >= 7
