"""The same numbers as BOP's own code. How the golden values were made is in scripts/make_bop_golden.py."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from storm_core.bop.models import bop_symmetries
from storm_core.cli.main import main
from storm_core.geometry.camera import PinholeCamera
from storm_core.metrics.mask_ap import MaskMatches, ap_bop, pairwise_iou
from storm_core.metrics.pose_error import add, adds, mspd, mssd, projected_error
from storm_core.metrics.pose_error_batch import add_batch, adds_batch, extreme_points, projected_batch
from storm_core.metrics.symmetric_error import mspd_pairs, mssd_pairs
from storm_core.metrics.vsd import ray_lengths, vsd, vsd_pairs

FOLDER = Path(__file__).parent.parent.parent / "golden"
GOLDEN = np.load(FOLDER / "bop_toolkit.npz")
SCORES = json.loads((FOLDER / "bop_toolkit.json").read_text())
SAME = 1e-6
MM = 1e-3


def metres(poses: np.ndarray) -> np.ndarray:
    out = poses.copy()
    out[..., :3, 3] *= MM
    return out


@pytest.fixture(scope="module", params=range(4))
def cases(request: pytest.FixtureRequest) -> dict:
    """All cases of one point set, in metres; values in mm and px."""
    m = request.param
    mine = GOLDEN["point_model"] == m
    k = GOLDEN["point_k"]
    return {"points": GOLDEN[f"point_cloud_{m}"] * MM, "e": metres(GOLDEN["point_estimates"][mine]),
            "t": metres(GOLDEN["point_truths"][mine]), "values": GOLDEN["point_values"][mine].T,
            "symmetries": bop_symmetries(json.loads(str(GOLDEN["point_infos"]))[m]),
            "camera": PinholeCamera.from_matrix(k, 640, 480)}


def test_errors_of_many_poses_at_once(cases: dict) -> None:
    e, t, points, symmetries = (cases[k] for k in ("e", "t", "points", "symmetries"))
    true_add, adi, true_mssd, true_mspd, proj = cases["values"]
    lenses = np.tile(cases["camera"].vector, (len(e), 1))
    assert np.abs(add_batch(e, t, points) / MM - true_add).max() < SAME
    assert np.abs(adds_batch(e, t, points, cKDTree(points)) / MM - adi).max() < SAME
    assert np.abs(mssd_pairs(e, t, extreme_points(points), symmetries)[0] / MM - true_mssd).max() < SAME
    assert np.abs(mspd_pairs(e, t, points, symmetries, lenses) - true_mspd).max() < SAME
    assert np.abs(projected_batch(e, t, points, lenses) - proj).max() < SAME


def test_errors_of_single_poses(cases: dict) -> None:
    points, symmetries, camera = cases["points"], cases["symmetries"], cases["camera"]
    for e, t, values in list(zip(cases["e"], cases["t"], cases["values"].T, strict=True))[:12]:
        ours = (add(e, t, points) / MM, adds(e, t, points) / MM, mssd(e, t, points, symmetries) / MM,
                mspd(e, t, points, symmetries, camera), projected_error(e, t, points, camera))
        assert np.abs(np.array(ours) - values).max() < SAME


def test_vsd() -> None:
    depths = GOLDEN["vsd_depths"] * 1e-4
    rays = ray_lengths(PinholeCamera(64, 48, *GOLDEN["vsd_camera"]))
    diameter = float(GOLDEN["vsd_diameter"])
    values = GOLDEN["vsd_values"]
    assert len(values) >= 60 and 0.05 < values.mean() < 0.95
    for (estimate, truth, measured), delta, expected in zip(depths, GOLDEN["vsd_deltas"], values, strict=True):
        whole = vsd(estimate, truth, measured, rays, diameter, delta_mm=delta)
        cut = vsd_pairs(estimate[None], truth[None], measured, rays, diameter, np.ones((1, 1), bool), delta_mm=delta)
        assert np.abs(whole - expected).max() < SAME and np.array_equal(cut[0, 0], whole)


def test_mask_ap() -> None:
    true, found = (np.unpackbits(GOLDEN[f"mask_{name}"], axis=-1).astype(bool) for name in ("true", "found"))
    true_of, found_of = GOLDEN["mask_true_of"], GOLDEN["mask_found_of"]
    objects: dict[int, list[MaskMatches]] = {}
    for scene_id, im_id, obj_id in np.unique(np.concatenate([true_of, found_of]), axis=0):
        a, b = ((of == (scene_id, im_id, obj_id)).all(1) for of in (found_of, true_of))
        objects.setdefault(int(obj_id), []).append(MaskMatches(
            scores=GOLDEN["mask_scores"][a], ious=pairwise_iou(found[a], true[b]),
            ignored=GOLDEN["mask_true_visible"][b] < 0.1))
    assert any(m.ignored.any() for images in objects.values() for m in images)
    assert ap_bop(objects)[0] == pytest.approx(SCORES["bop22"]["AP"], abs=SAME)


def test_whole_evaluation_through_the_command_line(tmp_path: Path) -> None:
    """Several instances, occlusion, missing, doubled and invented estimates, equal scores."""
    data = FOLDER / "bop_mini"
    assert main(["evaluate", "poses", "--bop-dir", str(data), "--pred", str(data / "predictions.csv"), "--json",
                 str(tmp_path / "r.json")]) == 0
    ours = json.loads((tmp_path / "r.json").read_text())
    theirs = SCORES["bop19"] | SCORES["bop24"]
    for key, value in {"average_recall": ours["bop19"]["ar"], "average_recall_vsd": ours["bop19"]["ar_vsd"],
                       "average_recall_mssd": ours["bop19"]["ar_mssd"],
                       "average_recall_mspd": ours["bop19"]["ar_mspd"],
                       "average_time_per_image": ours["time_per_image_s"]}.items():
        assert value == pytest.approx(theirs[f"bop19_{key}"], abs=SAME), key
    for key, value in {"mAP": ours["bop24"]["ap"], "mAP_mssd": ours["bop24"]["ap_mssd"],
                       "mAP_mspd": ours["bop24"]["ap_mspd"], "mAP_mssd_mm": ours["bop24"]["ap_mssd_mm"]}.items():
        assert value == pytest.approx(theirs[f"bop24_{key}"], abs=SAME), key
    assert 0.2 < ours["bop19"]["ar"] < 0.8 and 0.2 < ours["bop24"]["ap"] < 0.8, "the case says something"
