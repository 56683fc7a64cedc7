"""`storm evaluate poses` and `storm bench metrics` as a user runs them."""

import csv
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storm_core.bop.dataset import read_annotations, read_target_images, read_targets
from storm_core.bop.results import PoseEstimate, prediction_files, read_predictions, time_per_image_s, write_csv
from storm_core.bop.results import write_scene_pred as write_scene
from storm_core.cli.main import main
from storm_core.errors import DatasetError
from storm_core.evaluation.metric_benchmark import CAMERA, make_samples, ours
from storm_core.metrics import pose_error
from test.real_data import real_data

MINI = Path(__file__).parent.parent.parent / "golden" / "bop_mini"
ARS = ("ar", "ar_vsd", "ar_mssd", "ar_mspd")
APS = ("ap", "ap_mssd", "ap_mspd", "ap_mssd_mm")

Change = Callable[[PoseEstimate], PoseEstimate | None]


def perfect() -> list[PoseEstimate]:
    """Every visible instance at its true pose."""
    return [PoseEstimate(scene_id=int(scene.name), im_id=im_id, obj_id=a.obj_id, score=a.visible, time_s=0.5,
                         cam_from_obj=a.cam_from_obj)
            for scene in sorted((MINI / "test").iterdir()) for im_id, instances in read_annotations(scene).items()
            for a in instances if a.visible >= 0.1]


@pytest.fixture
def score(tmp_path: Path) -> Callable[..., dict]:
    def run(estimates: Sequence[PoseEstimate], *options: str, data: Path = MINI) -> dict:
        write_csv(tmp_path / "p.csv", estimates)
        assert main(["evaluate", "poses", "--bop-dir", str(data), "--pred", str(tmp_path / "p.csv"), "--json",
                     str(tmp_path / "r.json"), *options]) == 0
        return json.loads((tmp_path / "r.json").read_text())

    return run


def test_the_truth_as_submission_scores_one_everywhere(score: Callable[..., dict]) -> None:
    r = score(perfect())
    assert all(r["bop19"][k] == 1.0 for k in ARS) and all(r["bop24"][k] == 1.0 for k in APS)
    assert r["time_per_image_s"] == 0.5 and r["skipped"] == [] and r["left_out"] == {}
    assert all(value == pytest.approx(1.0, abs=1e-6) for value in r["mean"].values())
    for f in r["objects"].values():
        assert f["predicted"] == f["targets"] and all(f["bop19"][k] == 1.0 for k in ARS)
        assert all(f["bop24"][k] == 1.0 for k in APS) and f["mssd_mm"]["p99"] < 1e-4 and f["proj_px"]["p99"] < 1e-4


@pytest.mark.parametrize("k", [1, 4, 11])
def test_deleting_k_of_n_leaves_the_rest(score: Callable[..., dict], k: int) -> None:
    targets = {(s, i, o) for s, i, o in read_targets(MINI)}
    mine = [e for e in perfect() if (e.scene_id, e.im_id, e.obj_id) in targets]
    n = len(mine)
    r = score(mine[k:])
    assert all(r["bop19"][key] == pytest.approx((n - k) / n) for key in ARS)
    share = sum(f["targets"] * f["add_01d"] for f in r["objects"].values()) / r["targets"]
    assert r["targets"] == n and share == pytest.approx((n - k) / n)
    assert sum(f["targets"] * f["ar_storm"] for f in r["objects"].values()) / n == pytest.approx((n - k) / n, abs=1e-6)


def test_no_estimate_at_all_scores_zero(score: Callable[..., dict]) -> None:
    r = score([])
    assert all(r["bop19"][k] == 0.0 for k in ARS) and all(r["bop24"][k] == 0.0 for k in APS)
    assert not any(r["mean"].values()) and r["time_per_image_s"] is None


def mirrored(e: PoseEstimate) -> PoseEstimate:
    flip = np.diag([-1.0, 1, 1, 1])
    return replace(e, cam_from_obj=flip @ e.cam_from_obj @ flip)


def farther(factor: float) -> Change:
    def change(e: PoseEstimate) -> PoseEstimate:
        pose = e.cam_from_obj.copy()
        pose[:3, 3] *= factor
        return replace(e, cam_from_obj=pose)

    return change


def test_mistakes_lower_the_figures_they_concern(score: Callable[..., dict]) -> None:
    right = perfect()
    r = score([mirrored(e) for e in right])
    assert r["bop19"]["ar"] < 0.3 and r["bop24"]["ap"] < 0.3 and r["mean"]["add_01d"] < 0.3

    r = score([farther(1.001)(e) for e in right])  # half a millimetre: within every threshold, but not free
    assert r["bop19"]["ar_mssd"] == r["bop19"]["ar_mspd"] == r["mean"]["add_01d"] == 1.0
    assert 0.9 < r["mean"]["add_auc_01d"] < 0.99 and r["mean"]["add_auc"] < 0.9999 and r["bop24"]["ap_mssd_mm"] == 1.0
    assert r["objects"]["6"]["mssd_mm"]["p50"] == pytest.approx(0.6, abs=0.2)

    r = score([farther(1.02)(e) for e in right])  # a centimetre along the ray: hardly another picture
    assert r["bop19"]["ar_mssd"] < 0.9 and r["bop24"]["ap_mssd_mm"] < 0.6 and r["bop19"]["ar_mspd"] > 0.95


def test_swapped_objects_fail(score: Callable[..., dict]) -> None:
    right = perfect()
    a = next(k for k, e in enumerate(right) if e.obj_id == 1)
    b = next(k for k, e in enumerate(right) if e.obj_id == 5 and (e.scene_id, e.im_id) == (1, 0))
    swapped = list(right)
    swapped[a] = replace(right[a], cam_from_obj=right[b].cam_from_obj)
    swapped[b] = replace(right[b], cam_from_obj=right[a].cam_from_obj)
    before, after = score(right), score(swapped)
    for name in ("1", "5"):
        assert after["objects"][name]["bop19"]["ar"] < before["objects"][name]["bop19"]["ar"] - 0.05
    assert after["objects"]["6"] == before["objects"]["6"]
    same = list(right)  # two instances of one object may be named in any order
    c = next(k for k, e in enumerate(right) if e.obj_id == 1 and k > a)
    same[a], same[c] = (replace(right[a], cam_from_obj=right[c].cam_from_obj),
                        replace(right[c], cam_from_obj=right[a].cam_from_obj))
    assert score(same)["bop19"] == before["bop19"]


def test_invented_estimates_cost_precision_but_not_recall(score: Callable[..., dict]) -> None:
    wild = [replace(farther(1.5)(e), score=2.0) for e in perfect() if e.obj_id == 6]
    assert score(perfect() + wild)["bop24"]["ap"] < 0.9
    late = [replace(e, score=-1.0) for e in wild]
    r = score(perfect() + late)
    assert r["bop19"]["ar"] == r["bop24"]["ap"] == 1.0


def test_a_folder_of_scene_files_is_the_same_as_one_table(score: Callable[..., dict], tmp_path: Path) -> None:
    estimates = read_predictions(MINI / "predictions.csv")
    table = score(estimates)
    for layout in ("{:06d}/scene_pred.json", "scene_pred_{:06d}.json"):
        folder = tmp_path / layout[:4]
        for scene_id in (1, 2):
            file = folder / layout.format(scene_id)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_scene(file, [e for e in estimates if e.scene_id == scene_id])
        out = tmp_path / "out.json"
        assert main(["evaluate", "poses", "--bop-dir", str(MINI), "--pred", str(folder), "--json", str(out)]) == 0
        r = json.loads(out.read_text())
        assert r["objects"].keys() == table["objects"].keys() and r["time_per_image_s"] is None
        assert r["bop24"]["ap"] == pytest.approx(table["bop24"]["ap"], abs=0.02)  # ties among equal scores
        assert r["bop19"]["ar"] == pytest.approx(table["bop19"]["ar"], abs=0.02)


def test_folders_that_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no predictions"):
        prediction_files(tmp_path)
    (tmp_path / "1").mkdir()
    write_scene(tmp_path / "1" / "scene_pred.json", [])
    write_csv(tmp_path / "a.csv", [])
    with pytest.raises(DatasetError, match="the same poses twice"):
        prediction_files(tmp_path)
    (tmp_path / "a.csv").unlink()
    write_scene(tmp_path / "scene_pred_1.json", [])
    with pytest.raises(DatasetError, match="both for scene 1"):
        prediction_files(tmp_path)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MINI, tmp_path / "mini"))


@pytest.mark.parametrize("damage", ["missing", "truncated", "no image", "no camera"])
def test_an_unusable_image_counts_as_failure_and_is_named(
        score: Callable[..., dict], broken: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    scene = broken / "test" / "000001"
    file = scene / "depth" / "000001.png"
    if damage == "missing":
        file.unlink()
    elif damage == "no camera":
        cameras = json.loads((scene / "scene_camera.json").read_text())
        del cameras["1"]
        (scene / "scene_camera.json").write_text(json.dumps(cameras))
    else:
        file.write_bytes(file.read_bytes()[:-500] if damage == "truncated" else b"text")
    r = score(perfect(), data=broken)
    lost = sum(t[:2] == (1, 1) for t in read_targets(MINI))
    expected = 1 - lost / r["targets"]
    assert r["bop19"]["ar_vsd"] == pytest.approx(expected) and r["bop19"]["ar_mssd"] == 1.0
    assert r["bop19"]["ar_mspd"] == pytest.approx(expected if damage == "no camera" else 1.0)
    assert [(s["scene_id"], s["im_id"]) for s in r["skipped"]] == [(1, 1)]
    assert "scene_camera.json" in r["skipped"][0]["reason"] or "000001.png" in r["skipped"][0]["reason"]
    assert "count as failures" in capsys.readouterr().err


def test_what_cannot_be_measured_is_left_out_and_never_zero(
        score: Callable[..., dict], broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for depth in broken.glob("test/*/depth"):
        shutil.rmtree(depth)
    r = score(perfect(), data=broken)
    assert r["bop19"]["ar"] is r["bop19"]["ar_vsd"] is None and r["bop19"]["ar_mssd"] == 1.0 == r["bop24"]["ap"]
    assert "no scene has depth images" in r["left_out"]["vsd"] and "vsd is left out" in capsys.readouterr().err
    command = ["evaluate", "poses", "--bop-dir", str(broken), "--pred", str(MINI / "predictions.csv")]
    assert main([*command, "--metrics", "vsd"]) == 1 and "vsd cannot be measured" in capsys.readouterr().err
    for cameras in broken.glob("test/*/scene_camera.json"):
        cameras.unlink()
    r = score(perfect(), data=broken)
    assert r["bop19"]["ar_mspd"] is r["bop24"]["ap"] is None and r["bop24"]["ap_mssd"] == 1.0
    assert "proj_px" not in r["objects"]["1"]


def test_annotations_alone_are_enough_for_mssd(score: Callable[..., dict], broken: Path) -> None:
    for file in broken.glob("test/*/*"):
        if file.is_dir():
            shutil.rmtree(file)
        elif not file.name.startswith("scene_gt"):
            file.unlink()
    assert score(perfect(), "--metrics", "mssd", data=broken)["bop19"]["ar_mssd"] == 1.0


def test_grey_images_and_padded_keys(score: Callable[..., dict], broken: Path) -> None:
    for scene in (broken / "test").iterdir():
        (scene / "rgb").rename(scene / "gray")
        for name in ("scene_camera", "scene_gt", "scene_gt_info"):
            content = json.loads((scene / f"{name}.json").read_text())
            (scene / f"{name}.json").write_text(json.dumps({f"{int(k):06d}": v for k, v in content.items()}))
    r = score(perfect(), data=broken)
    assert all(r["bop19"][k] == 1.0 for k in ARS) and r["skipped"] == []


def test_chosen_metrics(score: Callable[..., dict]) -> None:
    r = score(perfect(), "--metrics", "mssd")
    assert r["bop19"]["ar_mssd"] == 1.0 and r["bop19"]["ar"] is None and r["left_out"].keys() == {"vsd", "mspd"}


@pytest.mark.parametrize("delta", ["0", "-5", "nan", "inf", "wide"])
def test_a_tolerance_that_is_none_is_refused(delta: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "poses", "--bop-dir", str(MINI), "--pred", str(MINI / "predictions.csv"), "--vsd-delta",
                 delta]) == 2
    assert "positive number of millimetres" in capsys.readouterr().err


def test_no_usable_image_is_an_error(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in broken.glob("test/*/depth/*.png"):
        file.write_bytes(b"text")
    assert main(["evaluate", "poses", "--bop-dir", str(broken), "--pred", str(MINI / "predictions.csv")]) == 1
    assert "vsd cannot be measured in any image" in capsys.readouterr().err


def in_scene(dataset: Path, name: str, text: str) -> None:
    (dataset / "test" / "000001" / f"{name}.json").write_text(text)


def each_info(dataset: Path, **changes: object) -> None:
    infos = json.loads((dataset / "test" / "000001" / "scene_gt_info.json").read_text())
    in_scene(dataset, "scene_gt_info", json.dumps({k: [i | changes for i in v] for k, v in infos.items()}))


def in_info(dataset: Path, **changes: object) -> None:
    file = dataset / "models_eval" / "models_info.json"
    infos = json.loads(file.read_text())
    file.write_text(json.dumps(infos | {"1": infos["1"] | changes}))


@pytest.mark.parametrize(("break_it", "message"), [
    (lambda d: shutil.rmtree(d / "test" / "000002"), "in scene 2, which is not there"),
    (lambda d: (d / "models_eval" / "obj_000005.ply").unlink(), "no mesh of object 5"),
    (lambda d: (d / "models_eval" / "obj_000005.ply").write_text("ply"), "obj_000005.ply"),
    (lambda d: (d / "test_targets_bop19.json").write_text('{"1": 2}'), "not in BOP format"),
    (lambda d: (d / "test_targets_bop19.json").write_text('[{"scene_id": "x", "im_id": 0, "obj_id": 1}]'), "'x'"),
    (lambda d: in_scene(d, "scene_gt", "{"), "scene_gt.json"),
    (lambda d: in_scene(d, "scene_gt", "[]"), "scene_gt.json must hold a JSON object"),
    (lambda d: in_scene(d, "scene_gt", '{"0": null}'), "scene_gt.json: image 0 is not in BOP format"),
    (lambda d: in_scene(d, "scene_gt", '{"0.5": []}'), "scene_gt.json is not in BOP format: its key '0.5'"),
    (lambda d: in_scene(d, "scene_gt_info", "[]"), "scene_gt_info.json must hold a JSON object"),
    (lambda d: in_scene(d, "scene_gt_info", '{"0": [null]}'), "scene_gt_info.json: image 0 is not in BOP format"),
    (lambda d: in_scene(d, "scene_gt_info", '{"0": []}'), "scene_gt_info.json: image 0 has 0 entries, scene_gt.json"),
    (lambda d: each_info(d, visib_fract="x"), "scene_gt_info.json: image 0 is not in BOP format"),
    (lambda d: each_info(d, bbox_visib=[None, 1, 2, 3]), "scene_gt_info.json: image 0 is not in BOP format"),
    (lambda d: in_scene(d, "gt_quality", '{"0": "good"}'), "gt_quality.json: image 0 is not in BOP format"),
    (lambda d: (d / "models_eval" / "models_info.json").write_text("[]"), "must map object ids to their properties"),
    (lambda d: in_info(d, diameter=None), "models_info.json, obj_000001: diameter must be a length in mm, got None"),
    (lambda d: in_info(d, diameter="x"), "got 'x'"), (lambda d: in_info(d, diameter=float("nan")), "got nan"),
    (lambda d: in_info(d, symmetries_discrete=None), "obj_000001: symmetries_discrete must be a list"),
    (lambda d: in_info(d, symmetries_discrete=[[0] * 16]), "no rotation"),
    (lambda d: in_info(d, symmetries_continuous="z"), "symmetries_continuous must be a list, got 'z'"),
    (lambda d: in_info(d, symmetries_continuous=["z"]), "symmetries_continuous needs axis"),
    (lambda d: in_info(d, symmetries_continuous=[{"axis": [0, 0, 0], "offset": [0, 0, 0]}]), "not all 0")])
def test_a_damaged_dataset_is_one_named_error(broken: Path, capsys: pytest.CaptureFixture[str],
                                              break_it: Callable[[Path], object], message: str) -> None:
    break_it(broken)
    assert main(["evaluate", "poses", "--bop-dir", str(broken), "--pred", str(MINI / "predictions.csv")]) == 1
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1


def test_one_scene_of_a_dataset(score: Callable[..., dict]) -> None:
    r = score(perfect(), "--scene", "2")
    assert r["targets"] == sum(t[0] == 2 for t in read_targets(MINI)) and r["bop19"]["ar"] == 1.0
    assert score(perfect(), data=MINI / "test")["targets"] == len(read_targets(MINI)), "targets of the dataset"


def test_images_of_2024_without_objects(score: Callable[..., dict], broken: Path) -> None:
    (broken / "test_targets_bop19.json").unlink()
    (broken / "test_targets_bop24.json").write_text(json.dumps([{"scene_id": 2, "im_id": 1}] * 2))
    assert read_targets(broken) == [] and read_target_images(broken) == [(2, 1)]
    r = score(perfect(), data=broken)
    assert r["input"]["frames"] == 1 and r["targets"] == 3 and r["bop19"]["ar"] == r["bop24"]["ap"] == 1.0


def test_output_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["evaluate", "poses", "--bop-dir", str(MINI), "--pred", str(MINI / "predictions.csv"), "--out",
                 str(out), "--fail-under", "bop19.ar=0.3"]) == 0
    shown = capsys.readouterr().out
    assert "BOP localization  AR 0.394" in shown and "it is not BOP's AR" in shown
    results = json.loads((out / "results.json").read_text())
    rows = list(csv.DictReader((out / "targets.csv").open()))
    assert len(rows) == results["targets"] and {r["obj_id"] for r in rows} == set(results["objects"])
    found = [r for r in rows if r["found"] == "1"]
    assert len(found) == sum(f["predicted"] for f in results["objects"].values()) < len(rows)
    assert all(float(r["add_mm"]) >= 0 and 0 <= float(r["vsd"]) <= 1 for r in found)
    lost = next(r for r in rows if r["found"] == "0")
    assert lost["add_mm"] == "inf" and lost["score"] == "" and lost["vsd"] == "1"
    assert (out / "report.html").read_text().startswith("<!doctype html>")


def test_a_score_must_be_a_number(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("1,2,3,nan,1 0 0 0 1 0 0 0 1,1 2 3,0\n")
    with pytest.raises(DatasetError, match="score is not a number"):
        read_predictions(tmp_path / "p.csv")


@pytest.mark.parametrize("value", ["inf", "-inf"])
def test_a_score_without_end_is_refused(tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (MINI / "predictions.csv").read_text().splitlines(keepends=True)
    cells = rows[1].split(",")
    (tmp_path / "p.csv").write_text(rows[0] + ",".join([*cells[:3], value, *cells[4:]]))
    assert main(["evaluate", "poses", "--bop-dir", str(MINI), "--pred", str(tmp_path / "p.csv")]) == 1
    assert f"is {value}; scores must be finite" in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"scene_id": 7}, {"im_id": 77}, {"obj_id": 9}])
def test_predictions_that_belong_to_nothing(score: Callable[..., dict], tmp_path: Path, change: dict[str, int],
                                            capsys: pytest.CaptureFixture[str]) -> None:
    right = perfect()
    write_csv(tmp_path / "o.csv", [replace(e, **change) for e in right])
    assert main(["evaluate", "poses", "--bop-dir", str(MINI), "--pred", str(tmp_path / "o.csv")]) == 1
    assert f"none of the {len(right)} predictions in {tmp_path / 'o.csv'} is of an object" in capsys.readouterr().err
    score([*right, replace(right[0], **change)])
    assert f"only {len(right)} of {len(right) + 1} predictions" in capsys.readouterr().err


def test_predictions_of_other_scenes_than_the_chosen_one_are_no_news(
        score: Callable[..., dict], capsys: pytest.CaptureFixture[str]) -> None:
    score(perfect(), "--scene", "2")
    assert "warning" not in capsys.readouterr().err


def test_a_target_list_that_contradicts_the_truth_is_named(
        score: Callable[..., dict], broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = broken / "test_targets_bop19.json"
    entries = json.loads(file.read_text())
    entries[0]["inst_count"] = 5
    file.write_text(json.dumps(entries))
    r = score(perfect(), data=broken)
    assert r["bop19"]["ar"] == 1.0 and r["mean"]["add_01d"] < 1.0
    said = capsys.readouterr().err
    assert "contradicts scene_gt.json in 1 places; first: 5 of object" in said and "BOP's AR does not" in said


def test_tables_in_other_encodings(tmp_path: Path) -> None:
    row = "scene_id,im_id,obj_id,score,R,t,time\n1,2,3,0.5,1 0 0 0 1 0 0 0 1,1 2 3,0\n"
    file = tmp_path / "p.csv"
    file.write_text(row, encoding="utf-8-sig")
    assert len(read_predictions(file)) == 1
    for content in (row.encode("utf-16"), bytes(range(256)), b"\x00" * 9):
        file.write_bytes(content)
        with pytest.raises(DatasetError, match=str(file)):
            read_predictions(file)


def test_time_per_image() -> None:
    one = perfect()[0]
    known = [replace(one, time_s=0.2), replace(one, time_s=0.4), replace(one, im_id=9, time_s=0.6)]
    assert time_per_image_s(known) == pytest.approx(0.5)
    assert np.isnan(time_per_image_s([*known, replace(one, im_id=8, time_s=-1.0)])) and np.isnan(time_per_image_s([]))


def test_real_frames_score_one(score: Callable[..., dict]) -> None:
    data = real_data("visp_rbt")
    estimates = [PoseEstimate(scene_id=1, im_id=im_id, obj_id=a.obj_id, score=1.0, cam_from_obj=a.cam_from_obj)
                 for im_id, instances in read_annotations(data / "test" / "000001").items() for a in instances]
    r = score(estimates, data=data)
    assert all(r["bop19"][k] == 1.0 for k in ARS) and all(r["bop24"][k] == 1.0 for k in APS) and r["targets"] > 10


def test_the_benchmark_measures_what_it_says() -> None:
    samples = make_samples(4)
    mine = ours(samples)
    for name, unit, extra in (("mssd", 1e3, ()), ("mspd", 1.0, (CAMERA,))):
        singles = [getattr(pose_error, name)(s.estimates[0], s.truths[0], s.model.points, s.model.symmetries, *extra)
                   for s in samples]
        assert np.allclose(mine[name](), np.array(singles) * unit, rtol=1e-9)
    values = mine["vsd"]()
    assert values.shape == (4, 10) and 0 < values.mean() < 1 and np.array_equal(values, mine["vsd_with_rendering"]())


def test_bench_compares_with_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the toolkit that answers 1 to everything: the difference must be seen."""
    package = tmp_path / "bop_toolkit_lib"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "misc.py").write_text("def get_symmetry_transformations(info, step):\n    return []\n")
    (package / "pose_error.py").write_text(
        "def mssd(*a):\n    return 1.0\n\n\nmspd = mssd\n\n\ndef vsd(*a):\n    return [1.0] * 10\n")
    for name in ("", ".misc", ".pose_error"):
        monkeypatch.delitem(sys.modules, f"bop_toolkit_lib{name}", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    out = tmp_path / "r.json"
    assert main(["bench", "metrics", "--bop-toolkit", str(tmp_path), "--count", "4", "--repeats", "1", "--json",
                 str(out)]) == 0
    bench = json.loads(out.read_text())["bench"]
    assert bench.keys() == {"mssd", "mspd", "vsd", "vsd_with_rendering", "evaluation"}
    assert all(b["ratio"] == pytest.approx(b["reference_ms"] / b["ours_ms"]) for b in bench.values())
    assert bench["mssd"]["max_difference"] > 1 and bench["vsd"]["max_difference"] > 0.1
    for name in ("", ".misc", ".pose_error"):
        sys.modules.pop(f"bop_toolkit_lib{name}", None)


def test_bench_without_the_toolkit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "metrics", "--bop-toolkit", str(tmp_path)]) == 1
    assert "no checkout of bop_toolkit" in capsys.readouterr().err
    assert main(["bench", "metrics", "--bop-toolkit", str(tmp_path), "--count", "0"]) == 1
    assert "--count must be at least 1" in capsys.readouterr().err
