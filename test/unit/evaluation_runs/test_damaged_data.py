"""Missing and damaged parts: of the dataset, one named error; of one image, a named skip that counts as a failure."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from storm_core.cli.main import main
from storm_core.config import StormConfig
from storm_core.evaluation import registration
from storm_core.types import Evidence, Frame, Hint, Localization, Registration
from test.unit.evaluation_runs.tiny_dataset import placed, write_dataset

IMAGES = 3


class TrueStages:
    """Answers with the true pose of the image that the stamp says."""

    config = StormConfig()

    def localize(self, frame: Frame, object_name: str, hint: Hint) -> Localization:
        mask = np.ones(frame.depth.shape, bool) if hint.mask is None else hint.mask
        return Localization(object_name=object_name, stamp_ns=frame.stamp_ns, mask=mask, probability=0.9,
                            cam_from_objs=np.zeros((0, 4, 4)))

    def register(self, frame: Frame, localization: Localization) -> Registration:
        im_id = round((frame.stamp_ns * 1e-9 - 1.0) * 30)
        return Registration(object_name=localization.object_name, stamp_ns=frame.stamp_ns, covariance=np.eye(6),
                            cam_from_obj=placed(1, im_id)[int(localization.object_name)], probability=0.9,
                            evidence=Evidence())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("whole") / "data", scenes=1, images=IMAGES)


@pytest.fixture
def data(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to damage."""
    stages = TrueStages()
    monkeypatch.setattr(registration, "finders", lambda values: SimpleNamespace(
        config=stages.config, localizer=stages, registrar=stages))
    return shutil.copytree(whole, tmp_path / "data")


def evaluate(data: Path, *options: str) -> dict:
    file = data.parent / "numbers.json"
    status = main(["evaluate", "registration", "--bop-dir", str(data), "--out", str(data.parent / "out"),
                   "--workers", "1", "--json", str(file), *options])
    assert status == 0
    return json.loads(file.read_text())


def scene(data: Path) -> Path:
    return data / "test" / "000001"


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:file.stat().st_size // 2])


def drop_camera(data: Path) -> None:
    change_camera(data, lambda cameras: cameras.pop("1"))


def change_camera(data: Path, change: Callable[[dict], object]) -> None:
    file = scene(data) / "scene_camera.json"
    cameras = json.loads(file.read_text())
    change(cameras)
    file.write_text(json.dumps(cameras))


def as_cut_jpeg(data: Path) -> None:
    file = scene(data) / "rgb" / "000001.png"
    cv2.imwrite(str(file.with_suffix(".jpg")), cv2.imread(str(file)))
    file.unlink()
    cut(file.with_suffix(".jpg"))


DAMAGE = {
    "no colour": (lambda d: (scene(d) / "rgb" / "000001.png").unlink(), "rgb/000001.* is missing"),
    "no depth": (lambda d: (scene(d) / "depth" / "000001.png").unlink(), "depth/000001.* is missing"),
    "half a colour image": (lambda d: cut(scene(d) / "rgb" / "000001.png"), "rgb/000001.png cannot be decoded"),
    "half a depth image": (lambda d: cut(scene(d) / "depth" / "000001.png"), "depth/000001.png cannot be decoded"),
    "half a JPEG": (as_cut_jpeg, "rgb/000001.jpg cannot be decoded"),
    "text as image": (lambda d: (scene(d) / "depth" / "000001.png").write_text("x"), "000001.png cannot be decoded"),
    "depth of another size": (lambda d: cv2.imwrite(str(scene(d) / "depth" / "000001.png"),
                                                    np.ones((12, 16), np.uint16)), "depth is 16x12"),
    "no camera": (drop_camera, "no entry for image 1"),
    "camera is a number": (lambda d: change_camera(d, lambda c: c.update({"1": 5})), "no usable intrinsics"),
    "camera with nan": (lambda d: change_camera(d, lambda c: c["1"].update(cam_K=[float("nan")] * 9)), "cam_K"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_one_damaged_image_is_skipped_by_name_and_fails(damage: str, data: Path,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    damaged, reason = DAMAGE[damage]
    damaged(data)
    results = evaluate(data)
    entry, = results["skipped"]
    assert (entry["scene_id"], entry["im_id"]) == (1, 1) and reason in entry["reason"]
    for figures in results["objects"].values():
        assert (figures["targets"], figures["predicted"]) == (IMAGES, IMAGES - 1)
        assert figures["add_auc"] == pytest.approx((IMAGES - 1) / IMAGES, abs=1e-6)
    assert "1 skipped, counted as failures; first: scene 1 image 1" in capsys.readouterr().err


def test_undamaged_data_scores_one(data: Path) -> None:
    for masks in ("som", "gt"):
        results = evaluate(data, "--masks", masks)
        assert results["skipped"] == [] and results["refusals"] == {}
        assert all(f["add_auc"] == pytest.approx(1.0) for f in results["objects"].values())


@pytest.mark.parametrize("damaged", [lambda f: f.unlink(), cut,
                                     lambda f: cv2.imwrite(str(f), np.ones((5, 5), np.uint8))])
def test_a_damaged_mask_fails_for_its_object_alone(damaged: Callable[[Path], object], data: Path) -> None:
    damaged(scene(data) / "mask_visib" / "000001_000000.png")
    results = evaluate(data, "--masks", "gt")
    entry, = results["skipped"]
    assert entry["object"] == "1" and "mask_visib/000001_000000.png" in entry["reason"]
    assert [results["objects"][name]["predicted"] for name in ("1", "2")] == [IMAGES - 1, IMAGES]
    assert evaluate(data, "--masks", "som")["skipped"] == [], "searching needs no mask"


def test_a_listed_target_that_is_not_annotated_fails(data: Path) -> None:
    file = scene(data) / "scene_gt.json"
    truth = json.loads(file.read_text())
    truth["1"] = truth["1"][:1]
    file.write_text(json.dumps(truth))
    (scene(data) / "scene_gt_info.json").unlink()
    (data / "test_targets_bop19.json").write_text(json.dumps(
        [{"scene_id": 1, "im_id": i, "obj_id": o, "inst_count": 1} for i in range(IMAGES) for o in (1, 2)]))
    for masks in ("gt", "som"):
        assert evaluate(data, "--masks", masks)["objects"]["2"]["add_auc"] == pytest.approx((IMAGES - 1) / IMAGES)


def emptied(data: Path) -> None:
    for part in ("rgb", "depth"):
        for file in (scene(data) / part).iterdir():
            file.unlink()
    for name in ("scene_camera", "scene_gt", "scene_gt_info"):
        (scene(data) / f"{name}.json").write_text("{}")


BROKEN = {
    "half of scene_gt": (lambda d: cut(scene(d) / "scene_gt.json"), "scene_gt.json"),
    "no scene_gt": (lambda d: (scene(d) / "scene_gt.json").unlink(), "scene_gt.json is missing"),
    "half of scene_camera": (lambda d: cut(scene(d) / "scene_camera.json"), "scene_camera.json"),
    "scene_camera is a list": (lambda d: (scene(d) / "scene_camera.json").write_text("[]"), "must hold a JSON object"),
    "no mesh": (lambda d: (d / "models" / "obj_000002.ply").unlink(), "2"),
    "no models": (lambda d: (d / "models").rename(d / "meshes"), "models folder"),
    "an empty scene": (emptied, "is empty"),
    "targets elsewhere": (lambda d: (d / "test_targets_bop19.json").write_text(json.dumps(
        [{"scene_id": 7, "im_id": 0, "obj_id": 1, "inst_count": 1}])), "scene 7"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_dataset_is_one_named_error(fault: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken, words = BROKEN[fault]
    broken(data)
    out = data.parent / "out"
    assert main(["evaluate", "registration", "--bop-dir", str(data), "--out", str(out), "--workers", "1"]) == 1
    message = capsys.readouterr().err.strip()
    assert message.count("\n") == 0 and words in message and "bug in STORM" not in message
    assert not out.exists()


@pytest.mark.parametrize(("options", "words"), [
    (["--scene", "9"], "no scene 9"), (["--objects", "5"], "object 5 is no target"), (["--workers", "0"], "--workers"),
    (["--dask", "tcp://x:1", "--max-images", "-1"], "--max-images")])
def test_wrong_options_are_named(options: list[str], words: str, data: Path,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "registration", "--bop-dir", str(data), "--out", str(data.parent / "o"), *options]) == 1
    assert words in capsys.readouterr().err


def test_limits_and_choices(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = evaluate(data, "--objects", "2", "--max-images", "2")
    assert list(results["objects"]) == ["2"] and results["targets"] == 2 and results["images_left_out"] == IMAGES - 2
    assert "1 images with targets were left out" in capsys.readouterr().out
    (scene(data) / "rgb" / "000000.png").unlink()
    assert main(["evaluate", "registration", "--bop-dir", str(data), "--out", str(data.parent / "o"), "--workers", "1",
                 "--fail-under", "add_auc=0.9"]) == 1
    assert "below 0.9" in capsys.readouterr().err


def test_prediction_files_score_the_same_as_the_run(data: Path) -> None:
    results = evaluate(data)
    out = data.parent / "out"
    assert {"poses.csv", "attempts.csv", "predictions", "report.html", "results.json", "config.yaml",
            "targets.csv", ".parts"} == {p.name for p in out.iterdir()}
    again = data.parent / "again.json"
    for extra in (["--pred", str(out / "poses.csv")],
                  ["--pred", str(out / "predictions" / "000001" / "scene_pred.json"), "--scene", "1"]):
        assert main(["evaluate", "poses", "--bop-dir", str(data), "--json", str(again), *extra]) == 0
        for name, figures in json.loads(again.read_text())["objects"].items():
            assert figures["add_auc"] == pytest.approx(results["objects"][name]["add_auc"], abs=1e-6)
