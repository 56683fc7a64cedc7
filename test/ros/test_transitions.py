"""What comes while a node is being deactivated, configured, or given other objects."""

import threading
from dataclasses import replace

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from storm_ros import conversions
from storm_ros.executor import make_executor, turn
from storm_ros.lifecycle import ManagedNode
from storm_ros.roster import roster_message, roster_of
from test.ros.domain import DOMAIN
from test.ros.fakes import FakeStages

pytestmark = pytest.mark.ros

SUCCESS = TransitionCallbackReturn.SUCCESS


@pytest.fixture
def context():
    made = rclpy.Context()
    rclpy.init(context=made, domain_id=DOMAIN)
    yield made
    rclpy.try_shutdown(context=made)


@pytest.mark.parametrize("maker", [make_executor, SingleThreadedExecutor])
def test_a_service_that_is_called_while_its_node_is_deactivated_ends_nobody(context, maker):
    """The executor holds the request of a service that no longer exists."""
    asked = []

    class Node(ManagedNode):
        def begin(self):
            self.service = self.create_service(Trigger, "work", self.work)

        def end(self):
            self.destroy_service(self.service)

        def work(self, request, response):
            asked.append(request)
            return response

    node, user = Node("server", context=context), rclpy.create_node("user", context=context)
    executor, others = maker(context=context), SingleThreadedExecutor(context=context)
    executor.add_node(node)
    others.add_node(user)
    node.start_up()
    client = user.create_client(Trigger, "work")
    try:
        while not client.wait_for_service(0.1):
            turn(executor, 0.0)
        for _ in range(3):
            client.call_async(Trigger.Request())
            for _ in range(5):
                others.spin_once(timeout_sec=0.02)
            assert node.trigger_deactivate() is SUCCESS
            for _ in range(5):
                turn(executor, 0.02)
            assert node.trigger_activate() is SUCCESS
        assert asked == [], "an earlier life's request is carried out"
        while not client.wait_for_service(0.1):
            turn(executor, 0.0)
        answer = client.call_async(Trigger.Request())
        for _ in range(100):
            turn(executor, 0.01)
            others.spin_once(timeout_sec=0.01)
            if answer.done():
                break
        assert answer.done() and len(asked) == 1, "the executor no longer serves"
    finally:
        executor.shutdown(timeout_sec=1.0)
        others.shutdown(timeout_sec=1.0)
        node.quiesce()
        node.destroy_node()
        user.destroy_node()


def test_a_parameter_set_between_configuration_and_activation_takes_effect(bench):
    b = bench(autostart=False, film=False)
    som, made = b.named("som_node"), []
    localizer = som.stages.localizer
    som.stages = replace(som.stages, localizer=lambda config, models: (
        made.append(config.som.max_candidates), localizer(config, models))[1])

    def drive(step):
        request = ChangeState.Request(transition=Transition(id=step))
        assert b.call(ChangeState, "som_node/change_state", request).success

    drive(Transition.TRANSITION_CONFIGURE)
    som.set_parameters([Parameter("som.max_candidates", value=27)])
    drive(Transition.TRANSITION_ACTIVATE)
    assert made[-1] == 27 == som.config.som.max_candidates


def test_the_clock_goes_on_over_a_deactivation(context):
    node = ManagedNode("timed", context=context)
    node.start_up()
    node.set_parameters([Parameter("use_sim_time", value=True)])
    clock, = (s for s in node.subscriptions if s.topic_name == "/clock")
    assert node.trigger_deactivate() is node.trigger_activate() is SUCCESS
    clock.callback(Clock(clock=conversions.to_time(7_000_000_000)))
    assert node.get_clock().now().nanoseconds == 7_000_000_000
    node.quiesce()
    node.destroy_node()


def test_objects_that_arrive_after_a_deactivation_leave_nothing_behind(bench):
    """Meshes may take longer to read than a deactivation waits."""
    b = bench(FakeStages(names=("cup", "pot")), objects=["cup"], film=False)
    som = b.named("som_node")
    both = FakeStages(names=("cup", "pot")).stages().models(replace(som.config, objects=("cup", "pot")))
    roster = roster_message(roster_of("", both))
    loaded = som.loaded

    def slow(config):
        models = loaded(config)
        assert som.trigger_deactivate() is SUCCESS
        return models

    som.loaded = slow
    som.take_over(roster)
    assert not som.active
    assert not [s.topic_name for s in som.subscriptions if "/cup/" in s.topic_name or "/pot/" in s.topic_name]


def test_a_parameter_is_refused_while_objects_are_exchanged(bench):
    b = bench(film=False)
    som = b.named("som_node")
    held, done = threading.Event(), threading.Event()

    def exchange():
        with som._exchange:
            held.set()
            done.wait(10)

    thread = threading.Thread(target=exchange)
    thread.start()
    held.wait(10)
    result, = som.set_parameters([Parameter("som.max_candidates", value=27)])
    done.set()
    thread.join()
    assert not result.successful and "being exchanged" in result.reason and som.config.som.max_candidates != 27
    result, = som.set_parameters([Parameter("som.max_candidates", value=27)])
    assert result.successful and som.config.som.max_candidates == 27


def test_a_refused_primary_exchanges_no_objects(bench):
    b = bench(FakeStages(names=("cup", "pot")), objects=["cup"], film=False)
    supervisor = b.named("supervisor_node")
    objects = Parameter("objects", value=["cup", "pot"])
    result = supervisor.set_parameters_atomically([objects, Parameter("primary", value="kettle")])
    assert not result.successful and "kettle" in result.reason
    result = supervisor.set_parameters_atomically([objects, Parameter("primary", value="pot")])
    assert result.successful, result.reason
    b.until(lambda: set(supervisor.models) == {"cup", "pot"} and supervisor._primary == "pot", "no objects come")
