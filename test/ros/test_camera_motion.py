"""The camera's motion from a real tf broadcaster, and what the nodes make of it."""

import threading
import time

import numpy as np
import pytest
from geometry_msgs.msg import Transform, TransformStamped
from tf2_msgs.msg import TFMessage

from storm_core.config import build
from storm_core.geometry.pose import from_rotation_translation, inverse, so3_exp
from storm_core.recovery.machine import Action
from storm_core.types import Reason
from storm_ros import conversions, names, qos, records
from storm_ros.camera_motion import AHEAD_NS, CameraMotion
from storm_ros.records import Stage
from storm_ros.session import spinning_node
from storm_ros.supervising import Supervisor
from test.ros.bench import stamp_of
from test.ros.domain import DOMAIN
from test.ros.fakes import pose_at
from test.ros.test_supervising import World

TURN = np.array([0.1, -0.2, 0.05])


def camera_at(stamp_ns):
    """map_from_optical of a camera that moves evenly."""
    t = stamp_ns % 10**11 * 1e-9
    return from_rotation_translation(so3_exp(TURN), [0.1 * t, 0.02 * t, 1.0])


def transform_at(stamp_ns):
    pose = camera_at(stamp_ns)
    return TransformStamped(header=conversions.header(stamp_ns, "map"), child_frame_id="optical", transform=Transform(
        translation=conversions.vector(pose[:3, 3]), rotation=conversions.to_pose(pose).orientation))


@pytest.fixture
def robot():
    """A node of its own that broadcasts at 50 Hz, like a robot's odometry."""
    over = threading.Event()
    with spinning_node(DOMAIN) as node:
        publisher = node.create_publisher(TFMessage, names.TF, qos.transforms())

        def broadcast():
            while not over.wait(0.02):
                publisher.publish(TFMessage(transforms=[transform_at(time.time_ns())]))

        thread = threading.Thread(target=broadcast, daemon=True)
        thread.start()
        yield node
        over.set()
        thread.join()


@pytest.mark.ros
def test_the_nodes_look_where_an_object_that_stood_still_is_after_the_camera_moved(bench, robot):
    b = bench(**{"input.fixed_frame": "map"})
    silent, motion = CameraMotion(robot, "nowhere"), CameraMotion(robot, "map")
    b.until(lambda: motion.pose("optical", time.time_ns() - 300_000_000) is not None, "tf is not heard")
    for back_ns in (200_000_000, 50_000_000, 0):  # between two transforms, or a little ahead of the newest
        found = []

        def known(back_ns=back_ns, found=found):
            found[:] = [time.time_ns() - back_ns]
            found.append(motion.pose("optical", found[0]))
            return found[1] is not None

        b.until(known, "the camera's pose is not known")
        assert np.abs(found[1] - camera_at(found[0])).max() < 1e-6
    now = time.time_ns()
    assert motion.problems() == [] and motion.pose("optical", now + 10 * AHEAD_NS) is None
    assert silent.pose("optical", now) is None and "nowhere" in silent.problems()[0]

    b.await_state("TRACKING")
    b.until(lambda: len(b.heard["pose"]) > 20, "no poses")
    b.visible = False
    b.until(lambda: b.status()["state"] in ("SEARCHING", "ABSENT"), "it is not lost")
    b.until(lambda: records.read_requests(b.heard["requests"][-1])[0].action is Action.SEARCH, "no search")
    request = records.read_requests(b.heard["requests"][-1])[0]
    last = max(stamp_of(message) for message in b.heard["pose"])
    expected = inverse(camera_at(request.stamp_ns)) @ camera_at(last) @ pose_at(last)
    assert np.abs(request.cam_from_obj - expected).max() < 1e-5
    assert np.abs(request.cam_from_obj - pose_at(last)).max() > 0.002, "the camera has not moved"


def test_without_tf_the_last_pose_is_looked_at_as_it_was():
    known = True
    world = World()
    world.supervisor = Supervisor(("cup",), build({}), 100, camera_pose=lambda at: camera_at(at) if known else None)
    world.track()
    trusted, seen_at = pose_at(world.stamp), world.stamp
    world.answer(Stage.TRACK, reason=Reason.OUT_OF_VIEW)
    (search,) = [r for r in world.frame() if r.action is Action.SEARCH]
    assert np.allclose(search.cam_from_obj, inverse(camera_at(world.stamp)) @ camera_at(seen_at) @ trusted)
    known = False
    (search,) = world.answer(Stage.SEARCH)
    assert np.array_equal(search.cam_from_obj, trusted)
