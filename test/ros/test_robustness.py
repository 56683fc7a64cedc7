"""What a robot sends that it should not: bad transforms, rare camera_info, bursts, pauses. Nobody falls silent."""

import os
import time

import numpy as np
import pytest
from geometry_msgs.msg import PointStamped, TransformStamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection2D

from storm_core.recovery.machine import Action
from storm_core.types import Reason, RegistrationFailure
from storm_ros import conversions, garbage, memory, names, qos, records
from storm_ros.bench import resident_mb
from storm_ros.following import Registering
from storm_ros.frames import FrameBuffer
from storm_ros.playback import shot_of, stamped
from storm_ros.sync import CAMERA_INFO, DEPTH_IMAGE, IMAGE, FrameSync
from test.ros.fakes import FakeStages, frame_at
from test.ros.test_following import localization


@pytest.mark.ros
def test_a_message_that_cannot_be_used_ends_nobody(bench):
    b = bench(**{"input.fixed_frame": "map"})
    b.await_state("TRACKING")
    tf = b.node.create_publisher(TFMessage, names.TF, qos.transforms())
    click = b.node.create_publisher(PointStamped, names.CLICKED_POINT, qos.results())
    info = b.node.create_publisher(CameraInfo, names.CAMERA_INFO, qos.sensor_data())
    b.until(lambda: tf.get_subscription_count() >= 2 and click.get_subscription_count() >= 1, "nobody listens")
    unfilled = TransformStamped(header=conversions.header(time.time_ns(), "map"), child_frame_id="gripper")
    unfilled.transform.rotation.w = 0.0
    tf.publish(TFMessage(transforms=[unfilled]))
    for _ in range(3):
        info.publish(CameraInfo(header=conversions.header(time.time_ns(), "optical")))
        click.publish(PointStamped(header=conversions.header(time.time_ns(), "optical")))
        time.sleep(0.05)
    count = len(b.heard["pose"])
    b.until(lambda: len(b.heard["pose"]) > count + 20, "poses have stopped")
    assert all(node.active and node.failure is None for node in b.nodes)


@pytest.mark.ros
def test_a_camera_that_describes_itself_once_is_a_camera(bench):
    b = bench(film=False)
    publishers = b.camera._publishers
    b.until(lambda: all(publisher.get_subscription_count() >= 3 for publisher in publishers), "nobody listens")

    def film(seconds, condition=lambda: False):
        over = time.monotonic() + seconds
        while time.monotonic() < over and not condition():
            shot, stamp = shot_of(frame_at(time.time_ns(), True)), time.time_ns()
            b.camera.publish(shot, stamp) if not b.sent else [
                publisher.publish(stamped(message, stamp)) for publisher, message in
                zip(publishers[1:], (shot.depth, shot.image), strict=True)]
            b.sent.append(stamp)
            time.sleep(0.03)

    film(30.0, lambda: b.status().get("state") == "TRACKING")
    assert b.status()["state"] == "TRACKING"
    film(2.5)  # more than twice input.timeout
    told = [records.values_of(m.status[0])["state"] for m in b.heard["status"]]
    assert told[-1] == "TRACKING" and "LOST" not in told


@pytest.mark.ros
def test_a_recording_that_is_paused_has_not_fallen_silent(bench):
    b = bench(film=False, use_sim_time=True)
    b.until(lambda: b.camera.matched() >= 3, "nobody listens")
    start, k = 10**18, 0
    deadline = time.monotonic() + 30
    while b.status().get("state") != "TRACKING":
        assert time.monotonic() < deadline, b.status()
        stamp = start + k * 33_000_000
        b.camera.publish(shot_of(frame_at(stamp, True)), stamp, with_clock=True)
        k += 1
        time.sleep(0.033)
    time.sleep(2.0)
    assert b.status()["state"] == "TRACKING"
    b.camera._clock.publish(Clock(clock=conversions.to_time(start + (k + 90) * 33_000_000)))
    b.until(lambda: b.status()["reason"] == "input_timeout", "the clock goes on without frames, and nobody says so")


def test_many_requests_at_once_are_one_message_in_the_same_order():
    requests = [records.Request(object_name=f"o{k}", action=action, epoch=k, stamp_ns=stamp)
                for stamp in (5, 9) for k in range(12) for action in (Action.STOP_TRACKING, Action.SEARCH)]
    messages = records.request_messages(requests)
    assert len(messages) == 2
    heard = [request for message in messages for request in records.read_requests(message)]
    assert [(r.object_name, r.action, r.epoch, r.stamp_ns) for r in heard] == \
        [(r.object_name, r.action, r.epoch, r.stamp_ns) for r in requests]


def test_what_was_removed_while_it_waited_is_not_registered():
    fake = FakeStages()
    failure = Registering(fake, fake, FrameBuffer(), {"other": None}).run(localization(0))
    assert isinstance(failure, RegistrationFailure) and failure.reason is Reason.STAGE_TIMEOUT


def test_intrinsics_of_the_frame_itself_are_preferred_to_newer_ones():
    sync = FrameSync(slop_ns=1)
    for stamp, info in ((1, "old"), (2, "new")):
        sync.add(CAMERA_INFO, stamp, info, 0.0)
    sync.add(DEPTH_IMAGE, 1, "depth", 0.0)
    assert sync.add(IMAGE, 1, "image", 0.0).info == "old"
    sync.add(DEPTH_IMAGE, 7, "depth", 0.0)
    assert sync.add(IMAGE, 7, "image", 0.0).info == "new"


def test_what_a_deactivated_node_frees_goes_back_to_the_system():
    memory.keep_freed_memory()
    held = [np.ones(2**18) for _ in range(100)]
    full = resident_mb(os.getpid())
    del held
    garbage.clear()
    assert resident_mb(os.getpid()) < full - 150


@pytest.mark.ros
def test_a_recording_that_starts_again_is_searched_at_once(bench):
    """The first message of the new round is camera_info; som_node still holds the last frame of the old one."""
    b = bench(film=False, **{"input.max_age": 2.0, "use_sim_time": True})
    publishers, start = b.camera._publishers, 10**18
    b.until(lambda: all(publisher.get_subscription_count() >= 3 for publisher in publishers), "nobody listens")

    def play(seconds, condition=lambda: False):
        for k in range(int(seconds / 0.033)):
            stamp = start + k * 33_000_000
            shot = shot_of(frame_at(stamp, True))
            b.camera._clock.publish(Clock(clock=conversions.to_time(stamp)))
            publishers[0].publish(stamped(shot.info, stamp))
            time.sleep(0.02)
            publishers[1].publish(stamped(shot.depth, stamp))
            publishers[2].publish(stamped(shot.image, stamp))
            time.sleep(0.013)
            if condition():
                return True
        return False

    assert play(30.0, lambda: len(b.heard["pose"]) > 150), "the first round is not tracked"
    for _ in range(3):
        b.heard["pose"].clear()
        assert play(4.5, lambda: len(b.heard["pose"]) > 5), f"nothing is found in the next round: {b.status()}"


@pytest.mark.ros
@pytest.mark.parametrize("stamp", [0, 123_000_000_000])
def test_camera_info_without_a_stamp_of_its_own_moves_no_clock(bench, stamp):
    b = bench(film=False)
    info, *images = b.camera._publishers
    b.until(lambda: all(publisher.get_subscription_count() >= 3 for publisher in (info, *images)), "nobody listens")
    over = time.monotonic() + 30.0
    while time.monotonic() < over and len(b.heard["pose"]) < 40:
        at = time.time_ns()
        shot = shot_of(frame_at(at, True))
        info.publish(stamped(shot.info, stamp))
        for publisher, message in zip(images, (shot.depth, shot.image), strict=True):
            publisher.publish(stamped(message, at))
        time.sleep(0.03)
    assert len(b.heard["pose"]) >= 40, b.status()


@pytest.mark.ros
def test_hints_that_are_no_numbers_are_refused(bench):
    b = bench(film=False)
    som, told = b.named("som_node"), []
    som.report = told.append
    for value in (float("nan"), float("inf"), -3.0):
        box = Detection2D()
        box.bbox.size_x, box.bbox.size_y = value, 20.0
        som._on_box("cup", box)
    box = Detection2D()
    box.bbox.size_x = box.bbox.size_y = 20.0
    box.bbox.center.position.x = float("nan")
    som._on_box("cup", box)
    assert len(told) == 4 and not som._hints


def test_a_jump_in_time_is_no_problem_of_unpaired_images():
    sync, far = FrameSync(10_000_000), 10**18
    sync.add(CAMERA_INFO, far, "info", 0.0)
    sync.add(IMAGE, far, "image", 0.0)
    sync.add(DEPTH_IMAGE, far + 500_000_000, "depth", 0.0)
    assert any("differ" in line for line in sync.problems(0.5, 1.0))
    sync.add(IMAGE, far - 20_000_000_000, "image", 0.5)
    assert sync.problems(0.6, 1.0) == []
