"""viz_node: pictures and markers for whoever looks, and no work for nobody."""

import contextlib
import time

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from storm_ros import names, qos
from storm_ros.viz_node import VizNode
from test.ros.bench import CORE

pytestmark = pytest.mark.ros


@contextlib.contextmanager
def somebody_looking(b):
    """Overlays and markers as they come, to a node of its own; call `look` to let more come."""
    node, executor = rclpy.create_node("rviz", context=b.context), SingleThreadedExecutor(context=b.context)
    executor.add_node(node)
    seen = {"overlay": [], "markers": []}
    node.create_subscription(Image, names.OVERLAY, seen["overlay"].append, qos.results())
    node.create_subscription(MarkerArray, names.MARKERS, seen["markers"].append, qos.results())

    def look(until):
        deadline = time.monotonic() + 60.0
        while not until(seen):
            assert time.monotonic() < deadline, "who looks sees nothing"
            executor.spin_once(timeout_sec=0.1)

    yield look
    executor.shutdown()
    node.destroy_node()


def test_nothing_is_received_drawn_or_sent_while_nobody_looks(bench, monkeypatch):
    asked, made, drawn = [], [], []

    def record(method, calls):
        do = getattr(VizNode, method)
        monkeypatch.setattr(VizNode, method, lambda self, *args: (calls.append(args), do(self, *args))[1])

    record("_on_detections", asked)
    record("_marker_array", made)
    record("_paint", drawn)
    b = bench(classes=(*CORE, VizNode), look=False)
    viz = b.named("viz_node")
    b.await_state("TRACKING")

    def idle():
        count = len(b.heard["detections"])
        b.until(lambda: len(b.heard["detections"]) > count + 20, "no detections")
        return asked == drawn == made == [] and viz.camera_input is None

    assert idle()
    assert not {"/image", "/object_pose/detections"} & {s.topic_name for s in viz.subscriptions}
    with somebody_looking(b) as look:
        look(lambda seen: seen["overlay"] and any(m.markers for m in seen["markers"]))
        assert drawn and made and viz.camera_input is not None
    b.until(lambda: not viz._overlay.get_subscription_count() and not viz._markers.get_subscription_count()
            and viz.camera_input is None and viz._detections is None, "it goes on watching")
    # What had been begun when they left has ended once a few more frames have gone by.
    count = len(b.heard["detections"])
    b.until(lambda: len(b.heard["detections"]) > count + 3, "no detections")
    asked.clear()
    drawn.clear()
    made.clear()
    assert idle()
