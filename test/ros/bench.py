"""All nodes in this process, a camera, and an ear on every output."""

import contextlib
import threading
import time

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseStamped, PoseWithCovarianceStamped
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from storm_ros import conversions, names, qos, records
from storm_ros.camera_hub import CameraHub
from storm_ros.executor import make_executor, turn
from storm_ros.playback import FramePublisher, shot_of
from storm_ros.pose_node import PoseNode
from storm_ros.score_node import ScoreNode
from storm_ros.som_node import SomNode
from storm_ros.supervisor_node import SupervisorNode
from storm_ros.tom_node import TomNode
from storm_ros.viz_node import VizNode
from storm_ros.within import ProcessWays
from test.ros.domain import DOMAIN
from test.ros.fakes import CAMERA, frame_at

PERIOD = 0.033


def spin_until(ended, executor):
    with contextlib.suppress(ExternalShutdownException, RCLError):
        while not ended.is_set() and executor.context.ok():
            turn(executor, 0.1)


class Bench:
    """All nodes in this process, a camera, and an ear on every output."""

    def __init__(self, fake, classes, namespace="", film=True, look=True, composed=False, **parameters):
        """film: be the camera. look: at the overlay and the markers as well. composed: as in one process."""
        self.fake, self.closed = fake, False
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN, signal_handler_options=SignalHandlerOptions.NO)
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        common = {"context": self.context, "namespace": namespace}
        shared = {}
        if composed:
            names_of = [make.__module__.rpartition(".")[2] for make in classes]
            shared = {"camera": CameraHub().watch, "ways": ProcessWays(names_of)}
        self.nodes = [make(fake.stages(), parameter_overrides=overrides, **shared, **common) for make in classes]
        self.node = rclpy.create_node("bench", **common)
        self.camera = FramePublisher(self.node)
        self.heard = {"pose": [], "cup": [], "detections": [], "status": [], "tf": [], "requests": [], "overlay": [],
                      "markers": [], "diagnostics": [], "particles": []}
        for key, kind, topic, profile in (
                ("pose", PoseStamped, names.OBJECT_POSE, qos.requests()),
                ("cup", PoseWithCovarianceStamped, names.pose_topic("cup"), qos.requests()),
                ("detections", Detection3DArray, names.DETECTIONS, qos.requests()),
                ("status", DiagnosticArray, names.STATUS, qos.history()), ("tf", TFMessage, names.TF, qos.requests()),
                ("requests", DiagnosticArray, names.REQUESTS, qos.requests()),
                ("overlay", Image, names.OVERLAY, qos.results()),
                ("markers", MarkerArray, names.MARKERS, qos.results()),
                ("diagnostics", DiagnosticArray, names.DIAGNOSTICS, qos.results()),
                ("particles", PoseArray, "score_node/cup/particles", qos.results())):
            if not look and key in ("overlay", "markers"):
                continue
            self.node.create_subscription(kind, topic, self.heard[key].append, profile)
        self.visible, self.doubtful, self.lens = True, False, CAMERA
        self.sent, self._stop, self._ended = [], threading.Event(), threading.Event()
        # Nodes share a thread when they share a process, as in life.
        own = [make_executor(self.context) for _ in (self.nodes[:1] if composed else self.nodes)]
        self.executors = [*own, MultiThreadedExecutor(2, context=self.context)]
        for executor, node in zip(own * len(self.nodes) if composed else own, self.nodes, strict=True):
            executor.add_node(node)
        self.executors[-1].add_node(self.node)
        for node in self.nodes:
            node.start_up()
        self.threads = [threading.Thread(target=spin_until, args=(self._ended, executor), daemon=True)
                        for executor in self.executors]
        self.threads.append(threading.Thread(target=self._film, daemon=True))
        if not film:
            self._stop.set()
        for thread in self.threads:
            thread.start()

    def _film(self):
        while not self._stop.wait(PERIOD) and self.context.ok():
            stamp = time.time_ns()
            self.sent.append(stamp)
            self.camera.publish(shot_of(frame_at(stamp, self.visible, self.doubtful, self.lens)), stamp)

    def stop_camera(self):
        self._stop.set()
        self.threads[-1].join()

    def until(self, condition, what, seconds=60.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}; last status: {self.status()}"
            time.sleep(0.01)

    def status(self, name="cup"):
        for message in reversed(self.heard["status"][-5:]):
            for entry in message.status:
                if entry.name == name:
                    return records.values_of(entry)
        return {}

    def named(self, name):
        """The node of this name."""
        return next(node for node in self.nodes if node.get_name() == name)

    def await_state(self, state, name="cup"):
        self.until(lambda: self.status(name).get("state") == state, f"{name} does not become {state}")

    def call(self, kind, service, request):
        client = self.node.create_client(kind, service)
        assert client.wait_for_service(5.0), f"no service {service}"
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        assert done.wait(5.0), f"{service} does not answer"
        return future.result()

    def close(self):
        """May be called again."""
        if self.closed:
            return
        self.closed = True
        self.fake.release.set()
        self.fake.may_register.set()
        self.stop_camera()
        # Before anything is destroyed; an executor that spins cannot be shut down, only waited for.
        self._ended.set()
        for thread in self.threads:
            thread.join(20.0)
        for node in self.nodes:
            node.quiesce()
        for executor in self.executors:
            executor.shutdown(timeout_sec=1.0)
        for node in [*self.nodes, self.node]:
            node.destroy_node()
        rclpy.try_shutdown(context=self.context)


ALL = (SomNode, PoseNode, TomNode, ScoreNode, SupervisorNode, VizNode)
CORE = (SomNode, PoseNode, TomNode, SupervisorNode)


def stamp_of(message):
    return conversions.stamp_ns(message.header.stamp)
