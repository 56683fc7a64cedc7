"""Messages and core types turn into each other without loss, and bad messages are refused by name."""

from dataclasses import replace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image

from storm_core.errors import DatasetError, InputError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.pose import se3_exp
from storm_core.recovery.machine import Action, ObjectState, State
from storm_core.types import Evidence, Judgement, ObjectOutput, Reason, Track, Verdict
from storm_ros import conversions as c
from storm_ros import detections, records
from storm_ros.frame_decoder import FrameDecoder
from storm_ros.quaternions import matrix_of, quaternion_of
from test.synthetic import textured_box

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
AT = c.header(1_234_567_891_011_121_314, "optical")

poses = st.lists(st.floats(-2.0, 2.0), min_size=6, max_size=6).map(lambda xi: se3_exp(np.array(xi)))


def covariance(seed: int) -> np.ndarray:
    a = np.random.default_rng(seed).normal(size=(6, 6)) * 0.01
    return a @ a.T + 1e-8 * np.eye(6)


@pytest.mark.parametrize("encoding,pixels", [
    ("rgb8", RGB), ("bgr8", RGB[..., ::-1]),
    ("rgba8", np.dstack([RGB, np.full((5, 7), 9, np.uint8)])),
    ("bgra8", np.dstack([RGB[..., ::-1], np.full((5, 7), 9, np.uint8)]))])
def test_every_colour_encoding_gives_the_same_rgb(encoding, pixels):
    assert np.array_equal(c.to_rgb(c.raw_image(c.to_image(pixels, encoding, AT))), RGB)


def test_grey_images_get_three_equal_channels():
    rgb = c.to_rgb(c.raw_image(c.to_image(RGB[..., 0], "mono8", AT)))
    assert np.array_equal(rgb, np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize("frame_id", ["", "a", "ab", "abc", "abcd", "camera_color_optical_frame"])
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8", "rgba8", "16UC1"])
def test_the_fast_reader_agrees_with_the_deserialiser(frame_id, encoding):
    channels = {"rgb8": 3, "bgr8": 3, "mono8": 1, "rgba8": 4, "16UC1": 2}[encoding]
    message = Image(header=c.header(-5 + 10**18, frame_id), height=3, width=5, encoding=encoding, step=5 * channels)
    message.data = bytes(range(15 * channels))
    fast, slow = c.read_image(serialize_message(message)), c.raw_image(message)
    assert bytes(fast.data) == bytes(slow.data)
    for name in ("stamp_ns", "frame_id", "height", "width", "encoding", "step", "is_bigendian"):
        assert getattr(fast, name) == getattr(slow, name), name


def test_rows_may_be_padded():
    padded = np.zeros((5, 32), np.uint8)
    padded[:, :21] = RGB.reshape(5, 21)
    message = Image(height=5, width=7, encoding="rgb8", step=32)
    message.data = padded.tobytes()
    assert np.array_equal(c.to_rgb(c.raw_image(message)), RGB)


def test_depth_in_millimetres_and_metres_mean_the_same():
    mm = RNG.integers(0, 5000, (4, 6)).astype(np.uint16)
    metres = (mm * np.float32(0.001)).astype(np.float32)
    from_mm = c.to_depth(c.raw_image(c.to_image(mm, "16UC1", AT)))
    assert from_mm.dtype == np.float32 and np.array_equal(from_mm, metres)
    assert np.allclose(c.to_depth(c.raw_image(c.to_image(metres, "32FC1", AT))), metres)
    big = Image(height=4, width=6, encoding="16UC1", step=12, is_bigendian=1)
    big.data = mm.astype(">u2").tobytes()
    assert np.array_equal(c.to_depth(c.raw_image(big)), metres)


def test_missing_depth_is_zero_whatever_the_sensor_writes():
    depth = np.array([[np.nan, np.inf, -np.inf, -1.0, 0.0, 0.5]], np.float32)
    assert c.to_depth(c.raw_image(c.to_image(depth, "32FC1", AT))).tolist() == [[0, 0, 0, 0, 0, 0.5]]
    far = c.depth_image(np.array([[70.0, 0.0, -1.0, 1.2346]], np.float32), AT)
    assert np.frombuffer(far.data, "<u2").tolist() == [0, 0, 0, 1235]


def test_masks_survive():
    mask = RNG.random((4, 5)) > 0.5
    assert np.array_equal(c.to_mask(c.raw_image(c.mask_image(mask, AT))), mask)


def test_bad_images_are_refused_with_the_reason():
    with pytest.raises(InputError, match="bayer_rggb8.*rgb8"):
        c.to_rgb(c.raw_image(Image(height=2, width=2, encoding="bayer_rggb8", step=2)))
    with pytest.raises(InputError, match="8UC4.*16UC1"):
        c.to_depth(c.raw_image(Image(height=2, width=2, encoding="8UC4", step=8)))
    short = Image(height=2, width=2, encoding="rgb8", step=6)
    short.data = bytes(11)
    with pytest.raises(InputError, match="12 in all, got step 6 and 11 bytes"):
        c.to_rgb(c.raw_image(short))
    with pytest.raises(InputError, match="empty"):
        c.to_rgb(c.raw_image(Image(encoding="rgb8")))


def test_frames_are_decoded_with_their_stamp_and_frame():
    camera = PinholeCamera(7, 5, 6.0, 6.0, 3.0, 2.0)
    image, depth = c.to_image(RGB, "rgb8", AT), c.depth_image(np.full((5, 7), 0.5, np.float32), AT)
    frame = FrameDecoder("/image").decode(c.raw_image(image), c.raw_image(depth), c.camera_info(camera, AT))
    assert frame.stamp_ns == 1_234_567_891_011_121_314 and frame.frame_id == "optical" and frame.camera == camera
    assert np.array_equal(frame.rgb, RGB) and np.allclose(frame.depth, 0.5)


def test_frames_that_do_not_fit_together_are_refused():
    camera = PinholeCamera(7, 5, 6.0, 6.0, 3.0, 2.0)
    image, depth = c.to_image(RGB, "rgb8", AT), c.depth_image(np.full((5, 7), 0.5, np.float32), AT)
    small = c.depth_image(np.full((4, 7), 0.5, np.float32), AT)
    decode = FrameDecoder("/image").decode
    with pytest.raises(InputError, match=r"\(5, 7\) float32 aligned.*\(4, 7\)"):
        decode(c.raw_image(image), c.raw_image(small), c.camera_info(camera, AT))
    with pytest.raises(DatasetError, match="is camera_info filled in"):
        decode(c.raw_image(image), c.raw_image(depth), CameraInfo(width=7, height=5))
    with pytest.raises(InputError, match=r"rgb must be \(10, 14, 3\)"):
        decode(c.raw_image(image), c.raw_image(depth), c.camera_info(PinholeCamera(14, 10, 9.0, 9.0, 7.0, 5.0), AT))


@settings(max_examples=50, deadline=None)
@given(poses)
def test_poses_survive(pose):
    assert np.allclose(c.from_pose(c.to_pose(pose)), pose, atol=1e-12)


def test_quaternions_are_xyzw():
    quarter_turn_about_z = c.to_pose(se3_exp([0, 0, 0, 0, 0, np.pi / 2])).orientation
    values = [quarter_turn_about_z.x, quarter_turn_about_z.y, quarter_turn_about_z.z, quarter_turn_about_z.w]
    assert np.allclose(values, [0, 0, np.sqrt(0.5), np.sqrt(0.5)])


def test_what_is_no_rotation_is_refused():
    pose = c.to_pose(np.eye(4))
    pose.orientation.w = 0.0
    with pytest.raises(InputError, match="unit quaternion"):
        c.from_pose(pose)


@settings(max_examples=30, deadline=None)
@given(poses, st.integers(0, 10**6))
def test_covariances_survive(pose, seed):
    back, after = c.from_covariance(c.with_covariance(pose, covariance(seed)))
    assert np.allclose(back, pose) and np.allclose(after, covariance(seed), atol=1e-12)


def test_the_published_covariance_is_that_of_the_objects_origin():
    """Monte Carlo: left increments drawn from the core's covariance move the origin as the message says."""
    pose, core = se3_exp([0.3, -0.2, 1.5, 0.4, 0.8, -0.3]), covariance(3) * 1e-3
    draws = np.random.default_rng(1).multivariate_normal(np.zeros(6), core, 40_000)
    moved = se3_exp(draws)[:, :3, :] @ np.append(pose[:3, 3], 1.0)
    published = np.reshape(c.with_covariance(pose, core).covariance, (6, 6))
    expected = np.cov(moved.T)
    assert np.allclose(published[:3, :3], expected, rtol=0.05, atol=0.05 * np.abs(expected).max())
    assert np.allclose(published[3:, 3:], core[3:, 3:])


def test_tracks_survive():
    tracks = [detections.EpochTrack(epoch=7 + k, track=Track(
        object_name=name, stamp_ns=c.stamp_ns(AT.stamp), cam_from_obj=se3_exp(np.full(6, 0.1 * (k + 1))),
        covariance=covariance(k), innovation=0.25 * k, coasting=bool(k),
        missing=(Reason.NO_DEPTH, Reason.NO_COLOR)[:k], region=0.5 if k else float("nan")))
        for k, name in enumerate(("a/b", "cup"))]
    back = detections.read_tracks(detections.tracks_message(tracks, c.stamp_ns(AT.stamp), "optical"))
    for sent, got in zip(tracks, back, strict=True):
        assert (got.epoch, got.track.object_name, got.track.coasting) == (sent.epoch, sent.track.object_name,
                                                                        sent.track.coasting)
        assert got.track.innovation == sent.track.innovation and got.track.stamp_ns == sent.track.stamp_ns
        assert got.track.missing == sent.track.missing
        assert np.array_equal(got.track.region, sent.track.region, equal_nan=True)
        assert np.allclose(got.track.cam_from_obj, sent.track.cam_from_obj)
        assert np.allclose(got.track.covariance, sent.track.covariance)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_localizations_survive_with_any_number_of_hypotheses(count):
    sent = detections.Hypotheses(object_name="cup", epoch=3, stamp_ns=99, probability=0.75,
                                 cam_from_objs=se3_exp(RNG.normal(size=(count, 6)) * 0.3).reshape(-1, 4, 4))
    message = detections.localization_message(sent, "optical")
    assert message.detections[0].results, "viewers read the first result without asking"
    (got,) = detections.read_localizations(message)
    assert (got.object_name, got.epoch, got.stamp_ns, got.probability) == ("cup", 3, 99, 0.75)
    assert np.allclose(got.cam_from_objs, sent.cam_from_objs) and got.cam_from_objs.shape == (count, 4, 4)


def test_detections_hold_the_box_and_leave_out_objects_without_pose():
    box = textured_box("box")
    seen = ObjectOutput(object_name="box", stamp_ns=5, state="TRACKING", reason=Reason.VERIFIED,
                        cam_from_obj=se3_exp([0, 0, 0.5, 0, 0, 0.3]), covariance=covariance(1), probability=0.9,
                        trusted=True, coasting=False, evidence=Evidence())
    lost = ObjectOutput(object_name="cup", stamp_ns=5, state="LOST", reason=Reason.OCCLUDED, cam_from_obj=None,
                        covariance=None, probability=0.0, trusted=False, coasting=False, evidence=Evidence())
    message = detections.detections_message([lost, seen], {"box": box}, "optical", 5)
    (only,) = message.detections
    assert only.id == "box" and only.results[0].hypothesis.class_id == "box" and only.results[0].hypothesis.score == 0.9
    assert np.allclose([only.bbox.size.x, only.bbox.size.y, only.bbox.size.z], box.size)
    (back,) = detections.read_detections(message)
    assert np.allclose(back.cam_from_obj, seen.cam_from_obj) and np.allclose(back.covariance, seen.covariance)
    silent = replace(seen, probability=float("nan"), trusted=False, coasting=True)
    (unknown,) = detections.detections_message([silent], {"box": box}, "optical", 5).detections
    assert unknown.results[0].hypothesis.score == 0.0, "a reader's `score < limit` would let nan through"


def test_requests_answers_and_judgements_survive():
    pose = se3_exp(RNG.normal(size=6))
    request = records.Request(object_name="cup", action=Action.SEARCH, epoch=12, stamp_ns=10**18 + 7, cam_from_obj=pose)
    (got,) = records.read_requests(*records.request_messages([request]))
    assert (got.object_name, got.action, got.epoch, got.stamp_ns) == ("cup", Action.SEARCH, 12, 10**18 + 7)
    assert np.array_equal(got.cam_from_obj, pose)
    answer = records.Answer(object_name="cup", stage=records.Stage.REGISTER, epoch=12, stamp_ns=77, ok=False,
                            reason=Reason.MASK_WITHOUT_DEPTH, detail="too few; px")
    assert records.read_answers(records.answer_message(answer)) == [answer]
    judgement = Judgement(object_name="cup", stamp_ns=77, verdict=Verdict.OCCLUDED, probability=0.25,
                          reason=Reason.OCCLUDED, evidence=Evidence(inlier=0.5, hue=-0.125))
    message = records.judgements_message([records.Judged(judgement=judgement, epoch=4)], 77, "optical")
    (back,) = records.read_judgements(message)
    assert back.epoch == 4 and back.judgement.verdict is Verdict.OCCLUDED and back.judgement.reason is Reason.OCCLUDED
    assert back.judgement.evidence.inlier == 0.5 and np.isnan(back.judgement.evidence.edge)


def test_malformed_records_are_refused():
    (message,) = records.request_messages([records.Request(object_name="cup", action=Action.SEARCH, epoch=1,
                                                          stamp_ns=1)])
    message.status[0].message = "dance"
    with pytest.raises(InputError, match="malformed request.*dance"):
        records.read_requests(message)
    message.status[0].message, message.status[0].values = "search", []
    with pytest.raises(InputError, match="malformed request.*epoch"):
        records.read_requests(message)


def test_status_says_state_reason_and_evidence():
    judgement = Judgement(object_name="cup", stamp_ns=5, verdict=Verdict.HEALTHY, probability=0.9,
                          reason=Reason.CONFIRMED, evidence=Evidence(inlier=0.5))
    entry = records.object_status("cup", ObjectState(state=State.SUSPECT, reason=Reason.OCCLUDED, epoch=3), judgement,
                                  "hand in front", State.TRACKING)
    values = records.values_of(entry)
    assert entry.message == "SUSPECT: occluded" and values["previous_state"] == "TRACKING"
    assert values["trusted"] == "false" and values["coasting"] == "true" and values["evidence.inlier"] == "0.5"
    assert values["missing"] == ""


def test_status_warns_of_a_track_without_depth_or_colour():
    state = ObjectState(state=State.TRACKING, reason=Reason.CONFIRMED, epoch=3)
    whole = records.object_status("cup", state, None, "", State.VERIFYING)
    assert whole.level == DiagnosticStatus.OK and whole.message == "TRACKING: confirmed"
    half = records.object_status("cup", state, None, "", State.VERIFYING, (Reason.NO_DEPTH,))
    assert half.level == DiagnosticStatus.WARN and half.message == "TRACKING: confirmed (no_depth)"
    assert records.values_of(half)["missing"] == "no_depth"


@given(st.lists(st.floats(-4.0, 4.0), min_size=3, max_size=3))
@settings(max_examples=200)
def test_quaternions_agree_with_scipy(turn):
    rotation = Rotation.from_rotvec(turn)
    matrix = rotation.as_matrix()
    ours = np.array(quaternion_of(matrix))
    assert min(np.abs(ours - rotation.as_quat()).max(), np.abs(ours + rotation.as_quat()).max()) < 1e-7
    np.testing.assert_allclose(matrix_of(tuple(ours)), matrix, atol=1e-12)
    np.testing.assert_allclose(matrix_of(tuple(0.99 * ours)), matrix, atol=1e-12)


@pytest.mark.parametrize("half_turn", [
    np.diag([1.0, -1.0, -1.0]), np.diag([-1.0, 1.0, -1.0]), np.diag([-1.0, -1.0, 1.0]), np.eye(3)])
def test_half_turns_have_a_quaternion(half_turn):
    np.testing.assert_allclose(matrix_of(quaternion_of(half_turn)), half_turn, atol=1e-15)
