"""`storm refine` on a small BOP scene written for the purpose."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from storm_core.bop.results import PoseEstimate, write_csv
from storm_core.cli.main import main
from storm_core.geometry.pose import transform
from storm_core.score_model.results import load_results
from test.unit.tracking.scenes import CAMERA, background, disturbed, observe, swing, wedge

MODEL = wedge()
POSES = swing(2, 10.0)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dataset/{models,test/000001} with two images of the object, and init.csv with disturbed poses."""
    root = tmp_path_factory.mktemp("dataset")
    rng = np.random.default_rng(0)
    folder = root / "test" / "000001"
    (root / "models").mkdir()
    mesh = trimesh.Trimesh(MODEL.vertices * 1e3, MODEL.faces, vertex_colors=MODEL.colors, process=False)
    mesh.export(root / "models" / "obj_000001.ply")
    (root / "models" / "models_info.json").write_text(json.dumps({"1": {"diameter": MODEL.diameter * 1e3}}))
    for part in ("rgb", "depth"):
        (folder / part).mkdir(parents=True)
    cameras, guesses = {}, []
    for i, pose in enumerate(POSES):
        frame = observe(MODEL, pose, 0, background(rng), rng)
        cv2.imwrite(str(folder / "rgb" / f"{i:06d}.png"), frame.rgb[:, :, ::-1])
        cv2.imwrite(str(folder / "depth" / f"{i:06d}.png"), np.rint(np.maximum(frame.depth, 0) * 1e4).astype(np.uint16))
        cameras[str(i)] = {"cam_K": CAMERA.matrix.reshape(-1).tolist(), "depth_scale": 0.1}
        guess = disturbed(pose, np.array([0.003, -0.002, 0.004]), np.array([0.05, 0.0, -0.05]), MODEL.center)
        guesses.append(PoseEstimate(scene_id=1, im_id=i, obj_id=1, score=1.0, cam_from_obj=guess))
    (folder / "scene_camera.json").write_text(json.dumps(cameras))
    write_csv(root / "init.csv", guesses)
    return folder


def command(*arguments: object) -> int:
    """Exit status of `storm refine`."""
    return main(["refine", *map(str, arguments)])


def test_given_poses_are_refined_and_written(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = scene.parents[1], tmp_path / "results.npy"
    assert (
        command(
            scene,
            "--models",
            root / "models",
            "--init",
            root / "init.csv",
            "--out",
            out,
            "--json",
            tmp_path / "r.json",
            "--set",
            "score_model.particles=16",
        )
        == 0
    )
    records = load_results(out)
    assert [r["image"] for r in records] == ["1/0", "1/1"]
    for record, truth in zip(records, POSES, strict=True):
        gap = transform(record["cam_from_obj"], MODEL.eval_vertices) - transform(truth, MODEL.eval_vertices)
        assert np.linalg.norm(gap, axis=1).mean() < 0.002
        assert record["sampled_poses"].shape == (16, 4, 4)
    numbers = json.loads((tmp_path / "r.json").read_text())
    assert numbers["command"] == "refine" and len(numbers["poses"]) == 2 and numbers["stages_ms"]["refine"]["n"] == 2
    printed = capsys.readouterr().out
    assert "sd_mm" in printed and "2 pose distributions" in printed


@pytest.mark.parametrize(("stem", "info"), [("bottle_10", {"1": {"name": "bottle_10"}}), ("bottle_10", {}),
                                            ("000001", {})])
def test_objects_may_have_names(stem: str, info: dict, scene: Path, tmp_path: Path) -> None:
    """Poses and truth are found by BOP id: of the name, of models_info.json, or, for poses, as runs number them."""
    root, own = scene.parents[1], tmp_path / "dataset" / "000001"
    shutil.copytree(scene, own)
    entries = {str(i): [{"obj_id": 1, "cam_R_m2c": pose[:3, :3].reshape(-1).tolist(),
                         "cam_t_m2c": (1e3 * pose[:3, 3]).tolist()}] for i, pose in enumerate(POSES)}
    (own / "scene_gt.json").write_text(json.dumps(entries))
    models = tmp_path / "models"
    models.mkdir()
    shutil.copy(root / "models" / "obj_000001.ply", models / f"{stem}.ply")
    if info:
        (models / "models_info.json").write_text(json.dumps(info))
    out = tmp_path / "results.npy"
    assert command(own, "--models", models, "--objects", stem, "--init", root / "init.csv", "--images", 0, "--out", out,
                   "--set", "score_model.particles=8") == 0
    (record,) = load_results(out)
    known = bool(info) or stem.isdigit()
    assert record["object"] == stem and (record["true_cam_from_obj"] is not None) == known
    if known:
        np.testing.assert_allclose(record["true_cam_from_obj"], POSES[0], atol=1e-6)


def test_chosen_images_only(scene: Path, tmp_path: Path) -> None:
    root, out = scene.parents[1], tmp_path / "results.npy"
    command(scene, "--models", root / "models", "--init", root / "init.csv", "--images", 1, "--out", out)
    assert [r["image"] for r in load_results(out)] == ["1/1"]


def test_bad_requests_name_the_problem_and_write_nothing(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = scene.parents[1]
    (tmp_path / "empty.csv").write_text("scene_id,im_id,obj_id,score,R,t,time\n")
    base = (scene, "--models", root / "models", "--out", tmp_path / "a.npy")
    for extra, message in (
        (("--init", root / "init.csv", "--images", 7), "image 7 is not in"),
        (("--init", tmp_path / "empty.csv"), "no pose to refine"),
        (("--init", tmp_path / "none.csv"), "none.csv"),
    ):
        assert command(*base, *extra) == 1
        assert message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["empty.csv"]
