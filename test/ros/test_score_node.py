"""score_node over real DDS, with a refiner that can be held up and a camera whose clock the test sets."""

import contextlib
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from lifecycle_msgs.srv import GetState
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from vision_msgs.msg import Detection3DArray

from storm_core.types import Evidence, Judgement, Reason, Track, Verdict
from storm_ros import conversions, names, qos, records
from storm_ros.detections import EpochTrack, read_tracks, tracks_message
from storm_ros.playback import FramePublisher, shot_of
from storm_ros.score_node import ScoreNode
from test.ros.domain import DOMAIN
from test.ros.fakes import COVARIANCE, FakeParticles, FakeStages, frame_at, pose_at

pytestmark = pytest.mark.ros

MS = 1_000_000
START = 50_000 * MS
SHIFTED = np.array([0.0, 0.0, 0.003])


def elsewhere(pose: np.ndarray) -> np.ndarray:
    """The pose after a half turn about the optical axis, at its place."""
    out = pose.copy()
    out[:3, :3] = np.diag([-1.0, -1.0, 1.0]) @ pose[:3, :3]
    return out


@dataclass(eq=False)
class SlowRefiner(FakeStages):
    """Moves every pose by SHIFTED and says that the pose turned by half is a third as likely."""

    begun: list[int] = field(default_factory=list)
    given: list[float] = field(default_factory=list)

    def refine(self, frame, registration):
        if frame.stamp_ns != registration.stamp_ns:
            raise ZeroDivisionError("refined in another frame")
        if frame.stamp_ns == 0:  # warm-up
            return FakeParticles(registration.cam_from_obj[None], np.ones(1), registration)
        self.begun.append(frame.stamp_ns)
        self.given.append(registration.probability)
        if self.hold:
            assert self.release.wait(20)
        better = registration.cam_from_obj.copy()
        better[:3, 3] += SHIFTED
        poses = np.stack([better, better, better, elsewhere(better)])
        refined = type(registration)(
            object_name=registration.object_name, stamp_ns=registration.stamp_ns, cam_from_obj=better,
            covariance=COVARIANCE, probability=registration.probability, evidence=Evidence())
        return FakeParticles(poses, np.full(4, 0.25), refined)


class Bench:
    """score_node, and a test that plays camera, tracker and monitor."""

    def __init__(self, fake):
        self.fake = fake
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN, signal_handler_options=SignalHandlerOptions.NO)
        self.score = ScoreNode(fake.stages(), context=self.context, parameter_overrides=[
            Parameter("objects", value=["cup"]), Parameter("score_model.period", value=1.0)])
        self.node = rclpy.create_node("bench", context=self.context)
        self.camera = FramePublisher(self.node)
        self.tracks = self.node.create_publisher(Detection3DArray, names.TRACKS, qos.requests())
        self.judgements = self.node.create_publisher(DiagnosticArray, names.JUDGEMENTS, qos.requests())
        self.heard = {"particles": [], "modes": [], "pose": [], "refined": [], "diagnostics": []}
        for key, kind, topic in (("particles", PoseArray, "score_node/cup/particles"),
                                 ("modes", Detection3DArray, "score_node/cup/modes"),
                                 ("pose", PoseWithCovarianceStamped, "score_node/cup/pose"),
                                 ("refined", Detection3DArray, names.REFINED),
                                 ("diagnostics", DiagnosticArray, names.DIAGNOSTICS)):
            self.node.create_subscription(kind, topic, self.heard[key].append, qos.results())
        self.executors = [SingleThreadedExecutor(context=self.context) for _ in range(2)]
        for executor, node in zip(self.executors, (self.score, self.node), strict=True):
            executor.add_node(node)
        self.score.start_up()
        for executor in self.executors:
            threading.Thread(target=self._spin, args=(executor,), daemon=True).start()
        self.until(lambda: self.camera.matched() and self.tracks.get_subscription_count()
                   and self.judgements.get_subscription_count()
                   and self.node.count_publishers("score_node/cup/modes"), "nobody listens")

    @staticmethod
    def _spin(executor):
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()

    def until(self, condition, what, seconds=30.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, what
            time.sleep(0.005)

    def film(self, stamp):
        """A frame that has arrived in the node."""
        self.camera.publish(shot_of(frame_at(stamp)), stamp)
        self.until(lambda: self.score._buffer.nearest(stamp) is not None, f"frame {stamp} does not arrive")

    def track(self, stamp, epoch=1, verdict=None, coasting=False):
        """A tracked pose, and what the monitor says of it."""
        item = EpochTrack(epoch=epoch, track=Track(object_name="cup", stamp_ns=stamp, cam_from_obj=pose_at(stamp),
                                                   covariance=COVARIANCE, innovation=0.0, coasting=coasting))
        self.tracks.publish(tracks_message([item], stamp, "optical"))
        if verdict is not None:
            judgement = Judgement(object_name="cup", stamp_ns=stamp, verdict=verdict, probability=0.9,
                                  reason=Reason.CONFIRMED, evidence=Evidence())
            judged = records.Judged(judgement=judgement, epoch=epoch)
            self.judgements.publish(records.judgements_message([judged], stamp, "optical"))

    def settle(self):
        """Everything sent so far has been handled."""
        time.sleep(0.3)

    def reported(self, key):
        return max((float(records.values_of(entry).get(key, 0)) for message in self.heard["diagnostics"]
                    for entry in message.status if entry.name == "/score_node"), default=0.0)

    def close(self):
        self.fake.release.set()
        self.score.quiesce()
        for executor in self.executors:
            executor.shutdown(timeout_sec=1.0)
        for node in (self.score, self.node):
            node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def bench():
    made = []

    def make(**settings):
        made.append(Bench(SlowRefiner(**settings)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_registration_is_refined_before_anybody_has_judged_it(bench):
    b = bench()
    b.film(START)
    b.track(START)
    b.until(lambda: all(b.heard[key] for key in ("particles", "modes", "pose", "refined")), "nothing is published")
    particles, modes, pose = (b.heard[key][0] for key in ("particles", "modes", "pose"))
    for message in (particles, modes, pose, b.heard["refined"][0]):
        assert conversions.stamp_ns(message.header.stamp) == START and message.header.frame_id == "optical"
    better = pose_at(START)
    better[:3, 3] += SHIFTED
    assert len(particles.poses) == 4
    assert np.allclose(conversions.from_pose(particles.poses[3]), elsewhere(better), atol=1e-6)
    results = modes.detections[0].results
    assert [round(r.hypothesis.score, 6) for r in results] == [0.75, 0.25]
    assert np.allclose(conversions.from_pose(results[1].pose.pose), elsewhere(better), atol=1e-6)
    assert np.linalg.eigvalsh(np.reshape(results[0].pose.covariance, (6, 6))).min() > 0
    refined_pose, covariance = conversions.from_covariance(pose.pose)
    assert np.allclose(refined_pose, better, atol=1e-6) and np.allclose(covariance, COVARIANCE, atol=1e-12)
    before, after = read_tracks(b.heard["refined"][0])
    assert before.epoch == after.epoch == 1
    assert np.allclose(before.track.cam_from_obj, pose_at(START), atol=1e-6)
    assert np.allclose(after.track.cam_from_obj, better, atol=1e-6)
    assert b.fake.given == [0.5], "an unjudged pose has a probability of its own"


def test_tracked_poses_are_refined_when_they_are_healthy_and_due(bench):
    b = bench()
    plan = [(0, 1, None), (400, 1, Verdict.HEALTHY), (1200, 1, Verdict.LOST), (1300, 1, Verdict.HEALTHY),
            (1900, 1, Verdict.HEALTHY), (2000, 2, None), (2500, 2, Verdict.HEALTHY)]
    for ms, epoch, verdict in plan:
        b.film(START + ms * MS)
        b.track(START + ms * MS, epoch, verdict)
        b.settle()
    assert [(stamp - START) // MS for stamp in b.fake.begun] == [0, 1300, 2000]
    assert b.fake.given == [0.5, 0.9, 0.5]


def test_a_predicted_pose_is_not_refined(bench):
    b = bench()
    b.film(START)
    b.track(START, coasting=True)
    b.settle()
    b.film(START + 33 * MS)
    b.track(START + 33 * MS)
    b.until(lambda: b.fake.begun, "the measured pose is not refined")
    assert b.fake.begun == [START + 33 * MS]


def test_a_busy_refiner_holds_nobody_up_and_what_is_late_is_skipped(bench):
    b = bench(hold=True)
    b.film(START)
    b.track(START)
    b.until(lambda: b.fake.begun, "it does not begin")
    b.film(START + 100 * MS)
    b.track(START + 100 * MS, epoch=2)
    b.film(START + 700 * MS)
    client = b.node.create_client(GetState, "score_node/get_state")
    assert client.wait_for_service(5.0)
    answer = client.call_async(GetState.Request())
    b.until(answer.done, "the node does not answer while it refines")
    b.fake.release.set()
    b.until(lambda: b.reported("late") == 1, "the late refinement is not counted")
    assert b.fake.begun == [START], "a pose 600 ms old was refined"
    b.track(START + 700 * MS, epoch=2)
    b.until(lambda: len(b.fake.begun) == 2, "the object is not tried again")
    assert b.fake.begun[1] == START + 700 * MS
