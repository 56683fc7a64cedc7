"""Masks of a dataset: run-length code, counting rules, and what is wrong with a result file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from storm_core.bop.mask_results import MaskEstimate, box_of, read_mask_results, run_lengths, write_mask_results
from storm_core.cli.main import main
from storm_core.errors import DatasetError
from test.unit.evaluation_runs.tiny_dataset import FAST, write_dataset

IMAGES = 4


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_run_lengths_give_the_mask_back(mask: np.ndarray) -> None:
    estimate = MaskEstimate(scene_id=1, im_id=2, obj_id=3, score=0.5, size=mask.shape, counts=run_lengths(mask))
    assert np.array_equal(estimate.mask(), mask)
    x, y, w, h = box_of(mask)
    assert mask[y:y + h, x:x + w].sum() == mask.sum()


def holed() -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[4:33, 7:51] = True
    mask[10:20, 20:30] = False
    mask[39, 59] = True
    return mask


# What pycocotools 2.0 makes of these masks.
GOLDEN = [("02200O03OM1122MM0000", np.random.default_rng(3).random((5, 7)) < 0.5), ("<", np.zeros((3, 4), bool)),
          ("0<", np.ones((3, 4), bool)),
          ("l8m0;000000000000000000000000YOO71IO71IO71IO71IO71IO71IO71IO71IO71IO71`0000000000000000000000000000000000"
           "0000000S;TO", holed())]


@pytest.mark.parametrize(("text", "mask"), GOLDEN)
def test_compressed_text_of_pycocotools(text: str, mask: np.ndarray, tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    file.write_text(json.dumps([entry(mask.shape, text)]))
    assert np.array_equal(read_mask_results(file)[0].mask(), mask)


def entry(size: tuple[int, ...], counts: object, **changes: object) -> dict:
    return {"scene_id": 1, "image_id": 0, "category_id": 1, "score": 0.5, "bbox": [0, 0, 1, 1], "time": 0.1,
            "segmentation": {"size": list(size), "counts": counts}} | changes


@pytest.mark.parametrize("broken", [
    entry((3, 4), [12, 1]), entry((3, 4), [13, -1]), entry((3, 4), "~"), entry((3, 4), "P"), entry((3,), [3]),
    entry((3, 4), None), entry((3, 4), [12], score="high"), entry((3, 4), [12], score=float("nan")),
    {"scene_id": 1}, 7, {"scene_id": 1, "image_id": 0, "category_id": 1, "score": 1, "segmentation": 3}])
def test_malformed_entries_are_named(broken: object, tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    file.write_text(json.dumps([entry((3, 4), [12]), broken]))
    with pytest.raises(DatasetError, match="entry 1 is no mask"):
        read_mask_results(file)
    file.write_text("{}")
    with pytest.raises(DatasetError, match="JSON list"):
        read_mask_results(file)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("masks") / "data", scenes=1, images=IMAGES)


def true_masks(data: Path) -> list[MaskEstimate]:
    out = []
    for im_id in range(IMAGES):
        for k, obj_id in enumerate((1, 2)):
            mask = cv2.imread(str(data / "test/000001/mask_visib" / f"{im_id:06d}_{k:06d}.png"), 0) > 0
            out.append(MaskEstimate(scene_id=1, im_id=im_id, obj_id=obj_id, score=0.9 - 0.1 * im_id, size=mask.shape,
                                    counts=run_lengths(mask)))
    return out


def changed(estimate: MaskEstimate, **changes: object) -> MaskEstimate:
    return MaskEstimate(**(vars(estimate) | changes))


def score(data: Path, tmp_path: Path, estimates: list[MaskEstimate], *options: str) -> dict:
    write_mask_results(tmp_path / "pred.json", estimates)
    numbers = tmp_path / "numbers.json"
    assert main(["evaluate", "masks", "--bop-dir", str(data), "--pred", str(tmp_path / "pred.json"), "--out",
                 str(tmp_path / "out"), "--json", str(numbers), *options]) == 0
    return json.loads(numbers.read_text())


def test_ground_truth_scores_one(data: Path, tmp_path: Path) -> None:
    results = score(data, tmp_path, true_masks(data))
    masks = results["masks"]
    intervals, half = masks.pop("ci95"), masks.pop("half_visible")
    assert masks == {"ap_storm": 1.0, "ap_bop": pytest.approx(1.0), "iou_mean": 1.0, "n": 2 * IMAGES,
                     "false_accepts": 0, "presence_known": None}
    assert intervals["iou_mean"] == [1.0, 1.0] and intervals["ap_bop"] == pytest.approx([1.0, 1.0])
    assert half["n"] == 2 * IMAGES and half["iou_75"] == 1.0 and "adds_01d" not in half
    assert half["ci95"]["iou_75"][0] < 0.5, "four images cannot promise much"
    assert not (tmp_path / "out" / "masks.json").exists() and (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize("k", [1, 3])
def test_deleted_masks_fail(k: int, data: Path, tmp_path: Path) -> None:
    masks = score(data, tmp_path, true_masks(data)[k:])["masks"]
    n = 2 * IMAGES
    assert masks["iou_mean"] == masks["ap_storm"] == pytest.approx((n - k) / n) and masks["n"] == n
    assert masks["ap_bop"] < 1


def swapped(estimates: list[MaskEstimate]) -> list[MaskEstimate]:
    return [changed(e, obj_id=3 - e.obj_id) for e in estimates]


def shifted(estimates: list[MaskEstimate]) -> list[MaskEstimate]:
    return [changed(e, counts=run_lengths(np.roll(e.mask(), 5, axis=1))) for e in estimates]


def mirrored(estimates: list[MaskEstimate]) -> list[MaskEstimate]:
    return [changed(e, counts=run_lengths(e.mask()[:, ::-1])) for e in estimates]


@pytest.mark.parametrize(("change", "most"), [(swapped, 0.05), (mirrored, 0.4), (shifted, 0.95)])
def test_wrong_masks_lower_every_figure(change: Callable, most: float, data: Path, tmp_path: Path) -> None:
    masks = score(data, tmp_path, change(true_masks(data)))["masks"]
    assert all(masks[key] < most for key in ("iou_mean", "ap_storm", "ap_bop"))


def test_a_mask_of_what_is_not_there_counts(data: Path, tmp_path: Path) -> None:
    truth = true_masks(data)
    alien = changed(truth[0], obj_id=7)
    sure_and_wrong = changed(truth[0], score=0.99, counts=run_lengths(~truth[0].mask()))
    masks = score(data, tmp_path, [*truth, alien])
    assert masks["masks"]["false_accepts"] == masks["objects"]["7"]["false_accepts"] == 1
    masks = score(data, tmp_path, [*truth, sure_and_wrong])["masks"]
    assert masks["ap_bop"] < 1 and masks["iou_mean"] < 1, "only as many masks as there are instances count"


def test_an_annotated_mask_that_is_damaged_fails_by_name(data: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(data, tmp_path / "data")
    file = copy / "test/000001/mask_visib/000002_000001.png"
    file.write_bytes(file.read_bytes()[:40])
    results = score(copy, tmp_path, true_masks(data))
    entry_, = results["skipped"]
    assert (entry_["im_id"], entry_["object"]) == (2, "2") and str(file) in entry_["reason"]
    assert results["masks"]["iou_mean"] == pytest.approx((2 * IMAGES - 1) / (2 * IMAGES))
    assert results["masks"]["ap_bop"] < 1
    assert score(copy, tmp_path, true_masks(data), "--objects", "1")["skipped"] == []


def test_masks_of_another_size_are_named(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = np.ones((12, 16), bool)
    write_mask_results(tmp_path / "p.json", [changed(true_masks(data)[0], size=small.shape,
                                                     counts=run_lengths(small))])
    assert main(["evaluate", "masks", "--bop-dir", str(data), "--pred", str(tmp_path / "p.json"), "--out",
                 str(tmp_path / "out")]) == 1
    assert "is 16x12 px but" in capsys.readouterr().err
    assert main(["evaluate", "masks", "--bop-dir", str(data), "--pred", "x", "--all-objects"]) == 1


def test_masks_of_two_sizes_are_named_where_nothing_is_annotated(data: Path, tmp_path: Path,
                                                                 capsys: pytest.CaptureFixture[str]) -> None:
    right, small = true_masks(data), np.ones((12, 16), bool)
    extra = [changed(right[0], obj_id=9), changed(right[0], obj_id=9, size=small.shape, counts=run_lengths(small))]
    write_mask_results(tmp_path / "p.json", right + extra)
    assert main(["evaluate", "masks", "--bop-dir", str(data), "--pred", str(tmp_path / "p.json"), "--out",
                 str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert "Traceback" not in said and "object 9 in scene 1 image 0 differ in size" in said[-1]


@pytest.mark.parametrize("change", [{"scene_id": 7}, {"im_id": 77}, {"obj_id": 9}])
def test_masks_that_belong_to_nothing(data: Path, tmp_path: Path, change: dict[str, int],
                                      capsys: pytest.CaptureFixture[str]) -> None:
    right = true_masks(data)
    write_mask_results(tmp_path / "p.json", [changed(e, **change) for e in right])
    assert main(["evaluate", "masks", "--bop-dir", str(data), "--pred", str(tmp_path / "p.json"), "--out",
                 str(tmp_path / "out")]) == 1
    assert f"none of the {len(right)} predictions" in capsys.readouterr().err
    score(data, tmp_path, [*right, changed(right[0], **change)])
    assert f"only {len(right)} of {len(right) + 1} predictions" in capsys.readouterr().err


def test_a_run_of_the_localizer(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["evaluate", "masks", "--bop-dir", str(data), "--out", str(out), "--workers", "1", "--max-images", "2",
                 "--fail-under", "masks.iou_mean=0.2", *FAST]) == 0
    results = json.loads((out / "results.json").read_text())
    assert results["masks"]["n"] == 4 and results["masks"]["presence_known"] is True
    assert results["stages_ms"]["localize"]["n"] == 4 and results["objects"]["2"]["iou_mean"] > 0.7
    assert "--all-objects measures without" in capsys.readouterr().out
    # Its file scores the same when it comes as another system's, but for the masks that STORM itself did not accept.
    again = score(data, tmp_path, read_mask_results(out / "masks.json"), "--max-images", "2")
    assert again["masks"]["ap_bop"] == pytest.approx(results["masks"]["ap_bop"])


def test_an_instance_that_is_almost_hidden_is_no_target_and_no_false_alarm(data: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(data, tmp_path / "data")
    file = copy / "test/000001/scene_gt_info.json"
    infos = json.loads(file.read_text())
    infos["0"][0]["visib_fract"] = 0.05
    file.write_text(json.dumps(infos))
    for masks in (true_masks(data), true_masks(data)[1:]):
        figures = score(copy, tmp_path, masks)["masks"]
        assert figures["n"] == 2 * IMAGES - 1 and figures["false_accepts"] == 0
        assert figures["ap_bop"] == pytest.approx(1.0) and figures["iou_mean"] == 1.0
