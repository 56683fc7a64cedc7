"""Laws of injected faults: what is labelled a failure is one, and nothing else is."""

from dataclasses import replace

import numpy as np
import pytest

from storm_core.errors import ConfigError
from storm_core.evaluation.failures.causes import POSE_CAUSES, Cause, FaultEvent, causes_of, plan_event
from storm_core.evaluation.failures.labels import Labels, pose_errors
from storm_core.evaluation.failures.pictures import Pictures, covering_box, inject_picture_fault, turned_camera
from storm_core.evaluation.failures.play import Clip, faulty
from storm_core.evaluation.failures.poses import about_center
from storm_core.evaluation.failures.streams import Fed
from storm_core.evaluation.failures.twins import half_turn, texture_turn
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import so3_exp
from test.synthetic import bracket, frame_of, pose, textured_box

N = 20
CAMERA = PinholeCamera(160, 120, 150.0, 150.0, 79.5, 59.5)
BOX, BRACKET = textured_box("1"), bracket("2")


def clip_of(model: ObjectModel, other: ObjectModel = BRACKET) -> Clip:
    """An object that slides to the right, and another one that stays."""
    truths = np.array([pose((0.4, 0.3, 0.1), (-0.05 + 0.002 * k, 0.0, 0.55)) for k in range(N)])
    beside = pose((0.0, 0.4, 0.0), (0.15, 0.02, 0.6))
    frames = [frame_of([(model, truth), (other, beside)], camera=CAMERA, noise=0.001, seed=k, stamp_ns=k * 33_000_000)
              for k, truth in enumerate(truths)]
    return Clip(known=np.ones(N, bool), centers=[beside[None, :3, 3]] * N,
                pictures=Pictures(frames=frames, truths=truths, visible=np.ones(N), stale=np.zeros(N, bool)))


@pytest.fixture(scope="module")
def clip() -> Clip:
    return clip_of(BOX)


def event_of(cause: Cause, seed: tuple[int, ...] = (3, 1, 1)) -> FaultEvent:
    return plan_event(cause, N, seed)


def labels(clip: Clip, cause: Cause, model: ObjectModel = BOX) -> tuple[FaultEvent, Labels]:
    event = event_of(cause)
    made = faulty(clip, event, model)
    assert made is not None
    return event, made[2]


def test_without_an_event_nothing_is_a_failure(clip: Clip) -> None:
    event, label = labels(clip, Cause.NONE)
    assert not len(event.span) and label.healthy.all() and not label.untrustworthy.any()
    assert 0 < label.error.max() < 0.1  # a tracker's errors, not none


@pytest.mark.parametrize("cause", [Cause.JUMP, Cause.WRONG_OBJECT, Cause.FLIP])
def test_a_wrong_pose_is_wrong_in_its_event_only(clip: Clip, cause: Cause) -> None:
    event, label = labels(clip, cause)
    inside = np.isin(np.arange(N), list(event.span))
    assert (label.error[inside] > 0.1).all() and label.right[~inside].all()


def test_drift_grows_linearly(clip: Clip) -> None:
    event = event_of(Cause.DRIFT)
    made, healthy = faulty(clip, event, BOX), faulty(clip, replace(event, first=N, last=N - 1, cause=Cause.NONE), BOX)
    assert made is not None and healthy is not None
    offset = np.linalg.norm((made[1].poses - healthy[1].poses)[:, :3, 3], axis=1)[event.first:event.last + 1]
    assert np.allclose(np.diff(offset), offset[0]) and np.isclose(offset[-1], event.size * BOX.diameter)


@pytest.mark.parametrize("cause", list(Cause))
def test_the_same_seed_gives_the_same_event_and_poses(clip: Clip, cause: Cause) -> None:
    event, again = event_of(cause), event_of(cause)
    assert event == again or (np.isnan(event.size) and replace(event, size=0.0) == replace(again, size=0.0))
    one, two = faulty(clip, event, BOX), faulty(clip, again, BOX)
    assert (one is None) == (two is None)
    if one is not None and two is not None:
        assert np.array_equal(one[1].poses, two[1].poses)
        assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(one[0].frames, two[0].frames, strict=True))
    assert plan_event(cause, 400, (4, 1, 1)).seed != plan_event(cause, 400, (3, 1, 1)).seed


def test_a_symmetric_equivalent_pose_is_no_failure(clip: Clip) -> None:
    half = about_center(BOX, so3_exp([0.0, 0.0, np.pi]))
    symmetric = replace(BOX, symmetries=np.array([np.eye(4), half]))
    _, label = labels(clip, Cause.EQUIVALENT, symmetric)
    assert label.healthy.all()
    turned = clip.pictures.truths @ half
    assert pose_errors(symmetric, turned, clip.pictures.truths).max() < 1e-6
    assert pose_errors(BOX, turned, clip.pictures.truths).min() > 0.2
    assert faulty(clip, event_of(Cause.EQUIVALENT), BOX) is None  # nothing to declare, nothing to play


def test_turns_about_a_continuous_axis_are_no_failure_between_the_steps_of_the_group() -> None:
    steps = np.arange(72) * (2 * np.pi / 72)
    ring = replace(BOX, symmetries=np.array([about_center(BOX, so3_exp([0.0, 0.0, a])) for a in steps]))
    truth = pose((0.4, 0.3, 0.1), (0.0, 0.0, 0.55))[None]
    assert pose_errors(ring, truth @ about_center(ring, so3_exp([0.0, 0.0, np.radians(32.5)])), truth)[0] < 1e-6


def test_a_twin_that_nobody_can_see_is_not_played() -> None:
    view = pose((0.4, 0.3, 0.1), (0.0, 0.0, 0.55))
    grey = replace(BOX, colors=np.full_like(BOX.colors, 128))
    rng = np.random.default_rng(0)
    assert half_turn(BOX, view, CAMERA) is not None and texture_turn(BOX, view, CAMERA, rng) is not None
    assert half_turn(grey, view, CAMERA) is None and texture_turn(grey, view, CAMERA, rng) is None


@pytest.mark.parametrize("cause", [c for c in Cause if c not in (*POSE_CAUSES, Cause.NONE)])
def test_faults_of_pictures_stay_in_their_event(clip: Clip, cause: Cause) -> None:
    event = event_of(cause)
    made = inject_picture_fault(clip.pictures, event, BOX)
    changed = [not (np.array_equal(a.rgb, b.rgb) and np.array_equal(a.depth, b.depth))
               for a, b in zip(made.frames, clip.pictures.frames, strict=True)]
    assert any(changed) and not any(c for k, c in enumerate(changed) if k not in event.span)
    assert [f.stamp_ns for f in made.frames] == [f.stamp_ns for f in clip.pictures.frames]


@pytest.mark.parametrize("cause", [Cause.HIDDEN, Cause.EXIT, Cause.FROZEN])
def test_trust_in_what_cannot_be_seen_is_not_deserved(clip: Clip, cause: Cause) -> None:
    event, label = labels(clip, cause)
    bad = np.flatnonzero(label.untrustworthy)
    assert len(bad) and bad.min() >= event.first and bad.max() <= event.last


@pytest.mark.parametrize("cause", [Cause.OCCLUSION, Cause.DEPTH_LOSS, Cause.BLUR, Cause.TIME_OFFSET])
def test_disturbances_are_no_failures(clip: Clip, cause: Cause) -> None:
    _, label = labels(clip, cause)
    assert label.healthy.all()


@pytest.mark.parametrize("side", range(4))
def test_an_occluder_covers_the_share_it_should(side: int) -> None:
    v, u = (a.ravel() for a in np.mgrid[20:60, 30:90])
    x0, y0, x1, y1 = covering_box(u, v, 0.4, side, 160, 120)
    assert abs(((u >= x0) & (u < x1) & (v >= y0) & (v < y1)).mean() - 0.4) < 0.03


def test_a_turned_camera_sees_the_object_where_the_truth_says(clip: Clip) -> None:
    frame, truth = clip.pictures.frames[0], clip.pictures.truths[0]
    turned, turn = turned_camera(frame, 0.2)
    center = (turn @ truth)[:3, :3] @ BOX.center + (turn @ truth)[:3, 3]
    there = frame_of([(BOX, turn @ truth)], camera=CAMERA, table=False)
    on_object = (there.depth > 0) & (turned.depth > 0)
    assert on_object.sum() > 100
    assert np.median(np.abs(there.depth - turned.depth)[on_object]) < 0.003 * center[2]


def test_bad_input_is_named() -> None:
    with pytest.raises(ConfigError, match="5 frames is too short.*12"):
        plan_event(Cause.JUMP, 5, (0,))
    with pytest.raises(ConfigError, match="'jmp'.*jump"):
        causes_of(["jmp"])


def test_what_the_tracker_said_does_not_hold_for_a_pose_that_was_made_wrong() -> None:
    poses = np.tile(np.eye(4), (3, 1, 1))
    fed = replace(Fed.of(poses), covariances=np.ones((3, 6, 6)), region=np.full(3, 0.8))
    wrong = poses.copy()
    wrong[1, 0, 3] = 0.1
    changed = fed.changed(wrong)
    assert np.isnan(changed.region).tolist() == [False, True, False]
    assert np.isnan(changed.covariances).all((1, 2)).tolist() == [False, True, False]
    assert np.array_equal(changed.poses, wrong)
