"""viz_node: pictures and markers for whoever looks, and no work for nobody."""

import pytest
from sensor_msgs.msg import Image

from storm_ros import names, qos
from storm_ros.viz_node import VizNode
from test.ros.bench import CORE, stamp_of

pytestmark = pytest.mark.ros


def test_nothing_is_received_drawn_or_sent_while_nobody_looks(bench, monkeypatch):
    asked, made = [], []
    detections, markers = VizNode._on_detections, VizNode._marker_array
    monkeypatch.setattr(VizNode, "_on_detections", lambda self, m: (asked.append(m), detections(self, m))[1])
    monkeypatch.setattr(VizNode, "_marker_array", lambda self, *a: (made.append(a), markers(self, *a))[1])
    b = bench(classes=(*CORE, VizNode))
    viz, drawn = b.named("viz_node"), []
    draw = viz._paint
    viz._worker._handle = lambda job: (drawn.append(job), draw(job))[1]
    b.await_state("TRACKING")
    b.until(lambda: b.heard["overlay"] and any(m.markers for m in b.heard["markers"]), "who looks sees nothing")
    assert viz.camera_input is not None and drawn and made

    for subscription in [s for s in b.node.subscriptions if s.topic_name in ("/object_pose/overlay",
                                                                           "/object_pose/markers")]:
        b.node.destroy_subscription(subscription)
    b.until(lambda: not viz._overlay.get_subscription_count() and not viz._markers.get_subscription_count()
            and viz.camera_input is None, "it goes on watching the camera")
    assert "/image" not in {s.topic_name for s in viz.subscriptions}
    # What had been begun when the last one left has ended once a few more frames have gone by.
    count = len(asked)
    b.until(lambda: len(asked) > count + 3, "no detections")
    drawn.clear()
    made.clear()
    b.until(lambda: len(asked) > count + 20, "no detections")
    assert drawn == [] and made == []

    begun, seen = stamp_of(asked[-1]), []
    b.node.create_subscription(Image, names.OVERLAY, seen.append, qos.results())
    b.until(lambda: seen, "who looks again sees nothing")
    assert stamp_of(seen[0]) > begun
