"""The life cycle as nav2's manager or a person drives it, and parameters that change while the nodes run."""

import gc
import sys
import time
import types
import weakref

import pytest
import rclpy
from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from storm_ros.lifecycle import ManagedNode
from storm_ros.live import ALL, RULES, refusal, rule_of
from storm_ros.tom_node import TomNode
from test.ros.domain import DOMAIN
from test.ros.fakes import FakeStages, is_staged

pytestmark = pytest.mark.ros

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE


def drive(b, node, transition):
    request = ChangeState.Request(transition=Transition(id=transition))
    return b.call(ChangeState, f"{node}/change_state", request).success


def change(b, node, **values):
    parameters = [Parameter(name.replace("__", "."), value=value).to_parameter_msg() for name, value in values.items()]
    assert all(isinstance(parameter, ParameterMessage) for parameter in parameters)
    (result, *_) = b.call(SetParameters, f"{node}/set_parameters", SetParameters.Request(parameters=parameters)).results
    return result


def await_true(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never comes"
        time.sleep(0.02)


def test_a_deactivated_node_frees_its_models_and_comes_back(bench):
    b = bench()
    b.await_state("TRACKING")
    pose = next(node for node in b.nodes if node.get_name() == "pose_node")
    assert drive(b, "pose_node", DEACTIVATE)
    assert not hasattr(pose, "_tracker") and not hasattr(pose, "_registrar") and pose.models == {}
    b.until(lambda: b.status()["state"] != "TRACKING", "nobody tracks, and the pose is still trusted")
    count = len(b.heard["pose"])
    assert drive(b, "pose_node", ACTIVATE)
    b.await_state("TRACKING")
    b.until(lambda: len(b.heard["pose"]) > count, "no poses after the second activation")
    for name in ("supervisor_node", "pose_node", "som_node", "tom_node"):
        for transition in (DEACTIVATE, CLEANUP, CONFIGURE, ACTIVATE):
            assert drive(b, name, transition), f"{name} refuses transition {transition}"
    b.until(lambda: "reregister" in str(b.node.get_service_names_and_types()), "the services are gone")
    b.await_state("TRACKING")


def test_a_node_is_warmed_up_before_it_is_active_at_every_activation(bench):
    """A frame that no camera took has gone through every stage of a node by the time anybody calls it active."""
    warmed, nodes = [], []
    fake = FakeStages(asked=lambda stage, name, frame: warmed.append(
        (stage, any(node.active for node in nodes))) if is_staged(frame) else None)
    b = bench(fake, film=False, autostart=False)
    nodes.extend(b.nodes)
    for name, stages in (("som_node", {"localize"}), ("pose_node", {"register", "track"}), ("tom_node", {"judge"})):
        assert warmed == []
        assert drive(b, name, CONFIGURE) and {stage for stage, _ in warmed} == stages
        state = b.call(GetState, f"{name}/get_state", GetState.Request()).current_state.label
        assert state == "inactive" and not any(active for _, active in warmed)
        warmed.clear()
        assert drive(b, name, ACTIVATE) and warmed == [], "twice is once too often"
        # What deactivation frees is made anew, and warm, before the node is active again.
        assert drive(b, name, DEACTIVATE) and drive(b, name, ACTIVATE)
        assert {stage for stage, _ in warmed} == stages and not any(active for _, active in warmed)
        assert drive(b, name, DEACTIVATE)
        warmed.clear()


@pytest.fixture
def alone():
    """Makes nodes in participants of their own; the test destroys them."""
    contexts = []

    def make(name, kind=ManagedNode):
        context = rclpy.Context()
        contexts.append(context)
        rclpy.init(context=context, domain_id=DOMAIN)
        return kind(name, context=context)

    yield make
    for context in contexts:
        rclpy.try_shutdown(context=context)


def test_who_is_destroyed_is_seen_by_nobody_any_more(alone):
    """Not even while somebody holds the object."""
    gone, there = alone("gone"), alone("there")
    gone.start_up()
    services = {"/gone/get_state", "/there/get_state"}

    def seen():
        return services & {name for name, _ in there.get_service_names_and_types()}

    await_true(lambda: seen() == services)
    gone.quiesce()
    gone.destroy_node()
    await_true(lambda: seen() != services)
    assert seen() == {"/there/get_state"}
    there.destroy_node()


def test_an_event_of_an_earlier_life_is_not_handled_in_the_next(alone):
    """An executor holds events of subscriptions and timers that have been destroyed."""
    ticked, heard = [], []

    class Node(ManagedNode):
        def begin(self):
            self.timer = self.create_timer(60.0, lambda: ticked.append(self))
            self.ear = self.create_subscription(GoalStatus, "said", heard.append, 1)

        def end(self):
            self.destroy_timer(self.timer)
            self.destroy_subscription(self.ear)

    node = alone("twice", Node)
    node.start_up()
    held = node.timer.callback, node.ear.callback
    assert node.trigger_deactivate() is node.trigger_activate() is TransitionCallbackReturn.SUCCESS
    held[0](), held[1](GoalStatus())
    assert not ticked and not heard
    node.timer.callback(), node.ear.callback(GoalStatus())
    assert len(ticked) == len(heard) == 1
    node.quiesce()
    node.destroy_node()


def test_no_look_for_cycles_goes_through_what_start_up_has_made_and_deactivation_frees_it(bench):
    b = bench()
    b.await_state("TRACKING")
    assert gc.get_freeze_count() > len(gc.get_objects())
    pose = next(node for node in b.nodes if node.get_name() == "pose_node")
    pose._tracker.itself = pose._tracker
    tracker = weakref.ref(pose._tracker)
    gc.freeze()
    assert drive(b, "pose_node", DEACTIVATE)
    assert tracker() is None


def test_a_node_that_waits_says_what_it_waits_for(bench, monkeypatch):
    said = []
    monkeypatch.setattr(ManagedNode, "_say_next", lambda self, step: said.append((self.get_name(), step)))
    b = bench(autostart=False)
    assert said == [(node.get_name(), "configure") for node in b.nodes]
    said.clear()
    assert drive(b, "tom_node", CONFIGURE) and drive(b, "tom_node", ACTIVATE) and drive(b, "tom_node", DEACTIVATE)
    assert said == [("tom_node", "activate"), ("tom_node", "activate")]


def test_a_bond_is_formed_and_ended_where_bondpy_is_installed(bench, monkeypatch):
    events = []

    class Bond:
        """Called as bondpy's of ROS 2; that of ROS 1 had no node, and the id second."""

        def __init__(self, node, topic, bond_id, on_broken=None, on_formed=None):
            assert node.get_name() == "tom_node_bond" and node.get_namespace() == "/"
            self.what = (topic, bond_id)

        def start(self):
            events.append(("start", *self.what, self.heartbeat_timeout))

        def shutdown(self):
            events.append(("shutdown", *self.what))

    package, module = types.ModuleType("bondpy"), types.ModuleType("bondpy.bondpy")
    module.Bond = Bond
    package.__spec__ = types.SimpleNamespace(name="bondpy")
    monkeypatch.setitem(sys.modules, "bondpy", package)
    monkeypatch.setitem(sys.modules, "bondpy.bondpy", module)
    b = bench(classes=(TomNode,))
    assert events == [("start", "bond", "tom_node", 4.0)]
    assert drive(b, "tom_node", DEACTIVATE) and events[-1] == ("shutdown", "bond", "tom_node")
    bench(classes=(TomNode,), bond=False)
    assert len(events) == 2


def test_what_can_change_at_once_does_and_the_rest_is_refused_with_the_reason(bench):
    b = bench(FakeStages(), objects=["cup", "pot"])
    b.await_state("TRACKING", "cup")
    b.await_state("TRACKING", "pot")
    assert change(b, "tom_node", monitor__healthy=0.7).successful
    b.until(lambda: b.fake.healthy == 0.7, "the monitor does not get its new threshold")
    assert change(b, "supervisor_node", primary="pot").successful
    refused = change(b, "supervisor_node", primary="plate")
    assert not refused.successful and "'plate' is none of the objects: cup, pot" in refused.reason
    refused = change(b, "som_node", recovery__backoff=0.5)
    assert refused.reason == "recovery.backoff means nothing to som_node; set it on supervisor_node"
    refused = change(b, "tom_node", monitor__freeze_frames=9)
    assert "takes effect at activation only" in refused.reason and "/tom_node deactivate" in refused.reason
    refused = change(b, "tom_node", monitor__healthy=1.7)
    assert not refused.successful and "monitor.healthy" in refused.reason
    assert change(b, "tom_node", monitor__freeze_frames=5, seed=0).successful, "values that stay as they are"
    assert drive(b, "tom_node", DEACTIVATE) and change(b, "tom_node", monitor__freeze_frames=9).successful
    assert drive(b, "tom_node", ACTIVATE)
    assert next(n for n in b.nodes if n.get_name() == "tom_node").config.monitor.freeze_frames == 9


def test_every_parameter_has_exactly_one_rule_and_somebody_who_reads_it():
    from storm_core.config import StormConfig, flatten

    used = {rule_of(path) for path in flatten(StormConfig())}
    assert used == set(RULES), f"rules for nothing: {set(RULES) - used}"
    assert all(rule.nodes and set(rule.nodes) <= set(ALL) for rule in RULES)
    assert refusal("tom_node", "/tom_node", []) == ""
