"""Langevin particles on rendered frames with known pose, and the results dictionary."""

from pathlib import Path

import numpy as np
import pytest

from storm_core.config import ScoreModelConfig
from storm_core.errors import DatasetError
from storm_core.geometry.pose import transform
from storm_core.score_model.results import load_results, results_table, save_results, to_record
from storm_core.score_model.sampler import LangevinRefiner, center_of, tangent
from storm_core.tracking.uncertainty import left_covariance
from storm_core.types import Frame
from test.unit.tracking.scenes import background, disturbed, observe, registered, swing, wedge

MODEL = wedge()
POSE = swing(1)[0]
REFINER = LangevinRefiner({MODEL.name: MODEL}, ScoreModelConfig(), seed=1)


@pytest.fixture(scope="module")
def frame() -> Frame:
    rng = np.random.default_rng(11)
    return observe(MODEL, POSE, 0, background(rng), rng)


def error(pose: np.ndarray) -> float:
    """Mean vertex distance to the truth [m]."""
    return float(
        np.linalg.norm(transform(pose, MODEL.eval_vertices) - transform(POSE, MODEL.eval_vertices), axis=1).mean()
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_disturbed_pose_is_brought_back(frame: Frame, seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = disturbed(POSE, rng.uniform(-0.005, 0.005, 3), rng.uniform(-0.1, 0.1, 3), MODEL.center)
    result = REFINER.refine(frame, registered(MODEL.name, start, seed))
    assert result.accepted
    assert error(result.registration.cam_from_obj) < min(0.0015, 0.5 * error(start))


@pytest.mark.parametrize("seed", range(4))
def test_a_good_pose_is_not_made_worse(frame: Frame, seed: int) -> None:
    result = REFINER.refine(frame, registered(MODEL.name, POSE, 100 + seed))
    assert error(result.registration.cam_from_obj) < 0.001


def test_a_pose_without_support_is_kept_as_it_was() -> None:
    rng = np.random.default_rng(0)
    away = POSE.copy()
    away[2, 3] = -3.0
    empty = observe(MODEL, away, 0, background(rng), rng)
    result = REFINER.refine(empty, registered(MODEL.name, POSE, 0))
    assert not result.accepted
    np.testing.assert_array_equal(result.registration.cam_from_obj, POSE)


def test_the_particles_cover_the_truth_and_shrink_with_the_noise(frame: Frame) -> None:
    result = REFINER.refine(frame, registered(MODEL.name, POSE, 3))
    r = result.registration
    covariance = left_covariance(r.covariance, -center_of(MODEL, r.cam_from_obj[None])[0])
    offset = tangent(MODEL, r.cam_from_obj, POSE[None])[0]
    assert offset @ np.linalg.solve(covariance, offset) / 6 < 2.0
    assert np.linalg.eigvalsh(r.covariance).min() > 0
    spread = [np.std(center_of(MODEL, poses), axis=0).max() for poses in result.pose_history]
    assert spread[-1] < 0.5 * spread[0]
    assert result.weights.sum() == pytest.approx(1.0)
    assert result.pose_history.shape == (13, 32, 4, 4) and result.score_history.shape == (12, 32, 6)


def test_an_unobservable_turn_stays_uncertain() -> None:
    """A face seen straight on cannot tell its turn about the viewing axis by depth alone as well as its distance."""
    rng = np.random.default_rng(0)
    pose = np.eye(4)
    pose[:3, 3] = [0, 0, 0.5]
    frame = observe(MODEL, pose, 0, background(rng), rng)
    result = REFINER.refine(frame, registered(MODEL.name, pose, 0))
    deviation = np.std(center_of(MODEL, result.cam_from_objs), axis=0)
    assert deviation[0] > 2 * deviation[2] and deviation[1] > 2 * deviation[2]


def test_same_seed_and_stamp_give_the_same_particles(frame: Frame) -> None:
    a, b, c = (REFINER.refine(frame, registered(MODEL.name, POSE, stamp)) for stamp in (5, 5, 6))
    np.testing.assert_array_equal(a.cam_from_objs, b.cam_from_objs)
    assert not np.array_equal(a.cam_from_objs, c.cam_from_objs)


def test_results_survive_the_file_and_make_a_table(frame: Frame, tmp_path: Path) -> None:
    result = REFINER.refine(frame, registered(MODEL.name, POSE, 0))
    save_results(tmp_path / "r.npy", [to_record("0/1", result, 0.02)])
    (record,) = load_results(tmp_path / "r.npy")
    np.testing.assert_array_equal(record["sampled_poses"], result.cam_from_objs)
    np.testing.assert_array_equal(record["score_history"], result.score_history)
    table = results_table([record])
    assert table.z_mm[0] == pytest.approx(1e3 * result.registration.cam_from_obj[2, 3])
    assert 0 < table.sd_mm[0] < 20 and table.ms[0] == pytest.approx(20)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.npy"]


def test_unreadable_results_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.npy").write_bytes(b"not numpy")
    with pytest.raises(DatasetError, match=r"bad\.npy"):
        load_results(tmp_path / "bad.npy")
    np.savez(tmp_path / "weights.npz", a=np.zeros(2))
    with pytest.raises(DatasetError, match=r"weights\.npz holds no score-model results"):
        load_results(tmp_path / "weights.npz")
