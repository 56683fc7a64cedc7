"""A turned box agrees with depth as well as the right pose; its print does not."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from storm_core.config import MonitorConfig
from storm_core.evidence.features import bare_features
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import angle_between, from_rotation_translation, so3_exp, transform
from storm_core.monitor.monitor import EvidenceMonitor
from storm_core.monitor.twin_watch import FAR, LIMIT, TwinWatch
from storm_core.types import Frame, Reason, Track, Verdict
from test.synthetic import frame_of, model_of, pose, textured_box
from test.unit.tracking.scenes import printed_can

TRUTH = pose((0.4, 0.9, -0.5), (0.03, 0.02, 0.62))
HALF_TURN = np.eye(4)
HALF_TURN[:3, :3] = so3_exp([0.0, 0.0, np.pi])


@pytest.fixture(scope="module")
def model() -> ObjectModel:
    return textured_box()


def frames(model: ObjectModel, count: int) -> list[Frame]:
    rng = np.random.default_rng(0)
    still = frame_of([(model, TRUTH)], noise=0.002)
    noisy = [np.clip(still.rgb + rng.normal(0, 4, still.rgb.shape), 0, 255).astype(np.uint8) for _ in range(count)]
    return [replace(still, rgb=rgb, stamp_ns=k) for k, rgb in enumerate(noisy)]


def test_the_right_pose_is_not_doubted_and_a_turned_one_within_a_few_frames(model: ObjectModel) -> None:
    right, wrong = TwinWatch(model), TwinWatch(model)
    for frame in frames(model, 8):
        features = bare_features(frame)
        assert right.doubt(features, TRUTH) == 0.0
        last = wrong.doubt(features, TRUTH @ HALF_TURN)
    assert last >= LIMIT


def test_a_pose_that_flips_is_doubted_although_it_was_right_before(model: ObjectModel) -> None:
    watch = TwinWatch(model)
    doubts = [watch.doubt(bare_features(frame), TRUTH if k < 5 else TRUTH @ HALF_TURN)
              for k, frame in enumerate(frames(model, 10))]
    assert doubts[4] == 0.0 and doubts[-1] >= LIMIT
    watch.reset()
    assert watch.doubt(bare_features(frames(model, 1)[0]), TRUTH) == 0.0


def test_declared_symmetries_and_missing_colours_leave_no_twin_to_doubt(model: ObjectModel) -> None:
    turns = np.tile(np.eye(4), (4, 1, 1))
    turns[1:, :3, :3] = so3_exp(np.pi * np.eye(3))
    frame = bare_features(frames(model, 1)[0])
    assert TwinWatch(replace(model, symmetries=turns)).doubt(frame, TRUTH @ HALF_TURN) == 0.0
    assert TwinWatch(replace(model, colors=None)).doubt(frame, TRUTH @ HALF_TURN) == 0.0


def test_the_monitor_calls_a_turned_pose_lost_because_it_is_ambiguous(model: ObjectModel) -> None:
    monitor = EvidenceMonitor({model.name: model}, MonitorConfig())
    track = Track(object_name=model.name, stamp_ns=0, cam_from_obj=TRUTH, covariance=np.eye(6) * 1e-6, innovation=0.0)
    seen = frames(model, 12)
    for frame in seen[:4]:
        judged = monitor.judge(frame, track)
        assert judged.verdict is Verdict.HEALTHY
    probabilities = []
    for frame in seen[4:]:
        judged = monitor.judge(frame, replace(track, cam_from_obj=TRUTH @ HALF_TURN))
        probabilities.append(judged.probability)
    assert judged.verdict is Verdict.LOST and judged.probability < 0.2
    assert judged.reason is Reason.AMBIGUOUS or judged.reason is Reason.COLOR_DISAGREES
    monitor.reset(model.name)
    assert monitor.judge(seen[0], track).verdict is Verdict.HEALTHY


def test_without_depth_a_picture_that_contradicts_is_no_excuse(model: ObjectModel) -> None:
    monitor = EvidenceMonitor({model.name: model}, MonitorConfig())
    frame = frames(model, 1)[0]
    blind = replace(frame, depth=np.zeros_like(frame.depth))
    track = Track(object_name=model.name, stamp_ns=0, cam_from_obj=TRUTH, covariance=np.eye(6) * 1e-6, innovation=0.0)
    assert monitor.judge(blind, track).verdict is Verdict.DEGRADED
    monitor.reset(model.name)
    beside = TRUTH.copy()
    beside[:3, 3] += [0.12, 0.0, 0.0]
    for _ in range(3):
        judged = monitor.judge(blind, replace(track, cam_from_obj=beside))
    assert judged.verdict is Verdict.LOST


def test_what_was_counted_stands_while_the_object_is_hidden_and_the_pose_stays(model: ObjectModel) -> None:
    watch = TwinWatch(model)
    assert np.isnan(watch.standing(TRUTH)), "nothing was seen yet"
    for frame in frames(model, 6):
        doubt = watch.doubt(bare_features(frame), TRUTH @ HALF_TURN)
    assert watch.standing(TRUTH @ HALF_TURN) == doubt >= LIMIT
    turning = TRUTH @ HALF_TURN
    for _ in range(10):
        turning = turning @ from_rotation_translation(so3_exp([0.1, 0.0, 0.0]), np.zeros(3))
        assert watch.standing(turning) == doubt, "a slow turn while it is hidden makes it no other pose"
    assert np.isnan(watch.standing(TRUTH)), "another pose is no longer the doubted one"
    assert np.isnan(watch.standing(TRUTH)), "nor is it when it stays"


def test_a_new_pose_is_asked_about_its_twins_although_it_is_seen_badly(model: ObjectModel) -> None:
    """A pose that jumps onto a twin while depth is lost has never been acquitted."""
    watch, kept = TwinWatch(model), TwinWatch(model)
    for frame in frames(model, 3):
        assert watch.doubt(bare_features(frame), TRUTH) == kept.doubt(bare_features(frame), TRUTH) == 0.0
    for frame in frames(model, 8):
        without = bare_features(replace(frame, depth=np.zeros_like(frame.depth)))
        turned = watch.doubt(without, TRUTH @ HALF_TURN, clear=False)
        assert kept.doubt(without, TRUTH, clear=False) == 0.0
    assert turned >= LIMIT
    for frame in frames(model, 8):
        turned = watch.doubt(bare_features(frame), TRUTH)
    assert turned == 0.0, "the right pose, seen well, is believed"


def test_a_pose_that_was_seen_well_is_not_judged_by_what_is_seen_badly(model: ObjectModel) -> None:
    watch = TwinWatch(model)
    flat = frames(model, 4)
    for frame in flat:
        watch.doubt(bare_features(frame), TRUTH)
    turned_round = frame_of([(model, TRUTH @ HALF_TURN)], noise=0.002)
    hidden = bare_features(replace(turned_round, depth=np.zeros_like(turned_round.depth)))
    assert [watch.doubt(hidden, TRUTH, clear=False) for _ in range(8)] == [0.0] * 8


def test_a_turn_that_hardly_moves_the_surface_is_not_watched() -> None:
    """A slightly turned can is within what counts as right: the next of its many twins must not convict it."""
    can = printed_can()
    watch = TwinWatch(can)
    turns = np.array([np.linalg.norm(transform(turn, can.vertices) - can.vertices, axis=1).max()
                      for turn in watch.turns]) / can.diameter
    assert len(turns) > 8 and turns.min() >= FAR


def with_handle(body: trimesh.Trimesh) -> ObjectModel:
    """A round body of one colour with a small handle."""
    handle = trimesh.creation.box(extents=(0.012, 0.012, 0.05))
    handle.apply_translation((0.042, 0.0, 0.0))
    mesh = trimesh.util.concatenate([body, handle]).subdivide_to_size(0.006)
    return model_of(mesh, "beaker", np.full((len(mesh.vertices), 3), (150, 120, 90), np.uint8))


def test_depth_alone_does_not_convict_a_pose_that_is_a_little_off() -> None:
    """A beaker of one colour with a small handle: a twin that lies a little nearer to the depth proves nothing."""
    beaker = with_handle(trimesh.creation.cylinder(0.035, 0.09, sections=48))
    truth = pose((1.9, 0.6, 0.2), (0.02, 0.01, 0.6))
    features = bare_features(frame_of([(beaker, truth)], noise=0.002))
    watch, rng, worst = TwinWatch(beaker), np.random.default_rng(0), 0.0
    assert len(watch.turns) > 1, "its twins are watched"
    for _ in range(25):
        off = truth.copy()
        off[:3, :3] = so3_exp(0.022 * rng.standard_normal(3)) @ truth[:3, :3]
        off[:3, 3] += 0.012 * beaker.diameter * rng.standard_normal(3)
        watch.reset()
        worst = max([worst, *(watch.doubt(features, off) for _ in range(8))])
    assert worst < 0.2 * LIMIT


@pytest.mark.parametrize("turn", [(2.2, 0.0, 0.0), (2.6, 0.3, 0.0), (0.6, 0.3, 0.0)])
def test_a_cup_on_its_head_is_lost(turn: tuple[float, float, float]) -> None:
    """Its bottom, where the pose shows the inside, is no occluder."""
    body = trimesh.creation.revolve(
        [(0, 0), (0.035, 0), (0.035, 0.09), (0.031, 0.09), (0.031, 0.004), (0, 0.004)], sections=48)
    body.apply_translation((0.0, 0.0, -0.045))
    cup, truth = with_handle(body), pose(turn, (0.02, 0.01, 0.5))
    half = so3_exp([np.pi, 0.0, 0.0])
    flip = from_rotation_translation(half, cup.center - half @ cup.center)
    frame = frame_of([(cup, truth)], noise=0.002)
    monitor = EvidenceMonitor({cup.name: cup}, MonitorConfig(freeze_frames=50))
    track = Track(object_name=cup.name, stamp_ns=0, cam_from_obj=truth, covariance=np.eye(6) * 1e-6, innovation=0.0)
    assert all(monitor.judge(frame, track).verdict is Verdict.HEALTHY for _ in range(6))
    monitor.reset(cup.name)
    words = [monitor.judge(frame, replace(track, cam_from_obj=truth @ flip)) for _ in range(8)]
    assert words[5].verdict is words[-1].verdict is Verdict.LOST


def test_half_turns_are_watched_although_the_shape_tells_them_apart() -> None:
    body = trimesh.creation.box(extents=(0.05, 0.09, 0.02))
    foot = trimesh.creation.box(extents=(0.05, 0.02, 0.05))
    foot.apply_translation((0.0, 0.035, 0.03))
    mesh = trimesh.util.concatenate([body, foot]).subdivide_to_size(0.01)
    bracket = model_of(mesh, "bracket", np.full((len(mesh.vertices), 3), 120, np.uint8))
    turns = TwinWatch(bracket).turns
    for axis in np.eye(3):
        assert angle_between(turns, from_rotation_translation(so3_exp(np.pi * axis), np.zeros(3))).min() < 0.35
    declared = np.array([np.eye(4), from_rotation_translation(so3_exp([np.pi, 0, 0]), np.zeros(3))])
    assert len(TwinWatch(replace(bracket, symmetries=declared)).turns) < len(turns), "declared ones are no twins"
