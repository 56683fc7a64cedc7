"""Pose errors and scores: laws, independent formulas, and parity with the BOP toolkit."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.pose import from_rotation_translation, se3_exp, transform
from storm_core.metrics.motion import jumps
from storm_core.metrics.pose_error import add, adds, mask_iou, mspd, mssd, projected_error
from storm_core.metrics.reappearance import reappearances
from storm_core.metrics.scores import auc, quantile, recall
from storm_core.metrics.tracking import confidently_wrong, coverage

GOLDEN = json.loads((Path(__file__).parent / "data" / "pose_errors_bop.json").read_text())
IDENTITY = np.eye(4)[None]
CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * 0.04

twists = arrays(float, 6, elements=st.floats(-0.5, 0.5))
far_twists = twists.map(lambda t: t + np.array([0, 0, 2.0, 0, 0, 0]))


def _pose(r: list[float], t: list[float]) -> np.ndarray:
    return from_rotation_translation(np.array(r).reshape(3, 3), t)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"model{c['model']}")
def test_errors_equal_the_bop_toolkit(case: dict) -> None:
    """Golden values were computed with the toolkit itself, see `made_with` in the file; they are in mm."""
    points = np.array(GOLDEN["models"][case["model"]])
    camera = PinholeCamera.from_matrix(GOLDEN["K"], 640, 480)
    estimate, truth = _pose(case["R_est"], case["t_est"]), _pose(case["R_gt"], case["t_gt"])
    symmetries = np.stack([_pose(s["R"], s["t"]) for s in case["symmetries"]])
    assert add(estimate, truth, points) == pytest.approx(case["add"], rel=1e-9)
    assert adds(estimate, truth, points) == pytest.approx(case["adi"], rel=1e-9)
    assert mssd(estimate, truth, points, symmetries) == pytest.approx(case["mssd"], rel=1e-9)
    assert mspd(estimate, truth, points, symmetries, camera) == pytest.approx(case["mspd"], rel=1e-7)
    assert projected_error(estimate, truth, points, camera) == pytest.approx(case["proj"], rel=1e-7)


@given(twists)
def test_the_truth_has_no_error(twist: np.ndarray) -> None:
    pose = se3_exp(twist)
    assert add(pose, pose, CUBE) == 0
    assert adds(pose, pose, CUBE) < 1e-12
    assert mssd(pose, pose, CUBE, IDENTITY) == 0


@given(twists, twists, twists)
def test_errors_do_not_depend_on_the_camera_frame(a: np.ndarray, b: np.ndarray, move: np.ndarray) -> None:
    a, b, move = se3_exp(a), se3_exp(b), se3_exp(move)
    for error in (add, adds, lambda e, t, p: mssd(e, t, p, IDENTITY)):
        assert error(move @ a, move @ b, CUBE) == pytest.approx(error(a, b, CUBE), abs=1e-9)


@given(twists, twists)
def test_order_of_errors(a: np.ndarray, b: np.ndarray) -> None:
    """ADD-S <= ADD <= MSSD without symmetries, by definition of nearest, mean and largest."""
    a, b = se3_exp(a), se3_exp(b)
    assert adds(a, b, CUBE) <= add(a, b, CUBE) + 1e-12 <= mssd(a, b, CUBE, IDENTITY) + 2e-12


@given(twists, st.integers(0, 3))
def test_a_declared_symmetry_is_no_mssd(twist: np.ndarray, quarter: int) -> None:
    turns = np.stack([se3_exp([0, 0, 0, 0, 0, k * np.pi / 2]) for k in range(4)])
    pose = se3_exp(twist)
    assert mssd(pose @ turns[quarter], pose, CUBE, turns) < 1e-9
    assert (mssd(pose @ turns[quarter], pose, CUBE, IDENTITY) < 1e-9) == (quarter == 0)


def test_adds_uses_the_given_tree_like_its_own() -> None:
    from scipy.spatial import cKDTree

    a, b = se3_exp([0.01, 0, 0.5, 0.2, 0, 0]), se3_exp([0, 0.02, 0.5, 0, 0.3, 0])
    brute = np.linalg.norm(transform(b, CUBE)[:, None] - transform(a, CUBE)[None], axis=-1).min(1).mean()
    assert adds(a, b, CUBE, cKDTree(CUBE)) == pytest.approx(brute)


@given(far_twists)
def test_mspd_behind_the_camera_is_infinite(twist: np.ndarray) -> None:
    camera = PinholeCamera(640, 480, 600, 600, 320, 240)
    behind = se3_exp(twist)
    behind[2, 3] = -1.0
    assert mspd(behind, se3_exp(twist), CUBE, IDENTITY, camera) == float("inf")


@given(arrays(float, st.integers(1, 40), elements=st.floats(0, 0.3)))
def test_auc_is_the_area_under_the_accuracy_curve(errors: np.ndarray) -> None:
    thresholds = (np.arange(20000) + 0.5) / 20000 * 0.1
    curve = (errors[None] <= thresholds[:, None]).mean(1)
    assert auc(errors) == pytest.approx(curve.mean(), abs=1e-4)


@given(st.integers(1, 30), st.integers(0, 30))
def test_missing_frames_fail(n: int, k: int) -> None:
    """Perfect poses with k of n deleted score exactly (n - k) / n everywhere."""
    k = min(k, n)
    errors = np.concatenate([np.zeros(n - k), np.full(k, np.inf)])
    assert auc(errors) == pytest.approx((n - k) / n)
    assert recall(errors, 0.01) == pytest.approx((n - k) / n)


def test_quantiles_survive_infinity() -> None:
    assert quantile([1.0, 2.0, np.inf], 0.5) == 2.0
    assert quantile([1.0, 2.0, np.inf], 0.99) == np.inf


def test_mask_iou() -> None:
    a = np.zeros((4, 4), bool)
    assert mask_iou(a, a) == 1.0
    b = a.copy()
    b[:2], a[1:3] = True, True
    assert mask_iou(a, b) == pytest.approx(4 / 12)


def test_coverage_and_confidence() -> None:
    trusted, visible = np.array([1, 1, 0, 1], bool), np.array([1, 1, 1, 0], bool)
    assert coverage(trusted, visible) == pytest.approx(2 / 3)
    wrong = confidently_wrong(np.array([0.0, 0.05, np.inf, np.inf]), trusted, np.ones(4, bool), diameter=0.2)
    assert wrong == pytest.approx(2 / 3)
    assert np.isnan(confidently_wrong(np.array([np.inf]), np.array([False]), np.array([True]), 0.1)), "nothing trusted"


def test_a_constant_error_is_no_jump() -> None:
    truths = np.stack([se3_exp([0.01 * k, 0, 0.5, 0, 0, 0.05 * k]) for k in range(6)])
    offset = se3_exp([0.03, 0, 0, 0, 0, 0])
    assert jumps(truths @ offset, truths, CUBE, IDENTITY, 0.14) == 0
    broken = np.concatenate([truths[:3], se3_exp([0.05, 0, 0, 0, 0, 0]) @ truths[3:]])
    assert jumps(broken, truths, CUBE, IDENTITY, 0.14) == 1
    missing = np.concatenate([np.full((1, 4, 4), np.nan), truths[1:]])
    assert jumps(missing, truths, CUBE, IDENTITY, 0.14) == 0


def test_reappearances() -> None:
    share = np.array([1, 1, 0.05, 0, 0.2, 0.4, 1, 1, 0, 0, 0.5, 0.05], float)
    trusted = np.array([1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0], bool)
    stamps = [k * 100_000_000 for k in range(len(share))]
    first, second = reappearances(share, trusted, stamps)
    assert (first.lost_at, first.due_at, first.trusted_at) == (2, 5, 6) and first.time_s == pytest.approx(0.1)
    assert (second.due_at, second.trusted_at) == (10, None) and np.isnan(second.time_s)

