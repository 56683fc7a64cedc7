"""The motion of the scene from its points of interest."""

import numpy as np
import pytest

from storm_core.geometry.pose import angle_between, from_rotation_translation, so3_exp, transform
from storm_core.tracking.landmarks import MIN_AGREEING, Landmarks, landmarks, motion, scene_motion
from storm_core.types import Frame
from test.unit.tracking.scenes import CAMERA


def seen(points: np.ndarray) -> Landmarks:
    return Landmarks(CAMERA.project(points), np.zeros((len(points), 32), np.uint8), points)


def cloud(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.uniform([-0.3, -0.2, 0.6], [0.3, 0.2, 1.2], (count, 3))


@pytest.mark.parametrize("wrong", [0.0, 0.3, 0.6])
def test_the_motion_is_found_although_many_landmarks_are_mistaken(wrong: float) -> None:
    rng = np.random.default_rng(3)
    points = cloud(rng, 120)
    now_from_before = from_rotation_translation(so3_exp([0.1, -0.25, 0.15]), [0.08, 0.03, -0.05])
    after = transform(now_from_before, points)
    mistaken = rng.random(120) < wrong
    after[mistaken] = cloud(rng, int(mistaken.sum()))
    pairs = np.stack([np.arange(120)] * 2, 1)
    found = motion(seen(points), seen(after), pairs, CAMERA)
    assert found is not None
    assert np.linalg.norm(found[:3, 3] - now_from_before[:3, 3]) < 1e-3
    assert angle_between(found, now_from_before) < 1e-3


def test_landmarks_that_agree_on_nothing_or_are_too_few_give_no_motion() -> None:
    rng = np.random.default_rng(4)
    pairs = np.stack([np.arange(100)] * 2, 1)
    assert motion(seen(cloud(rng, 100)), seen(cloud(rng, 100)), pairs, CAMERA) is None
    few = cloud(rng, MIN_AGREEING - 1)
    assert motion(seen(few), seen(few), pairs[: len(few)], CAMERA) is None


def wall(shift_px: int, depth: float = 1.0) -> Frame:
    """A printed wall at 1 m, seen by a camera that moved sideways by so many pixels."""
    rng = np.random.default_rng(1)
    print_ = np.kron(rng.integers(0, 255, (40, 60, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    rgb = np.ascontiguousarray(print_[: CAMERA.height, 80 - shift_px : 80 - shift_px + CAMERA.width])
    return Frame(rgb=rgb, depth=np.full(rgb.shape[:2], depth, np.float32), camera=CAMERA, stamp_ns=shift_px)


def test_a_picture_of_a_wall_tells_how_the_camera_moved() -> None:
    found = scene_motion(wall(0), wall(24))
    assert found is not None
    # On a plane a turn and a shift look nearly the same: what counts is where the points of the wall arrive.
    corners = np.array([[x, y, 1.0] for x in (-0.3, 0.3) for y in (-0.2, 0.2)])
    assert np.abs(transform(found, corners) - corners - [24 / CAMERA.fx, 0, 0])[:, :2].max() < 3e-3


def test_without_depth_or_print_there_is_no_motion_and_no_error() -> None:
    assert scene_motion(wall(0, depth=0.0), wall(24)) is None
    grey = Frame(rgb=np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8),
                 depth=np.ones((CAMERA.height, CAMERA.width), np.float32), camera=CAMERA, stamp_ns=0)
    assert len(landmarks(grey).pixels) == 0
    assert scene_motion(grey, wall(0)) is None and scene_motion(wall(0), grey) is None
