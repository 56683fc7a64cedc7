"""The supervisor's decisions without ROS: what it asks for, what it publishes, what it drops."""

import numpy as np

from storm_core.config import build
from storm_core.recovery.machine import Action
from storm_core.types import Evidence, Judgement, Reason, Track, Verdict
from storm_ros.detections import EpochTrack, Hypotheses
from storm_ros.records import Answer, Judged, Stage
from storm_ros.supervising import Supervisor
from test.ros.fakes import COVARIANCE, pose_at

FRAME = 33_000_000


class World:
    """A supervisor and the frames that go by."""

    def __init__(self, *names, **overrides):
        self.supervisor = Supervisor(names or ("cup",), build(overrides), first_epoch=100)
        self.stamp = 10 * FRAME

    def state(self, name="cup"):
        return self.supervisor.items[name].state

    def frame(self, count=1):
        for _ in range(count):
            self.stamp += FRAME
            self.supervisor.frame(self.stamp)
        return self.supervisor.take().requests

    def locate(self, name="cup", epoch=None):
        self.supervisor.located(Hypotheses(
            object_name=name, epoch=self.state(name).epoch if epoch is None else epoch, stamp_ns=self.stamp,
            cam_from_objs=pose_at(self.stamp)[None], probability=0.9))
        return self.supervisor.take().requests

    def answer(self, stage, ok=False, reason=Reason.NO_CANDIDATE, name="cup", epoch=None):
        self.supervisor.answered(Answer(object_name=name, stage=stage, epoch=self.state(name).epoch
                                        if epoch is None else epoch, stamp_ns=self.stamp, ok=ok, reason=reason))
        return self.supervisor.take().requests

    def judge(self, verdict=Verdict.HEALTHY, name="cup", epoch=None, track_epoch=None):
        epoch = self.state(name).epoch if epoch is None else epoch
        track = Track(object_name=name, stamp_ns=self.stamp, cam_from_obj=pose_at(self.stamp), covariance=COVARIANCE,
                      innovation=0.0)
        judgement = Judgement(object_name=name, stamp_ns=self.stamp, verdict=verdict, probability=0.9,
                              reason=Reason.CONFIRMED, evidence=Evidence())
        return self.supervisor.judged([EpochTrack(track=track, epoch=epoch if track_epoch is None else track_epoch)],
                                      [Judged(judgement=judgement, epoch=epoch)])

    def track(self):
        """To TRACKING by the ordinary way."""
        self.frame()
        self.locate()
        self.answer(Stage.REGISTER, ok=True, reason=Reason.REGISTERED)
        self.frame()
        return self.judge()


def test_the_way_to_the_first_pose():
    world = World()
    (search,) = world.frame()
    assert (search.action, search.epoch, search.stamp_ns) == (Action.SEARCH, 100, world.stamp)
    assert search.cam_from_obj is None
    located_at = world.stamp
    (register,) = world.locate()
    assert (register.action, register.epoch, register.stamp_ns) == (Action.REGISTER, 100, located_at)
    assert world.answer(Stage.REGISTER, ok=True, reason=Reason.REGISTERED) == []
    world.frame()
    (output,) = world.judge()
    assert output.trusted and not output.coasting and np.array_equal(output.cam_from_obj, pose_at(world.stamp))


def test_nothing_is_published_before_it_is_verified_and_after_it_is_lost():
    world = World(**{"recovery.verify_frames": 2})
    (first,) = world.track()
    assert first.state == "VERIFYING" and first.cam_from_obj is None and not first.trusted
    world.frame()
    assert world.judge()[0].trusted
    world.frame()
    (doubted,) = world.judge(Verdict.LOST)
    assert doubted.coasting and not doubted.trusted and np.trace(doubted.covariance) > np.trace(COVARIANCE)
    requests = world.frame(30)
    assert [r.action for r in requests] == [Action.STOP_TRACKING, Action.SEARCH]
    assert world.judge(epoch=100) == [], "a late result of the lost track"


def test_results_of_an_older_epoch_are_dropped():
    world = World()
    world.track()
    world.supervisor.command("cup", Reason.USER_RESET)
    stop, search = world.supervisor.take().requests
    assert (stop.action, search.action) == (Action.STOP_TRACKING, Action.SEARCH) and stop.epoch == search.epoch == 101
    assert world.judge(epoch=100) == []
    assert world.judge(epoch=101, track_epoch=100) == [], "a judgement of another track"
    assert world.locate(epoch=100) == [] and world.state().state == "SEARCHING"


def test_a_new_search_knows_the_last_trusted_pose():
    world = World()
    world.track()
    trusted = world.supervisor.items["cup"].last_pose
    world.answer(Stage.TRACK, reason=Reason.OUT_OF_VIEW)
    (search,) = [r for r in world.frame() if r.action is Action.SEARCH]
    assert trusted is not None and np.array_equal(search.cam_from_obj, trusted)


def test_an_object_is_lost_when_judgements_stop_coming():
    world = World(**{"input.timeout": 0.5})
    world.track()
    world.frame(5)
    assert world.state().trusted
    requests = world.frame(15)
    assert Action.STOP_TRACKING in [r.action for r in requests] and not world.state().trusted
    assert "pose_node or tom_node" in world.supervisor.items["cup"].detail


def test_an_object_is_lost_when_the_camera_falls_silent():
    world = World()
    world.track()
    world.supervisor.silence()
    assert (world.state().state, world.state().reason) == ("LOST", Reason.INPUT_TIMEOUT)
    world.supervisor.take()
    world.supervisor.silence()
    assert world.supervisor.take().requests == [], "silence is told once"
    assert [r.action for r in world.frame()] == [Action.SEARCH]


def test_objects_do_not_disturb_each_other():
    world = World("cup", "box")
    world.track()
    world.answer(Stage.SEARCH, name="box")
    assert world.state("cup").trusted and not world.state("box").trusted
    world.supervisor.command("box", Reason.USER_DISABLED)
    world.frame()
    assert world.judge()[0].object_name == "cup" and world.state("box").state == "DISABLED"


def test_a_recording_that_starts_again_starts_everything_again():
    world = World("cup", "box")
    world.track()
    world.supervisor.command("box", Reason.USER_DISABLED)
    before = world.state().epoch
    world.supervisor.take()
    world.supervisor.frame(world.stamp - 2 * 10**9)
    requests = world.supervisor.take().requests
    assert world.state().epoch > before and not world.state().trusted
    assert [(r.object_name, r.action) for r in requests if r.object_name == "cup"] == [
        ("cup", Action.STOP_TRACKING), ("cup", Action.SEARCH)]
    assert world.state("box").state == "DISABLED", "what the user switched off stays off"


def test_a_message_about_an_object_that_was_removed_changes_nothing():
    assert World().supervisor.judged([], [Judged(epoch=1, judgement=Judgement(
        object_name="plate", stamp_ns=1, verdict=Verdict.HEALTHY, probability=1.0, reason=Reason.CONFIRMED,
        evidence=Evidence()))]) == []
