"""The tracker on rendered sequences with known motion."""

from dataclasses import replace

import numpy as np
import pytest

from storm_core.config import TrackingConfig
from storm_core.errors import InputError
from storm_core.geometry.pose import angle_between, from_rotation_translation, se3_exp, so3_exp, so3_log, transform
from storm_core.tracking.optimise import center_of
from storm_core.tracking.tracker import RegionDepthTracker
from storm_core.tracking.uncertainty import left_covariance
from storm_core.types import Frame, Reason, Track, TrackFailure
from test.unit.tracking.scenes import CAMERA, STEP_NS, background, observe, printed_can, registered, swing, wedge

MODEL = wedge()
CONFIG = TrackingConfig()


def sequence(count: int, speed: float = 1.0, seed: int = 0, **kwargs: float) -> tuple[np.ndarray, list[Frame]]:
    rng = np.random.default_rng(seed)
    backdrop = background(rng)
    poses = swing(count, speed)
    return poses, [observe(MODEL, pose, i * STEP_NS, backdrop, rng, **kwargs) for i, pose in enumerate(poses)]


def started(pose: np.ndarray, frame: Frame) -> RegionDepthTracker:
    tracker = RegionDepthTracker({MODEL.name: MODEL}, CONFIG)
    tracker.start(frame, registered(MODEL.name, pose, frame.stamp_ns))
    return tracker


def errors(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """(mean vertex distance [m], angle [deg])."""
    gap = transform(found, MODEL.eval_vertices) - transform(truth, MODEL.eval_vertices)
    return float(np.linalg.norm(gap, axis=1).mean()), float(np.rad2deg(angle_between(found, truth)))


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_known_motion_is_followed(speed: float) -> None:
    poses, frames = sequence(25, speed)
    tracker = started(poses[0], frames[0])
    for pose, frame in zip(poses[1:], frames[1:], strict=True):
        track = tracker.track(frame)[MODEL.name]
        assert isinstance(track, Track) and not track.coasting
        shift, angle = errors(track.cam_from_obj, pose)
        assert shift < 0.002 and angle < 1.0


def test_a_can_that_spins_about_its_axis_is_followed_by_its_print() -> None:
    can = printed_can()
    rng = np.random.default_rng(0)
    backdrop = background(rng)
    poses = [
        from_rotation_translation(so3_exp([2.0, 0, 0]) @ so3_exp([0, 0, 0.05 * i]), [0.02 * np.sin(0.1 * i), 0, 0.5])
        for i in range(25)
    ]
    frames = [observe(can, pose, i * STEP_NS, backdrop, rng) for i, pose in enumerate(poses)]
    tracker = RegionDepthTracker({"can": can}, CONFIG)
    tracker.start(frames[0], registered("can", poses[0], 0))
    for frame in frames[1:]:
        track = tracker.track(frame)["can"]
    assert isinstance(track, Track)
    assert np.rad2deg(angle_between(track.cam_from_obj, poses[-1])) < 2.0


def test_without_depth_the_contour_alone_holds_and_the_covariance_grows() -> None:
    poses, frames = sequence(12)
    covariances = []
    for blind in (False, True):
        tracker = started(poses[0], frames[0])
        for frame in frames[1:]:
            if blind:
                frame = Frame(
                    rgb=frame.rgb, depth=np.zeros_like(frame.depth), camera=frame.camera, stamp_ns=frame.stamp_ns
                )
            track = tracker.track(frame)[MODEL.name]
            assert isinstance(track, Track)
        covariances.append(np.trace(left_covariance(track.covariance, -center_of(MODEL, track.cam_from_obj))[:3, :3]))
        assert errors(track.cam_from_obj, poses[-1])[0] < (0.012 if blind else 0.002)
    assert covariances[1] > 1.5 * covariances[0]


def test_occlusion_coasts_with_growing_covariance_and_recovers() -> None:
    poses, frames = sequence(20)
    rng = np.random.default_rng(5)
    tracker = started(poses[0], frames[0])
    sizes = []
    for i in range(1, 20):
        hidden = 8 <= i < 13
        frame = (
            observe(MODEL, poses[i], i * STEP_NS, background(np.random.default_rng(0)), rng, occluder=1.0)
            if hidden
            else frames[i]
        )
        track = tracker.track(frame)[MODEL.name]
        assert isinstance(track, Track)
        assert track.coasting == hidden
        sizes.append(np.trace(left_covariance(track.covariance, -center_of(MODEL, track.cam_from_obj))))
    assert all(a < b for a, b in zip(sizes[7:11], sizes[8:12], strict=True))
    assert errors(track.cam_from_obj, poses[-1])[0] < 0.002


def test_half_hidden_object_is_still_followed() -> None:
    poses, frames = sequence(15)
    tracker = started(poses[0], frames[0])
    rng = np.random.default_rng(1)
    backdrop = background(np.random.default_rng(0))
    for i in range(1, 15):
        frame = observe(MODEL, poses[i], i * STEP_NS, backdrop, rng, occluder=0.5)
        track = tracker.track(frame)[MODEL.name]
        assert isinstance(track, Track) and not track.coasting
    assert errors(track.cam_from_obj, poses[-1])[0] < 0.004


def test_leaving_the_image_ends_the_track_with_a_reason() -> None:
    rng = np.random.default_rng(0)
    backdrop = background(rng)
    pose = swing(1)[0]
    tracker = started(pose, observe(MODEL, pose, 0, backdrop, rng))
    for i in range(1, 40):
        pose = pose.copy()
        pose[0, 3] += 0.015
        result = tracker.track(observe(MODEL, pose, i * STEP_NS, backdrop, rng))[MODEL.name]
        if isinstance(result, TrackFailure):
            break
    assert isinstance(result, TrackFailure) and result.reason is Reason.OUT_OF_VIEW
    assert tracker.track(observe(MODEL, pose, 41 * STEP_NS, backdrop, rng)) == {}


def test_an_object_that_vanishes_is_not_followed_for_long() -> None:
    poses, frames = sequence(6)
    tracker = started(poses[0], frames[0])
    for frame in frames[1:]:
        tracker.track(frame)
    away = swing(1)[0]
    away[2, 3] = -5.0  # behind the camera: the frames show the wall only
    rng = np.random.default_rng(2)
    results = []
    for i in range(6, 20):
        result = tracker.track(observe(MODEL, away, i * STEP_NS, background(np.random.default_rng(0)), rng)).get(
            MODEL.name
        )
        results.append(result)
        if isinstance(result, TrackFailure):
            break
    assert isinstance(results[-1], TrackFailure) and results[-1].reason is Reason.DEPTH_DISAGREES
    assert all(isinstance(r, Track) and r.coasting for r in results[:-1])


def test_a_jump_is_caught_by_the_other_starts() -> None:
    rng = np.random.default_rng(0)
    backdrop = background(rng)
    pose = swing(1)[0]
    tracker = started(pose, observe(MODEL, pose, 0, backdrop, rng))
    jumped = pose.copy()
    jumped[:3, 3] += [0.04, -0.02, 0.0]
    track = tracker.track(observe(MODEL, jumped, STEP_NS, backdrop, rng))[MODEL.name]
    assert isinstance(track, Track) and not track.coasting
    assert errors(track.cam_from_obj, jumped)[0] < 0.003


def test_covariance_covers_the_errors_and_is_not_absurdly_wide() -> None:
    poses, frames = sequence(40, 2.0, noise=0.003)
    tracker = started(poses[0], frames[0])
    scores = []
    for pose, frame in zip(poses[1:], frames[1:], strict=True):
        track = tracker.track(frame)[MODEL.name]
        assert np.linalg.eigvalsh(track.covariance).min() > 0
        center = center_of(MODEL, track.cam_from_obj)
        covariance = left_covariance(track.covariance, -center)
        error = np.concatenate([center_of(MODEL, pose) - center, so3_log(pose[:3, :3] @ track.cam_from_obj[:3, :3].T)])
        scores.append(error @ np.linalg.solve(covariance, error) / 6)
    # Rendered frames have no calibration errors, which the covariance allows for: well below 1 is expected here.
    assert 0.005 < np.mean(scores) < 1.5
    assert np.sqrt(np.diag(covariance)[:3]).max() < 0.005


def test_nudge_moves_the_pose_with_the_object_and_only_within_its_epoch() -> None:
    poses, frames = sequence(5)
    tracker = started(poses[0], frames[0])
    tracks = [tracker.track(frame)[MODEL.name] for frame in frames[1:4]]
    correction = se3_exp([0.001, 0, 0.002, 0.0, 0.01, 0.0])
    assert tracker.nudge(MODEL.name, frames[1].stamp_ns, correction)
    then, now = tracks[0].cam_from_obj, tracks[-1].cam_from_obj
    expected = now @ np.linalg.inv(then) @ correction @ then
    np.testing.assert_allclose(tracker._states[MODEL.name].cam_from_obj, expected, atol=1e-12)
    tracker.start(frames[3], registered(MODEL.name, poses[3], frames[3].stamp_ns))
    assert not tracker.nudge(MODEL.name, frames[1].stamp_ns, correction)
    assert not tracker.nudge("unknown", frames[1].stamp_ns, correction)
    with pytest.raises(InputError):
        tracker.nudge(MODEL.name, frames[3].stamp_ns, np.zeros((4, 4)))


def test_many_corrections_made_from_corrected_poses_leave_a_rotation() -> None:
    """As score_node does it: each correction is the refined pose times the inverse of the tracked one, rounded."""
    poses, frames = sequence(2)
    tracker = started(poses[0], frames[0])
    pose, stamp = tracker._states[MODEL.name].cam_from_obj, frames[0].stamp_ns
    rng = np.random.default_rng(0)
    for _ in range(60):
        better = pose @ se3_exp(rng.normal(0, 1e-3, 6))
        better[:3, :3] += rng.normal(0, 1e-9, (3, 3))
        inverse_of_tracked = np.eye(4)
        inverse_of_tracked[:3, :3] = pose[:3, :3].T
        inverse_of_tracked[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
        assert tracker.nudge(MODEL.name, stamp, better @ inverse_of_tracked)
        pose = tracker._states[MODEL.name].cam_from_obj
    assert pose[:3, :3] @ pose[:3, :3].T == pytest.approx(np.eye(3), abs=1e-12)


def test_unknown_objects_are_refused_by_name() -> None:
    poses, frames = sequence(1)
    with pytest.raises(InputError, match="cannot track unknown object 'cup'"):
        started(poses[0], frames[0]).start(frames[0], registered("cup", poses[0], 0))


def test_objects_are_followed_independently_and_cost_adds_up_linearly() -> None:
    """Work per object does not depend on the others: counted in alignments, not in seconds."""
    poses, frames = sequence(4)
    twin = wedge("twin")
    tracker = RegionDepthTracker({MODEL.name: MODEL, "twin": twin}, CONFIG)
    tracker.start(frames[0], registered(MODEL.name, poses[0], 0))
    alone = [tracker.track(f)[MODEL.name].cam_from_obj for f in frames[1:]]
    tracker.start(frames[0], registered(MODEL.name, poses[0], 0))
    tracker.start(frames[0], registered("twin", poses[0], 0))
    for expected, frame in zip(alone, frames[1:], strict=True):
        tracks = tracker.track(frame)
        assert set(tracks) == {MODEL.name, "twin"}
        np.testing.assert_allclose(tracks[MODEL.name].cam_from_obj, expected, atol=1e-12)
    tracker.stop(MODEL.name)
    assert set(tracker.track(frames[-1])) == {"twin"}


def test_other_models_leave_alone_what_stays_the_same() -> None:
    poses, frames = sequence(4)
    twin = wedge("twin")
    tracker = RegionDepthTracker({MODEL.name: MODEL, "twin": twin}, CONFIG)
    undisturbed = started(poses[0], frames[0])
    for name in (MODEL.name, "twin"):
        tracker.start(frames[0], registered(name, poses[0], 0))
    tracker.renew({MODEL.name: MODEL, "twin": replace(twin, sha256="another mesh"), "third": wedge("third")}, CONFIG)
    for frame in frames[1:]:
        tracks = tracker.track(frame)
        assert set(tracks) == {MODEL.name}, "the replaced object has to be registered again"
        np.testing.assert_array_equal(tracks[MODEL.name].cam_from_obj,
                                      undisturbed.track(frame)[MODEL.name].cam_from_obj)
    tracker.start(frames[-1], registered("third", poses[-1], frames[-1].stamp_ns))
    tracker.renew({"third": wedge("third")}, CONFIG)
    with pytest.raises(InputError, match="known: third"):
        tracker.start(frames[0], registered(MODEL.name, poses[0], 0))


def test_a_slow_camera_that_swings_is_followed_by_the_motion_of_the_scene() -> None:
    """Half a diameter and more between frames, back and forth: constant velocity is wrong every time."""
    rng = np.random.default_rng(0)
    pattern = np.kron(rng.integers(40, 160, (60, 90, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    base = swing(1)[0]
    tracker, track = None, None
    for i, shift in enumerate([0, 36, 0, 60, 30, 72]):
        pose = base.copy()
        # Wall and object at different distances: the camera moved sideways by `shift` px of the wall at 1 m.
        pose[0, 3] += shift / CAMERA.fx
        backdrop = np.ascontiguousarray(pattern[: CAMERA.height, 100 - shift : 100 - shift + CAMERA.width])
        frame = observe(MODEL, pose, i * 500_000_000, backdrop, rng)
        if tracker is None:
            tracker = started(pose, frame)
            continue
        track = tracker.track(frame)[MODEL.name]
        assert isinstance(track, Track) and not track.coasting
        assert errors(track.cam_from_obj, pose)[0] < 0.003


def test_beside_an_occluder_and_in_its_shadow_the_contour_holds_the_object() -> None:
    """Active stereo sees nothing there: what is measured is the occluder, what is seen has no depth."""
    poses, frames = sequence(15)
    rng = np.random.default_rng(1)
    backdrop = background(np.random.default_rng(0))
    tracker = started(poses[0], frames[0])
    for i in range(1, 15):
        frame = observe(MODEL, poses[i], i * STEP_NS, backdrop, rng, occluder=0.5)
        depth = frame.depth.copy()
        depth[:, CAMERA.width // 2 :] = 0.0
        frame = replace(frame, depth=depth)
        track = tracker.track(frame)[MODEL.name]
        assert isinstance(track, Track)
        assert Reason.NO_DEPTH in track.missing
    assert errors(track.cam_from_obj, poses[-1])[0] < 0.012
    alone = float(np.linalg.norm(poses[-1][:3, 3] - poses[0][:3, 3]))
    assert alone > 0.02, "the object has moved further than it may be off"


@pytest.mark.parametrize("bars", [14, 20])
def test_a_can_in_front_of_a_camera_that_suddenly_pans_does_not_roll(bars: int) -> None:
    """A shift of the picture that nobody foresaw must not be taken for a turn of the print, here by its next bar."""
    can = printed_can()
    angle = np.arctan2(can.vertices[:, 1], can.vertices[:, 0])
    dark = (np.sin(bars * angle) > 0) & (can.vertices[:, 2] > 0)
    can = replace(can, colors=np.where(dark[:, None], 40, 210).astype(np.uint8).repeat(3, 1))
    rng = np.random.default_rng(0)
    # The backdrop stands still in these pictures: the object alone says how it moves.
    backdrop, lying = background(rng), so3_exp([2.0, 0, 0]) @ so3_exp([0, 0, 0.3])
    poses = []
    for i in range(9):
        turned_camera = from_rotation_translation(so3_exp([0.0, 0.06 * max(0, i - 3), 0.0]), np.zeros(3))
        poses.append(turned_camera @ from_rotation_translation(lying, [-0.15, 0.0, 0.5]))
    frames = [observe(can, pose, i * STEP_NS, backdrop, rng) for i, pose in enumerate(poses)]
    tracker = RegionDepthTracker({"can": can}, CONFIG)
    tracker.start(frames[0], registered("can", poses[0], 0))
    for pose, frame in zip(poses[1:], frames[1:], strict=True):
        track = tracker.track(frame)["can"]
        assert isinstance(track, Track)
        assert np.rad2deg(angle_between(track.cam_from_obj, pose)) < 2.0
        assert track.region > 0.3, "the outline was in plain view"


@pytest.mark.parametrize("gap_ns", [240, 20_000, 1_000_000])
def test_stamps_that_nearly_coincide_throw_no_object_behind_the_camera(gap_ns: int) -> None:
    rng = np.random.default_rng(0)
    backdrop = background(rng)
    stamps = np.cumsum([0, *[STEP_NS] * 4, gap_ns, *[STEP_NS] * 4])
    poses = [from_rotation_translation(so3_exp([0.4, 0.3, 0.0]), [0.0, 0.0, 0.6 - 0.15 * k * STEP_NS * 1e-9])
             for k in range(len(stamps))]
    frames = [observe(MODEL, pose, int(stamp), backdrop, rng) for pose, stamp in zip(poses, stamps, strict=True)]
    tracker = started(poses[0], frames[0])
    for pose, frame in zip(poses[1:], frames[1:], strict=True):
        track = tracker.track(frame)[MODEL.name]
        assert isinstance(track, Track) and errors(track.cam_from_obj, pose)[0] < 0.004


def test_a_symmetric_objects_registration_is_not_the_tracks_own_array() -> None:
    poses, frames = sequence(2)
    tracker = started(poses[0], frames[0])
    again = tracker.start(frames[0], registered(MODEL.name, poses[0], frames[0].stamp_ns))
    again.cam_from_obj[:3, 3] += 1.0
    track = tracker.track(frames[1])[MODEL.name]
    assert isinstance(track, Track) and errors(track.cam_from_obj, poses[1])[0] < 0.004


def test_depth_that_is_not_finite_counts_as_missing() -> None:
    poses, frames = sequence(3)
    tracker = started(poses[0], frames[0])
    for pose, frame in zip(poses[1:], frames[1:], strict=True):
        depth = frame.depth.copy()
        depth[::7], depth[3::7], depth[5::7] = np.nan, np.inf, -np.inf
        holed = replace(frame, depth=depth)
        assert np.isfinite(holed.depth).all() and (holed.depth[::7] == 0).all()
        track = tracker.track(holed)[MODEL.name]
        assert isinstance(track, Track) and errors(track.cam_from_obj, pose)[0] < 0.003
