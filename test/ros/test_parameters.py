"""ROS parameters are the configuration: same names, types, ranges; a wrong one is named and stops the node."""

import pytest
import rclpy
from rcl_interfaces.msg import ParameterType
from rclpy.parameter import Parameter

from storm_core.config import StormConfig, describe, flatten
from storm_core.config_io import to_commented_yaml
from storm_core.errors import ConfigError
from storm_ros.names import require_distinct, token
from storm_ros.parameters import declare_config, read_config
from test.ros.domain import DOMAIN

pytestmark = pytest.mark.ros


@pytest.fixture
def make_node():
    contexts, nodes = [], []

    def make(*arguments, **given):
        context = rclpy.Context()
        rclpy.init(args=["test", *(["--ros-args", *arguments] if arguments else [])], context=context, domain_id=DOMAIN)
        contexts.append(context)
        nodes.append(rclpy.create_node("som_node", context=context,
                                       parameter_overrides=[Parameter(n, value=v) for n, v in given.items()]))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    for context in contexts:
        rclpy.try_shutdown(context=context)


def test_every_leaf_is_a_parameter_with_its_text_unit_and_range(make_node):
    node = make_node()
    assert declare_config(node) == StormConfig() == read_config(node)
    for path, known in describe(StormConfig()).items():
        descriptor = node.describe_parameter(path)
        assert known["doc"] in descriptor.description and known["unit"] in descriptor.description
        ranges = [*descriptor.floating_point_range, *descriptor.integer_range]
        if known["low"] is not None:
            assert (ranges[0].from_value, ranges[0].to_value) == (known["low"], known["high"]), path
    assert node.describe_parameter("objects").type == ParameterType.PARAMETER_STRING_ARRAY
    assert flatten(StormConfig()).keys() <= set(node._parameters)


def test_the_shipped_file_is_accepted_and_changes_nothing(make_node, tmp_path):
    file = tmp_path / "storm.yaml"
    file.write_text(to_commented_yaml(StormConfig()))
    assert declare_config(make_node("--params-file", str(file))) == StormConfig()


def test_values_arrive_and_are_converted_only_where_it_is_harmless(make_node):
    node = make_node("-p", "objects:=[1, 5]", "-p", "som.accept:=1", "-p", "tracking.motion_prior:=false")
    config = declare_config(node)
    assert config.objects == ("1", "5") and config.som.accept == 1.0 and config.tracking.motion_prior is False
    assert read_config(node) == config


@pytest.mark.parametrize("given,message", [
    ({"monitor.helthy": 0.6}, "unknown parameter monitor.helthy; did you mean monitor.healthy"),
    ({"monitor.healthy": "high"}, "monitor.healthy must be float, got str 'high'"),
    ({"monitor.healthy": 1.5}, r"monitor.healthy = 1.5 is outside \[0.0, 1.0\]"),
    ({"som.max_candidates": 2.5}, "som.max_candidates must be int"),
    ({"objects": "cup"}, "objects must be tuple"),
])
def test_a_wrong_parameter_is_named(make_node, given, message):
    with pytest.raises(ConfigError, match=message):
        declare_config(make_node(**given))


def test_a_running_node_refuses_values_out_of_range(make_node):
    node = make_node()
    declare_config(node)
    too_much, fine = node.set_parameters([Parameter("monitor.healthy", value=2.0),
                                          Parameter("monitor.min_visible", value=0.2)])
    assert not too_much.successful and "monitor.healthy" in too_much.reason and fine.successful
    assert read_config(node).monitor.min_visible == 0.2


@pytest.mark.parametrize("name,expected", [("mug", "mug"), ("1", "obj_1"), ("tomato soup-can", "tomato_soup_can"),
                                           ("_x", "obj_x"), ("a--b", "a_b"), ("Größe", "Gr_e")])
def test_object_names_become_valid_topic_names(name, expected):
    from storm_core.bags.write import topic_name

    assert token(name) == topic_name(name) == expected


def test_objects_may_not_share_topics():
    with pytest.raises(ConfigError, match="'a b' and 'a-b'"):
        require_distinct(["a b", "c", "a-b"])
