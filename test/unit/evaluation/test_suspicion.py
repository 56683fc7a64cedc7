"""Frozen, mocked and stale poses are named; honest ones, on still scenes too, are not."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from storm_core.geometry.pose import se3_exp
from storm_core.report.suspicion import repeated_images
from test.unit.evaluation.runs import BOX, HALF_TURN, START, assessed, findings, noisy, path, published, truth_of

N = 120
PATH = path(N)
VARYING = np.random.default_rng(1).uniform(0.5, 1.0, N)


def named(poses: np.ndarray, truth: np.ndarray | None = PATH, level: str = "warning", **more: object) -> set[str]:
    more = {"probability": VARYING[:len(poses)], **more}
    return findings(assessed(published(list(poses), **more), None if truth is None else truth_of(truth)), level)


def details(poses: np.ndarray) -> str:
    return " ".join(f["detail"] for f in assessed(published(list(poses)), truth_of(PATH)).suspicion)


def test_an_honest_run_is_not_suspected() -> None:
    assert named(noisy(PATH)) == named(noisy(PATH), level="note") == set()
    assert named(noisy(PATH), None) == named(noisy(PATH), None, "note") == set(), "without ground truth neither"


def test_an_honest_run_on_a_still_scene_is_not_suspected() -> None:
    still = np.repeat(START[None], N, 0)
    assert named(noisy(still), still) == named(noisy(still), still, "note") == set()


def test_a_constant_pose_on_a_still_scene_cannot_be_told() -> None:
    still = np.repeat(START[None], N, 0)
    constant = np.repeat(noisy(still)[:1], N, 0)
    assert named(constant, still) == set() and named(constant, still, "note") == {"CANNOT_TELL"}
    assert named(constant, None) == set() and named(constant, None, "note") == {"CANNOT_TELL"}


def test_a_frozen_pose_is_named_with_its_frames() -> None:
    poses = noisy(PATH)
    poses[40:60] = poses[40]
    assert named(poses) == {"FROZEN"}
    found = assessed(published(list(poses), probability=VARYING), truth_of(PATH)).suspicion
    assert [f["frames"] for f in found] == [20] and found[0]["object"] == "box"


def test_a_constant_pose_of_a_moving_object_is_frozen_and_a_mock() -> None:
    assert named(np.repeat(PATH[:1], N, 0)) >= {"FROZEN", "MOCK"}


def test_a_copy_of_the_ground_truth_is_a_mock() -> None:
    assert named(PATH) == {"MOCK"} and "copy" in details(PATH)
    rounded = PATH.round(7)
    assert named(rounded) == {"MOCK"}, "also after a text file with few digits"
    assert named(noisy(PATH, metres=2e-5, radians=1e-4)) == set(), "a very good system is none"


@pytest.mark.parametrize(("pose", "word"), [(np.eye(4), "identity"), (se3_exp([0, 0, 0, 0.3, 0, 0]), "zero")])
def test_placeholders_are_mocks(pose: np.ndarray, word: str) -> None:
    poses = noisy(PATH)
    poses[::10] = pose
    assert named(poses) >= {"MOCK"} and word in details(poses)


def test_poses_out_of_view_are_mocks() -> None:
    poses = noisy(PATH)
    poses[:5, 0, 3] += 2.0
    assert named(poses) == {"MOCK"}
    behind = noisy(PATH)
    behind[:5, 2, 3] *= -1
    assert named(behind) == {"MOCK"}
    edge = noisy(PATH)
    edge[:, 0, 3] = 319.5 / 600 * edge[:, 2, 3]
    assert named(edge, None) == set(), "half in the picture is in view"


@pytest.mark.parametrize("lag", [1, 2, 5, 12])
@pytest.mark.parametrize("model", [BOX, HALF_TURN], ids=["plain", "symmetric"])
def test_late_poses_are_stale_by_their_lag(lag: int, model: object) -> None:
    late = np.concatenate([np.repeat(PATH[:1], lag, 0), PATH[:-lag]])
    a = assessed(published(list(noisy(late)), probability=VARYING), truth_of(PATH), model)
    stale = [f for f in a.suspicion if f["finding"] == "STALE"]
    assert len(stale) == 1 and f"lag by {lag} frame" in stale[0]["detail"]
    good = assessed(published(list(noisy(PATH)), probability=VARYING), truth_of(PATH), model)
    assert a.figures["add_auc"] < good.figures["add_auc"] - 0.01
    assert a.figures["mssd_mm"]["p50"] > good.figures["mssd_mm"]["p50"]


def test_every_pose_published_twice_is_stale() -> None:
    poses = noisy(PATH)
    poses[1::2] = poses[::2]
    assert "STALE" in named(poses) and "FROZEN" not in named(poses)


def test_poses_with_the_stamp_of_an_earlier_frame_are_stale() -> None:
    assert named(noisy(PATH), pose_lag_ns=30_000_000) == {"STALE"}


def test_one_probability_for_everything_is_noted() -> None:
    assert named(noisy(PATH), level="note", probability=1.0) == {"ONE_PROBABILITY"}
    assert named(noisy(PATH), level="note", probability=np.nan) == set(), "no probability claims nothing"


def test_repeated_images_are_counted_without_decoding(tmp_path: Path) -> None:
    class Folder:
        path = tmp_path
        ids = tuple((0, k) for k in range(6))

    rng = np.random.default_rng(0)
    for part in ("rgb", "depth"):
        (tmp_path / part).mkdir()
    images = rng.integers(0, 255, (6, 20, 20, 3), np.uint8)
    for k in range(6):
        cv2.imwrite(str(tmp_path / "rgb" / f"{k:06d}.png"), images[2 if k in (3, 4) else k])
        cv2.imwrite(str(tmp_path / "depth" / f"{k:06d}.png"), images[k, ..., 0].astype(np.uint16))
    assert repeated_images(Folder(), 6) == 2  # type: ignore[arg-type]
    assert repeated_images(Folder(), 4) == 1  # type: ignore[arg-type]
