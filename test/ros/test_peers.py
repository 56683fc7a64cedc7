"""How the graph behaves towards whom it meets: other QoS, late joiners, other graphs, impatient users, other clocks."""

import random
import time
from collections import Counter

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from storm_core.metrics.loss_recovery import history_problems
from storm_ros import names, records
from storm_ros.playback import Pacer, shot_of
from test.ros.bench import CORE, Bench, stamp_of
from test.ros.fakes import FakeStages, frame_at

pytestmark = pytest.mark.ros

INTERLEAVINGS = 200


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


def reach(b, wanted, epoch):
    """Wait until the object is in this state, in a later epoch than this; returns which."""
    deadline = time.monotonic() + 60.0
    while not (int(b.status()["epoch"]) > epoch and b.status()["state"] == wanted):
        assert time.monotonic() < deadline, f"{wanted} is not reached; last status: {b.status()}"
        time.sleep(0.001)
    return int(b.status()["epoch"])


def test_whatever_a_reset_interrupts_nothing_from_before_it_is_published(bench):
    """200 resets at random moments of search, registration, verification and tracking, 50 of each.

    Every one is made to last until the reset comes: a machine that is slow today is caught where a fast one is.
    """
    fake = FakeStages()
    b = bench(fake, **{"recovery.verify_timeout": 30.0})
    rng = random.Random(1)
    b.await_state("TRACKING")
    epoch = int(b.status()["epoch"]) - 1
    client = b.node.create_client(Trigger, "supervisor_node/cup/reset")
    assert client.wait_for_service(5.0)
    moments = ("TRACKING", "SEARCHING", "REGISTERING", "VERIFYING")
    for count in range(INTERLEAVINGS):
        # A starved machine loses the track by itself now and then: epochs are later, not exactly one more.
        epoch = reach(b, moments[count % 4], epoch)
        time.sleep(0.02 * rng.random())
        # What the next reset is to interrupt lasts until it comes, and answers too late.
        coming = moments[(count + 1) % 4]
        if coming == "SEARCHING":
            fake.hold = True
            fake.release.clear()
        elif coming == "REGISTERING":
            fake.may_register.clear()
        b.doubtful = coming == "VERIFYING"
        assert client.call(Trigger.Request(), timeout_sec=60.0).success
        if coming != "SEARCHING":
            fake.hold = False
            fake.release.set()
        if coming != "REGISTERING":
            fake.may_register.set()
    b.until(lambda: int(b.status()["epoch"]) > epoch and b.status()["state"] == "TRACKING", "it does not come back")
    history = [(stamp_of(m), records.values_of(m.status[0])) for m in b.heard["status"]]
    epochs = [int(values["epoch"]) for _, values in history]
    caught = Counter(before["state"] for (_, before), (_, after) in zip(history, history[1:], strict=False)
                     if before["epoch"] != after["epoch"] and after["reason"] == "user_reset")
    # A pose that a starved machine gives up while it is verified is searched again when its reset comes.
    assert min(caught["SEARCHING"], caught["REGISTERING"]) >= INTERLEAVINGS // 4, f"interrupted: {caught}"
    assert caught["TRACKING"] and caught["VERIFYING"], f"interrupted: {caught}"
    assert epochs == sorted(epochs)
    published, begun, reset_at = {stamp_of(m) for m in b.heard["pose"]}, None, 0
    for stamp, values in history:
        # What was found in a frame from before the reset would be told with the stamp of that frame. (A status that is
        # only repeated while the search goes on has the newest frame's.)
        reset_at = int(values["since_ns"]) if values["reason"] == "user_reset" else reset_at
        assert stamp >= reset_at, f"{values['state']} by what a reset had interrupted"
        if values["state"] == "TRACKING" and begun is not None:
            stale = [pose for pose in published if begun < pose < stamp]
            assert not stale, f"{len(stale)} poses between a reset and the next registration"
            begun = None
        elif values["reason"] == "user_reset":
            begun = stamp
    assert history_problems([values for _, values in history]) == []
    assert all(node.failure is None for node in b.nodes)


STEP, FIRST, LAG = 50_000_000, 1_000_000_000, 2
"""Time between two recorded frames and stamp of the first [ns]; frames that the graph may be behind the player."""

SHOWN = "+" * 16 + "?" * 4 + "+" * 6 + "-" * 16 + "+" * 14
"""A recording: the object is there (+), is hardly to be seen (?), is not there (-)."""


def replayed(bench, speed):
    """What SHOWN leads to, played at some speed on its own clock: (state, reason, stamp) one after the other.

    The player waits where the graph is more than LAG frames behind: what a starved machine does not compute in time is
    no matter of the speed.
    """
    b = bench(FakeStages(), film=False, use_sim_time=True)
    supervisor, pose, tom = (b.named(name) for name in ("supervisor_node", "pose_node", "tom_node"))
    b.until(lambda: b.camera.matched() == 3 and b.node.count_subscribers(names.CAMERA_INFO) == len(b.nodes)
            and b.node.count_subscribers("/clock") >= len(b.nodes) and pose._tracks.listeners == 2
            and tom._judgements.listeners == 1, "the nodes do not find each other")
    pacer = Pacer()

    def behind(stamp):
        """The graph has something to do that is older than LAG frames."""
        due, busy = stamp - LAG * STEP, supervisor._supervisor.items["cup"].state.busy_since_ns
        heard = max((stamp_of(m) for m in b.heard["detections"][-3:]), default=FIRST - STEP)
        return heard < due or 0 <= busy < due

    for k, shown in enumerate(SHOWN):
        stamp = FIRST + k * STEP
        pacer.wait(k * STEP * 1e-9 / speed)
        b.until(lambda: not behind(stamp), "the graph does not keep up")  # noqa: B023
        b.camera.publish(shot_of(frame_at(stamp, shown != "-", shown == "?")), stamp, with_clock=True)
    b.until(lambda: stamp_of(b.heard["detections"][-1]) == stamp, "the last frame is not judged")
    assert {(stamp_of(m) - FIRST) % STEP for m in b.heard["pose"]} == {0}, "poses do not live in recorded time"
    b.close()
    told = []
    for message in b.heard["status"]:
        values = records.values_of(message.status[0])
        entry = (values["state"], values["reason"], stamp_of(message))
        # A repeated status; whether one comes while a search has failed and the next has not begun is chance.
        if told and told[-1][0] == entry[0]:
            continue
        # How often it is looked for in vain depends on how long a look takes: the rounds after the first are one.
        if [e[0] for e in told[-3:]] == ["ABSENT", "SEARCHING", "ABSENT"] and entry[0] == "SEARCHING":
            del told[-2:]
        told.append(entry)
    return told


def test_a_replay_at_another_speed_goes_through_the_same_states(bench):
    """The same list of frames, the default time limits: the same states for the same reasons.

    What a frame shows is told at the stamp of that frame; what has to be looked for first, a few frames later.
    """
    slow, fast = replayed(bench, 0.5), replayed(bench, 4.0)
    assert [entry[:2] for entry in slow] == [entry[:2] for entry in fast], f"{slow} at half the speed, {fast} at four"
    assert [state for state, _, _ in slow] == [
        "SEARCHING", "REGISTERING", "VERIFYING", "TRACKING", "SUSPECT", "TRACKING", "LOST", "SEARCHING", "ABSENT",
        "SEARCHING", "REGISTERING", "VERIFYING", "TRACKING"], slow
    allowed = 2 * (LAG + 1) * STEP
    for told in (slow, fast):
        assert [stamp for _, _, stamp in told[4:7]] == [
            FIRST + k * STEP for k in (SHOWN.index("?"), SHOWN.rindex("?") + 1, SHOWN.index("-"))], "the frame counts"
        # Looked for every recovery.backoff; what is looked for is in the picture again from here on.
        back = FIRST + (SHOWN.rindex("-") + 1) * STEP
        assert back <= told[-3][2] <= back + 100_000_000 + allowed, told
    for k in {*range(1, len(slow))} - {len(slow) - 4}:
        apart = (slow[k][2] - slow[k - 1][2]) - (fast[k][2] - fast[k - 1][2])
        assert abs(apart) <= allowed, f"{slow[k - 1:k + 1]} at half the speed, {fast[k - 1:k + 1]} at four times"


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
