"""Several nodes of one process share one camera subscription, also when the node that holds it leaves."""

import pytest
import rclpy

from storm_core.config import InputConfig
from storm_ros.camera_hub import CameraHub
from test.ros.domain import DOMAIN

pytestmark = pytest.mark.ros


def test_frames_go_to_everybody_and_the_subscription_moves_on(monkeypatch):
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    first, second, third = (rclpy.create_node(f"node_{k}", context=context) for k in range(3))
    subscribed = lambda node: "/image" in [s.topic_name for s in node.subscriptions]  # noqa: E731
    try:
        hub, heard = CameraHub(), {1: [], 2: [], 3: []}
        shares = [hub.watch(node, InputConfig(), heard[k].append)
                  for k, node in enumerate((first, second, third), 1)]
        assert [subscribed(n) for n in (first, second, third)] == [True, False, False]
        hub._hand_out("a")
        shares[0].destroy()
        assert [subscribed(n) for n in (first, second, third)] == [False, True, False]
        hub._hand_out("b")
        shares[2].destroy()
        hub._hand_out("c")
        assert heard == {1: ["a"], 2: ["a", "b", "c"], 3: ["a", "b"]}
        shares[1].reconfigure(InputConfig(slop=0.5))
        assert hub.source._sync.slop_ns == 500_000_000 and shares[1].info is None and shares[1].problems() == []
        shares[1].destroy()
        assert not subscribed(second)
        again = hub.watch(third, InputConfig(), heard[3].append)
        assert subscribed(third) and again.info is None
    finally:
        for node in (first, second, third):
            node.destroy_node()
        rclpy.try_shutdown(context=context)


def test_a_process_that_is_told_to_stop_stops_without_an_error():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    nodes = [rclpy.create_node(f"node_{k}", context=context) for k in range(2)]
    hub = CameraHub()
    shares = [hub.watch(node, InputConfig(), lambda frame: None) for node in nodes]
    rclpy.try_shutdown(context=context)
    for share in shares:
        share.destroy()
    assert hub._input is None and not any(list(node.subscriptions) for node in nodes), "it subscribed once more"
    for node in nodes:
        node.destroy_node()
