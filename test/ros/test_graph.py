"""`storm up` and the launch files start the same nodes with the same parameters and remappings."""

import ast
import importlib.util
import os
import stat
import types
from pathlib import Path

import pytest
import yaml

from storm_core.config import StormConfig, flatten
from storm_core.config_io import read_config, to_commented_yaml
from storm_core.errors import ConfigError
from storm_ros.graph import (
    BACKGROUND_NICE,
    CANNOT_START,
    CORE_NODES,
    LAUNCH_ARGUMENTS,
    GraphOptions,
    graph_processes,
    options_from_text,
    ros_arguments,
)
from storm_ros.up import node_command
from test.ros import fake_launch

ROOT = Path(__file__).resolve().parents[2]


def launch(monkeypatch, name):
    fake_launch.install(monkeypatch)
    spec = importlib.util.spec_from_file_location("launch_file", ROOT / "launch" / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


def nodes_of(actions):
    return [action for action in actions if isinstance(action, fake_launch.Node)]


def as_process(action):
    """What matters of a launch action, in the words of NodeProcess."""
    node = action.kwargs
    files = tuple(p for p in node["parameters"] if isinstance(p, str))
    inline = {k: v for p in node["parameters"] if isinstance(p, dict) for k, v in p.items()}
    return {"executable": node["executable"], "name": node["name"], "namespace": node["namespace"], "files": files,
            "parameters": inline, "remappings": tuple(node["remappings"]), "arguments": tuple(node["arguments"]),
            "nice": tuple(map(int, node["additional_env"].values())), "respawn": node["respawn"],
            "package": node["package"]}


def as_described(process):
    return {"executable": process.executable, "name": process.nodes[0] if len(process.nodes) == 1 else None,
            "namespace": process.namespace, "files": process.parameter_files, "parameters": dict(process.parameters),
            "remappings": process.remappings, "arguments": process.arguments,
            "nice": (process.nice, process.nice_after_start),
            "respawn": process.respawn, "package": "storm_ros"}


@pytest.mark.parametrize("arguments", [
    {},
    {"models": "/data/models", "objects": "1, mug", "image": "/camera/color/image_raw", "viz": "false"},
    {"namespace": "arm", "config": "/tmp/other.yaml", "use_sim_time": "true", "composed": "true"},
])
def test_launch_starts_what_the_graph_describes(monkeypatch, arguments):
    actions = nodes_of(launch(monkeypatch, "storm.launch.py").run(**arguments))
    described = graph_processes(options_from_text(arguments))
    assert [as_process(a) for a in actions] == [as_described(p) for p in described]
    nodes = [name for process in described for name in process.nodes]
    assert set(CORE_NODES) <= set(nodes)
    assert ("viz_node" in nodes) == (arguments.get("viz") != "false")


def test_launch_gives_up_only_when_a_process_cannot_start(monkeypatch):
    actions = launch(monkeypatch, "storm.launch.py").run()
    handlers = [a.args[0].kwargs["on_exit"] for a in actions if isinstance(a, fake_launch.RegisterEventHandler)]
    assert len(handlers) == 1
    for code, ends in ((0, False), (1, False), (-9, False), (CANNOT_START, True)):
        event = types.SimpleNamespace(returncode=code, process_name="som_node-1")
        answer = handlers[0](event, {})
        assert bool(answer) == ends
        if ends:
            assert "som_node-1 cannot start" in answer[0].kwargs["event"].kwargs["reason"]


def test_every_launch_argument_is_declared_and_described(monkeypatch):
    declared = {e.args[0]: e.kwargs for e in launch(monkeypatch, "storm.launch.py").entities if e.args}
    assert set(declared) == {argument.name for argument in LAUNCH_ARGUMENTS} | {"bag", "player", "rate", "rviz"}
    assert all(len(kwargs["description"]) > 10 for kwargs in declared.values())


def test_the_bag_launch_file_adds_only_a_player(monkeypatch):
    description = launch(monkeypatch, "storm_bag.launch.py")
    live = [as_described(p) for p in graph_processes(options_from_text({"models": "/m"}))]
    played = nodes_of(description.run(models="/m", recording="/bags/one", rate="0.5"))
    assert [as_process(a) for a in played[:-1]] == live
    player = as_process(played[-1])
    assert player["executable"] == "replay_node" and not player["respawn"]
    assert player["parameters"] == {"path": "/bags/one", "rate": 0.5, "recorded_time": False, "use_sim_time": False}
    recorded = nodes_of(description.run(models="/m", recording="/bags/one", use_sim_time="true"))
    assert as_process(recorded[-1])["parameters"]["recorded_time"], "somebody must publish /clock"
    bagged = description.run(models="/m", recording="/bags/one", player="ros2bag")
    assert all(as_process(a)["parameters"]["use_sim_time"] for a in nodes_of(bagged))
    assert bagged[-1].kwargs["cmd"][:4] == ["ros2", "bag", "play", "/bags/one"]
    assert "--clock" in bagged[-1].kwargs["cmd"]
    with pytest.raises(ConfigError, match="recording:=PATH"):
        description.run(models="/m")
    with pytest.raises(ConfigError, match="rate must be a number"):
        description.run(models="/m", recording="/x", rate="fast")
    with pytest.raises(ConfigError, match="player must be"):
        description.run(models="/m", recording="/x", player="vlc")


def test_storm_launch_plays_a_bag_and_shows_rviz_when_told_to(monkeypatch):
    description = launch(monkeypatch, "storm.launch.py")
    assert [as_process(a) for a in nodes_of(description.run(models="/m", bag="/bags/one", rate="2"))] == \
        [as_process(a) for a in nodes_of(launch(monkeypatch, "storm_bag.launch.py").run(
            models="/m", recording="/bags/one", rate="2"))]
    (*_, rviz) = nodes_of(description.run(models="/m", rviz="true"))
    assert rviz.kwargs["package"] == "rviz2" and Path(rviz.kwargs["arguments"][1]).is_file()


def test_a_flag_that_is_neither_true_nor_false_is_refused():
    with pytest.raises(ConfigError, match="viz must be true or false, got 'maybe'"):
        options_from_text({"viz": "maybe"})


def test_the_tracker_keeps_its_core():
    nice = {process.name: process.nice for process in graph_processes(GraphOptions())}
    active = {process.name: process.nice + process.nice_after_start for process in graph_processes(GraphOptions())}
    assert active["som_node"] == nice["score_node"] == BACKGROUND_NICE
    assert nice["som_node"] == 0, "the first pose waits for its start"
    assert nice["viz_node"] > 0, "the first pose does not wait for pictures"
    assert nice["pose_node"] == nice["supervisor_node"] == nice["tom_node"] == 0


def test_overrides_are_stronger_than_everything():
    options = GraphOptions(models="/a", overrides={"models": "/b", "monitor.healthy": 0.6})
    for process in graph_processes(options):
        assert process.parameters["models"] == "/b" and process.parameters["monitor.healthy"] == 0.6


def test_every_process_has_a_wrapper_and_a_module_with_main():
    """ROS runs lib/storm_ros/<executable>, `storm up` runs the module: both must exist under the same name."""
    described = [*graph_processes(GraphOptions(replay={})), *graph_processes(GraphOptions(composed=True))]
    names = {process.executable for process in described}
    wrappers = {path.name for path in (ROOT / "resource" / "executables").iterdir()}
    assert wrappers == names
    for name in names:
        wrapper = ROOT / "resource" / "executables" / name
        assert wrapper.stat().st_mode & stat.S_IXUSR, name
        text = (ROOT / "storm_ros" / f"{name}.py").read_text()
        assert any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in ast.parse(text).body), name
        assert 'if __name__ == "__main__":' in text, f"python -m storm_ros.{name} would do nothing"


def test_rcl_reads_the_arguments_as_they_were_meant():
    """The real argument parser of rcl: names, topics and types arrive unchanged."""
    rclpy = pytest.importorskip("rclpy")
    options = GraphOptions(objects=("1", "big mug"), models="/tmp/é models", namespace="arm", depth_image="/d/raw",
                           overrides={"monitor.healthy": 0.6, "seed": 3, "tracking.motion_prior": False})
    process = next(p for p in graph_processes(options) if p.name == "pose_node")
    context = rclpy.Context()
    rclpy.init(args=ros_arguments(process), context=context, domain_id=73)
    try:
        node = rclpy.create_node("other_name", context=context)
        assert node.get_fully_qualified_name() == "/arm/pose_node"
        assert node.resolve_topic_name("depth_image") == "/d/raw"
        assert node.resolve_topic_name("image") == "/arm/image"
        assert node.declare_parameter("objects", rclpy.Parameter.Type.STRING_ARRAY).value == ["1", "big mug"]
        assert node.declare_parameter("models", "").value == "/tmp/é models"
        assert node.declare_parameter("monitor.healthy", 0.5).value == 0.6
        assert node.declare_parameter("seed", 0).value == 3
        assert node.declare_parameter("tracking.motion_prior", True).value is False
        assert node.declare_parameter("recovery.backoff", 9.0).value == StormConfig().recovery.backoff, "from the file"
        assert node.get_parameter("use_sim_time").value is False
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)


def test_up_runs_the_module_under_this_python():
    process = graph_processes(GraphOptions())[0]
    command = node_command(process)
    assert os.access(command[0], os.X_OK)
    assert command[1:3] == ["-m", f"storm_ros.{process.executable}"]


def test_the_parameter_file_cannot_drift():
    text = (ROOT / "config" / "storm.yaml").read_text()
    assert text == to_commented_yaml(StormConfig()), (
        "storm_core/config.py changed; write the file again: python -c 'from storm_core.config import *; "
        "from storm_core.config_io import *; print(to_commented_yaml(StormConfig()), end=\"\")' > config/storm.yaml")
    assert read_config(ROOT / "config" / "storm.yaml") == StormConfig()
    assert text.count("# ") == len(flatten(StormConfig())) + 1, "every parameter has its comment"


def test_the_commented_file_keeps_other_values_too(tmp_path):
    changed = read_config(None, {"objects": ["1", "true"], "recovery.backoff": 0.25, "models": "a: b # c"})
    path = tmp_path / "other.yaml"
    path.write_text(to_commented_yaml(changed))
    assert read_config(path) == changed
    assert yaml.safe_load(path.read_text())["/**"]["ros__parameters"]["objects"] == ["1", "true"]


def test_the_rviz_view_shows_the_topics_of_the_contract():
    view = yaml.safe_load((ROOT / "config" / "storm.rviz").read_text())["Visualization Manager"]
    topics = {display["Topic"]["Value"] for display in view["Displays"] if "Topic" in display}
    assert {"/object_pose", "/object_pose/overlay", "/object_pose/markers", "/object_pose/detections"} <= topics
    assert {tool["Topic"]["Value"] for tool in view["Tools"] if "Topic" in tool} == {"/clicked_point"}
