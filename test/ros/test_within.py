"""All nodes in one process: what is said in every frame needs no message, and whoever is outside still gets one."""

import threading
import time

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection3DArray

from storm_core.errors import InputError
from storm_core.types import Evidence, Judgement, Reason, Track, Verdict
from storm_ros import conversions, names, qos, records
from storm_ros.between import JUDGEMENTS, TRACKS, OfFrame, TopicEar
from storm_ros.detections import EpochTrack, read_tracks
from storm_ros.executor import make_executor
from storm_ros.lifecycle import ManagedNode
from storm_ros.within import ProcessWays
from test.ros.bench import ALL, PERIOD, stamp_of
from test.ros.domain import DOMAIN
from test.ros.fakes import COVARIANCE, FakeStages, pose_at

pytestmark = pytest.mark.ros


def said(stamp):
    track = Track(object_name="cup", stamp_ns=stamp, cam_from_obj=pose_at(stamp), covariance=COVARIANCE, innovation=0.0)
    return OfFrame(stamp, "optical", [EpochTrack(track=track, epoch=7)])


class Process:
    """Nodes of one process, spun by this thread."""

    def __init__(self, make_executor, *node_names):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.executor = make_executor(context=self.context)
        self.nodes = [ManagedNode(name, context=self.context) for name in node_names]
        for node in self.nodes:
            self.executor.add_node(node)
            node.start_up()
        self.ways = ProcessWays(node_names)

    def spin_until(self, condition, seconds=10.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it never comes"
            self.executor.spin_once(timeout_sec=0.05)

    def close(self):
        self.executor.shutdown(timeout_sec=1.0)
        for node in self.nodes:
            node.quiesce()
            node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def process(request):
    made = Process(*request.param)
    yield made
    made.close()


BOTH = pytest.mark.parametrize("process", [(make, "pose_node", "tom_node")
                                           for make in (make_executor, SingleThreadedExecutor)], indirect=True)
"""Before Kilted there is no events executor."""


@BOTH
def test_all_hear_the_same_in_order_in_the_executors_thread_whoever_says_it(process):
    speaker, listener = process.nodes
    heard = []
    mouth = process.ways.mouth(speaker, TRACKS)
    ears = [process.ways.ear(node, TRACKS, lambda of, k=k: heard.append((k, of, threading.get_ident())))
            for k, node in enumerate((speaker, listener))]
    lines = [said(stamp) for stamp in range(50)]
    talk = threading.Thread(target=lambda: [mouth.say(line) for line in lines])
    talk.start()
    process.spin_until(lambda: len(heard) == 100)
    talk.join()
    assert [(k, id(of)) for k, of, _ in heard] == [(k, id(line)) for line in lines for k in (0, 1)]
    assert {thread for *_, thread in heard} == {threading.get_ident()}
    ears[0].destroy()
    mouth.say(said(99))
    process.spin_until(lambda: len(heard) == 101)
    assert heard[-1][0] == 1, "who has left still hears"


@BOTH
def test_who_listens_from_outside_gets_messages_and_nobody_inside_subscribes(process):
    speaker, listener = process.nodes
    inside, outside = [], []
    mouth, _ = process.ways.mouth(speaker, TRACKS), process.ways.ear(listener, TRACKS, inside.append)
    assert names.TRACKS not in " ".join(s.topic_name for node in process.nodes for s in node.subscriptions)
    stranger = rclpy.create_node("stranger", context=process.context)
    process.executor.add_node(stranger)
    try:
        stranger.create_subscription(Detection3DArray, names.TRACKS, outside.append, qos.requests())
        process.spin_until(lambda: mouth._topic.listeners)
        mouth.say(said(1_234_567_890))
        process.spin_until(lambda: inside and outside)
        assert stamp_of(outside[0]) == inside[0].stamp_ns and outside[0].header.frame_id == "optical"
        (item,) = read_tracks(outside[0])
        assert item.epoch == 7 and np.allclose(item.track.cam_from_obj, pose_at(1_234_567_890))
    finally:
        stranger.destroy_node()


@pytest.mark.parametrize("process", [(make_executor, "tom_node", "supervisor_node")], indirect=True)
def test_what_another_process_says_is_heard_by_topic(process):
    """`--nodes` may name a part of the graph: the tracker then is somewhere else."""
    tom, supervisor = process.nodes
    heard = []
    ear = process.ways.ear(supervisor, TRACKS, heard.append)
    assert isinstance(ear, TopicEar)
    elsewhere = ProcessWays(("pose_node",)).mouth(tom, TRACKS)
    process.spin_until(lambda: elsewhere._topic.listeners)
    elsewhere.say(said(5))
    process.spin_until(lambda: heard)
    assert heard[0].stamp_ns == 5 and heard[0].items[0].track.object_name == "cup"


@BOTH
def test_what_goes_wrong_in_an_ear(process):
    """A malformed frame is reported; anything else ends the process as in a subscription, and does not crash it."""
    speaker, listener = process.nodes
    reported, failed = [], []
    listener.report, listener.fail = reported.append, failed.append

    def heard(of):
        raise (InputError if of.stamp_ns == 1 else ZeroDivisionError)("wrong")

    mouth, _ = process.ways.mouth(speaker, TRACKS), process.ways.ear(listener, TRACKS, heard)
    mouth.say(said(1))
    process.spin_until(lambda: reported)
    assert failed == []
    mouth.say(said(2))
    process.spin_until(lambda: failed)
    assert isinstance(failed[0], ZeroDivisionError) and len(reported) == 1
    listener.active = False
    mouth.say(said(2))
    done = []
    process.executor.create_task(done.append, True)
    process.spin_until(lambda: done)
    assert len(failed) == 1, "an inactive node hears nothing"


def test_judgements_survive_the_way_over_a_topic():
    judgement = Judgement(object_name="cup", stamp_ns=9, verdict=Verdict.HEALTHY, probability=0.75,
                          reason=Reason.CONFIRMED, evidence=Evidence(inlier=0.5))
    message = JUDGEMENTS.write([records.Judged(judgement=judgement, epoch=3)], 9, "optical")
    assert isinstance(message, DiagnosticArray)
    (back,) = JUDGEMENTS.read(message)
    assert (back.epoch, back.judgement.probability, back.judgement.evidence.inlier) == (3, 0.75, 0.5)


def test_the_composed_graph_tracks_loses_recovers_and_is_reset(bench):
    b = bench(classes=ALL, composed=True)
    b.until(lambda: len(b.heard["pose"]) > 20, "no poses")
    for message in b.heard["pose"][:20]:
        assert np.allclose(conversions.from_pose(message.pose), pose_at(stamp_of(message)), atol=1e-6)
    between = {f"/{topic}" for topic in (names.TRACKS, names.JUDGEMENTS)}
    assert not between & {s.topic_name for node in b.nodes for s in node.subscriptions}
    b.until(lambda: b.fake.nudged, "the score model refines nothing")
    b.visible = False
    hidden_at = time.time_ns()
    b.until(lambda: b.status()["state"] in ("LOST", "SEARCHING", "ABSENT"), "the loss goes unnoticed")
    assert [m for m in b.heard["pose"] if stamp_of(m) > hidden_at + PERIOD * 1e9] == []
    b.visible = True
    b.await_state("TRACKING")
    assert b.call(Trigger, "supervisor_node/cup/reset", Trigger.Request()).success
    b.until(lambda: b.status()["reason"] == Reason.USER_RESET.value or b.status()["state"] != "TRACKING", "no reset")
    b.await_state("TRACKING")
    tom = b.named("tom_node")
    done = []
    b.executors[0].create_task(lambda: done.append((tom.trigger_deactivate(), tom.trigger_activate())))
    b.until(lambda: done, "tom_node is not activated again")
    count = len(b.heard["pose"])
    b.until(lambda: len(b.heard["pose"]) > count + 5 and b.status()["state"] == "TRACKING", "not judged any more")
    assert all(node.failure is None for node in b.nodes)


def test_three_objects_in_the_composed_graph_are_all_published(bench):
    b = bench(FakeStages(), objects=["a", "b", "c"], composed=True)
    for name in ("a", "b", "c"):
        b.await_state("TRACKING", name)
    begun = len(b.heard["detections"])
    b.until(lambda: len(b.heard["detections"]) > begun + 10, "no detections")
    assert {d.id for m in b.heard["detections"][begun:] for d in m.detections} == {"a", "b", "c"}
