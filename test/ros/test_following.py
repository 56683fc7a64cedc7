"""Registration on an old frame gets to the present by itself, and epochs keep old answers out."""

import numpy as np

from storm_core.types import Localization, Reason, Registration, RegistrationFailure
from storm_ros.detections import Hypotheses
from storm_ros.following import CATCH_UP_FRAMES, Follower, Registering, RegistrationDesk
from storm_ros.frames import FrameBuffer, LazyFrame
from test.ros.fakes import COVARIANCE, FakeStages, FakeTracker, frame_at, pose_at

FRAME = 33_000_000
MODELS = {"cup": None}


def buffer_of(count, visible=lambda k: True):
    buffer = FrameBuffer(dense=200)
    for k in range(1, count + 1):
        buffer.push(LazyFrame(k * FRAME, "optical", lambda k=k: frame_at(k * FRAME, visible(k))))
    return buffer


def localization(stamp):
    return Localization(object_name="cup", stamp_ns=stamp, mask=np.ones((24, 32), bool),
                        cam_from_objs=pose_at(stamp)[None], probability=0.9)


def registration(stamp):
    return FakeStages().register(frame_at(stamp), localization(stamp))


def test_a_registration_reaches_the_newest_frame_in_few_steps():
    fake, buffer = FakeStages(), buffer_of(60)
    steps = []
    tracker = FakeTracker(fake)
    track = tracker.track
    tracker.track = lambda frame: (steps.append(frame.stamp_ns), track(frame))[1]
    frame, result = Registering(fake, tracker, buffer, MODELS).run(localization(5 * FRAME))
    assert fake.registered == [("cup", 5 * FRAME)], "registered on the frame of the localization"
    assert isinstance(result, Registration) and frame.stamp_ns == result.stamp_ns == 60 * FRAME
    assert np.allclose(result.cam_from_obj, pose_at(60 * FRAME))
    assert len(steps) <= 2 * CATCH_UP_FRAMES + 5
    # Long strides first, every frame at the end.
    assert steps[1] - steps[0] > FRAME and steps[-1] - steps[-2] == FRAME
    assert tracker.track(frame_at(61 * FRAME)) == {}, "its own tracker lets go"


def test_a_lost_frame_is_replaced_by_its_neighbour_and_a_forgotten_one_refused():
    fake, buffer = FakeStages(), buffer_of(10)
    frame, _ = Registering(fake, FakeTracker(fake), buffer, MODELS).run(localization(5 * FRAME + 7))
    assert fake.registered == [("cup", 5 * FRAME)] and frame.stamp_ns == 10 * FRAME
    failure = Registering(fake, FakeTracker(fake), buffer, MODELS).run(localization(900 * FRAME))
    assert isinstance(failure, RegistrationFailure) and failure.reason is Reason.STAGE_TIMEOUT


def test_an_object_that_leaves_meanwhile_is_no_registration():
    fake = FakeStages()
    registering = Registering(fake, FakeTracker(fake), buffer_of(40, visible=lambda k: k < 20), MODELS)
    failure = registering.run(localization(5 * FRAME))
    assert isinstance(failure, RegistrationFailure) and failure.reason is Reason.OUT_OF_VIEW
    assert "before the present" in failure.detail


def test_the_desk_waits_for_request_hypotheses_and_mask_in_any_order():
    found = Hypotheses(object_name="cup", epoch=4, stamp_ns=99, cam_from_objs=np.eye(4)[None], probability=0.5)
    for order in ("rhm", "rmh", "hrm", "hmr", "mrh", "mhr"):
        desk = RegistrationDesk()
        give = {"r": lambda d=desk: d.request("cup", 4, 99), "h": lambda d=desk: d.hypotheses(found),
                "m": lambda d=desk: d.mask("cup", 99, np.ones((2, 2), bool))}
        jobs = [give[key]() for key in order]
        assert jobs[:2] == [None, None] and jobs[2].epoch == 4 and jobs[2].localization.stamp_ns == 99
        assert give["m"]() is None, "used once"


def test_the_desk_never_mixes_frames_or_epochs():
    desk = RegistrationDesk()
    desk.request("cup", 4, 99)
    desk.mask("cup", 98, np.ones((2, 2), bool))
    stale = Hypotheses(object_name="cup", epoch=3, stamp_ns=99, cam_from_objs=np.eye(4)[None], probability=0.5)
    assert desk.hypotheses(stale) is None
    assert desk.mask("cup", 99, np.ones((2, 2), bool)) is None
    fresh = Hypotheses(object_name="cup", epoch=4, stamp_ns=99, cam_from_objs=np.eye(4)[None], probability=0.5)
    assert desk.hypotheses(fresh).epoch == 4


def test_a_follower_starts_and_stops_between_frames():
    follower = Follower(FakeTracker(FakeStages()))
    assert follower.step(frame_at(FRAME)).tracks == []
    follower.start(frame_at(FRAME), registration(FRAME), epoch=5)
    (item,) = follower.step(frame_at(2 * FRAME)).tracks
    assert (item.epoch, item.track.object_name) == (5, "cup")
    follower.expect("cup", 5)
    assert len(follower.step(frame_at(3 * FRAME)).tracks) == 1, "its own epoch does not end it"
    follower.expect("cup", 6)
    assert follower.step(frame_at(4 * FRAME)).tracks == []


def test_a_registration_of_an_older_epoch_is_not_followed():
    follower = Follower(FakeTracker(FakeStages()))
    follower.expect("cup", 6)
    follower.start(frame_at(FRAME), registration(FRAME), epoch=5)
    assert follower.step(frame_at(2 * FRAME)).tracks == []


def test_a_start_waits_for_a_frame_after_its_own():
    follower = Follower(FakeTracker(FakeStages()))
    follower.start(frame_at(3 * FRAME), registration(3 * FRAME), epoch=5)
    assert follower.step(frame_at(2 * FRAME)).tracks == [] and follower.step(frame_at(3 * FRAME)).tracks == []
    assert len(follower.step(frame_at(4 * FRAME)).tracks) == 1


def test_a_failed_track_is_told_once_with_its_epoch():
    follower = Follower(FakeTracker(FakeStages()))
    follower.start(frame_at(FRAME), registration(FRAME), epoch=5)
    ((failure, epoch),) = follower.step(frame_at(2 * FRAME, visible=False)).failures
    assert epoch == 5 and failure.reason is Reason.OUT_OF_VIEW
    after = follower.step(frame_at(3 * FRAME))
    assert after.tracks == [] and after.failures == []


def test_corrections_reach_only_the_epoch_they_were_made_for():
    fake = FakeStages()
    follower = Follower(FakeTracker(fake))
    follower.start(frame_at(FRAME), registration(FRAME), epoch=5)
    follower.correct("cup", 4, FRAME, np.eye(4))
    follower.step(frame_at(2 * FRAME))
    assert fake.nudged == []
    follower.correct("cup", 5, 2 * FRAME, np.eye(4))
    follower.step(frame_at(3 * FRAME))
    assert fake.nudged == [("cup", 2 * FRAME)] and COVARIANCE.shape == (6, 6)
