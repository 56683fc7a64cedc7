"""How the graph behaves towards whom it meets: other QoS, late joiners, other graphs, impatient users, other clocks."""

import random
import time

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from storm_core.metrics.loss_recovery import history_problems
from storm_ros import names, records
from storm_ros.playback import shot_of
from test.ros.bench import CORE, Bench, stamp_of
from test.ros.fakes import FakeStages, frame_at

pytestmark = pytest.mark.ros

INTERLEAVINGS = 200


def states(b, name="cup"):
    """The states one after the other, as the status history tells them."""
    out = []
    for message in b.heard["status"]:
        for entry in message.status:
            values = records.values_of(entry)
            if entry.name == name and out[-1:] != [values["state"]]:
                out.append(values["state"])
    return out


def test_peers_of_either_reliability_are_heard_and_served_and_late_ones_learn_the_state(bench):
    b = bench()
    b.await_state("TRACKING")
    poses, late = {}, []
    for policy in (ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE):
        poses[policy] = []
        profile = QoSProfile(depth=5, reliability=policy)
        b.node.create_subscription(PoseStamped, names.OBJECT_POSE, poses[policy].append, profile)
        camera = b.node.create_publisher(Image, names.IMAGE, profile)
        b.until(lambda: camera.get_subscription_count() == len(b.nodes) - 1, f"no node hears a {policy} camera")  # noqa: B023
    b.until(lambda: all(poses.values()), "a subscriber gets nothing")
    # Stands still from here on: what a late joiner gets was published before it came.
    b.stop_camera()
    b.until(lambda: b.status()["state"] == "LOST", "the silence goes unnoticed")
    profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    b.node.create_subscription(DiagnosticArray, names.STATUS, late.append, profile)
    b.until(lambda: late, "a late joiner learns nothing")
    assert records.values_of(late[0].status[0])["state"] == "LOST"


def test_qos_can_be_overridden_by_parameters(bench):
    b = bench(**{"qos_overrides./image.subscription.reliability": "reliable",
                 "qos_overrides./image.subscription.depth": 3})
    som = next(node for node in b.nodes if node.get_name() == "som_node")
    (image,) = [s for s in som.subscriptions if s.topic_name == "/image"]
    assert image.qos_profile.reliability is ReliabilityPolicy.RELIABLE and image.qos_profile.depth == 3
    b.until(lambda: any("no message on /image" in s.message for m in b.heard["diagnostics"] for s in m.status),
            "a best-effort camera cannot match a reliable subscriber, and nobody says so")


def reach_any(b, wanted, epoch):
    """Wait until the object is in one of these states, in a later epoch than this; returns which."""
    deadline = time.monotonic() + 60.0
    while not (int(b.status()["epoch"]) > epoch and b.status()["state"] in wanted):
        assert time.monotonic() < deadline, f"{wanted} is not reached; last status: {b.status()}"
        time.sleep(0.001)
    return int(b.status()["epoch"])


def test_whatever_a_reset_interrupts_nothing_from_before_it_is_published(bench):
    """200 resets at random moments of search, registration, verification and tracking.

    The moments are states, not times: a machine that is slow today comes as far in them as a fast one.
    """
    fake = FakeStages()
    b = bench(fake)
    rng = random.Random(1)
    b.await_state("TRACKING")
    epoch = int(b.status()["epoch"]) - 1
    client = b.node.create_client(Trigger, "supervisor_node/cup/reset")
    assert client.wait_for_service(5.0)
    for count in range(INTERLEAVINGS):
        # A starved machine loses the track by itself now and then: epochs are later, not exactly one more.
        wanted = ({"TRACKING"}, {"SEARCHING"}, {"REGISTERING", "TRACKING"}, {"VERIFYING", "TRACKING"})[count % 4]
        epoch = reach_any(b, wanted, epoch)
        time.sleep(0.02 * rng.random())
        if count % 4 == 0:  # the next reset finds a search under way, whose answer then comes too late
            fake.release.clear()
        fake.hold = count % 4 == 0
        assert client.call(Trigger.Request(), timeout_sec=60.0).success
        if not fake.hold:
            fake.release.set()
    b.until(lambda: int(b.status()["epoch"]) > epoch and b.status()["state"] == "TRACKING", "it does not come back")
    history = [(stamp_of(m), records.values_of(m.status[0])) for m in b.heard["status"]]
    epochs = [int(values["epoch"]) for _, values in history]
    caught = {before["state"] for (_, before), (_, after) in zip(history, history[1:], strict=False)
              if before["epoch"] != after["epoch"]}
    assert {"SEARCHING", "TRACKING"} <= caught and len(caught) >= 3, f"only while {caught}"
    assert epochs == sorted(epochs)
    published, begun = {stamp_of(m) for m in b.heard["pose"]}, None
    for stamp, values in history:
        if values["state"] == "TRACKING" and begun is not None:
            stale = [pose for pose in published if begun < pose < stamp]
            assert not stale, f"{len(stale)} poses between a reset and the next registration"
            begun = None
        elif values["reason"] == "user_reset":
            begun = stamp
    assert history_problems([values for _, values in history]) == []
    assert all(node.failure is None for node in b.nodes)


def replayed(bench, speed):
    """The states that a recording at 20 Hz leads to, played at some speed on its own clock."""
    b = bench(FakeStages(), film=False, use_sim_time=True, **{"recovery.absent_after": 100, "input.timeout": 60.0,
                                                               "input.max_age": 10.0})
    step, stamp = 50_000_000, 1_000_000_000

    def show(visible):
        nonlocal stamp
        stamp += step
        b.camera.publish(shot_of(frame_at(stamp, visible)), stamp, with_clock=True)
        time.sleep(step * 1e-9 / speed)

    for _ in range(400):
        show(True)
        if b.status().get("state") == "TRACKING":
            break
    for _ in range(16):
        show(False)
    for _ in range(400):
        show(True)
        if states(b)[-1] == "TRACKING" and len(states(b)) > 6:
            break
    assert {stamp_of(m) % step for m in b.heard["pose"]} == {0}, "poses do not live in recorded time"
    b.close()
    return states(b)


def test_a_replay_at_another_speed_goes_through_the_same_states(bench):
    slow, fast = replayed(bench, 0.5), replayed(bench, 4.0)
    assert slow == fast, f"{slow} at half the speed, {fast} at four times"
    assert slow[-5:] == ["LOST", "SEARCHING", "REGISTERING", "VERIFYING", "TRACKING"], slow


def test_two_graphs_side_by_side_do_not_hear_each_other():
    made = []
    try:
        for side in ("left", "right"):
            made.append(Bench(FakeStages(), CORE, namespace=side, objects=["cup"], tf_prefix=f"{side}_",
                              **{"input.max_age": 2.0}))
        left, right = made
        right.visible = False
        left.await_state("TRACKING")
        right.await_state("ABSENT")
        left.until(lambda: left.heard["pose"] and left.heard["tf"], "no poses")
        assert {t.child_frame_id for m in left.heard["tf"] for t in m.transforms} == {"left_cup"}
        assert {stamp_of(m) for m in left.heard["pose"]} <= set(left.sent) and right.heard["pose"] == []
        left.until(lambda: {"/left/object_pose", "/right/object_pose"} <= dict(left.node.get_topic_names_and_types())
                   .keys(), "a graph's topics are not there")
        assert "/object_pose" not in dict(left.node.get_topic_names_and_types())
        reports = {s.name for m in left.heard["diagnostics"] for s in m.status}
        left.until(lambda: {s.name for m in left.heard["diagnostics"] for s in m.status}
                   >= {"/left/pose_node", "/right/pose_node"}, f"diagnostics are one for the robot: {reports}")
    finally:
        for one in made:
            one.close()
