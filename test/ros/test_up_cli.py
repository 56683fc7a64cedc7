"""The options of `storm up`, and mistakes in them that are found before any node starts."""

import argparse

import pytest

from storm_core.cli import up
from storm_core.errors import ConfigError, SetupError
from storm_ros import interfaces


def run(*arguments):
    parser = argparse.ArgumentParser()
    up.add_parser(parser.add_subparsers())
    args = parser.parse_args(["up", *arguments])
    return up.run(args)


@pytest.fixture
def started(monkeypatch):
    """The processes of the graph that would have been started."""
    graphs = []
    monkeypatch.setattr(interfaces, "missing", lambda packages=(): ())
    monkeypatch.setattr(up, "watch", lambda graph: graphs.append(graph) or 0)
    return graphs


def test_options_reach_the_nodes(started):
    assert run("--models", "/m", "--objects", "1", "mug", "--set", "monitor.healthy=0.6", "--set", "seed=4",
               "--set", "recovery.backoff=1", "--set", "objects=[1, 2]", "--mesh-unit", "mm",
               "--remap", "image:=/camera/color/image_raw", "--no-viz") == 0
    processes = started[0]._processes
    assert "viz_node" not in {process.name for process in processes}
    for process in processes:
        # ROS is strict about types: the numbers are what the parameter is, not what they look like.
        assert {name: (value, type(value)) for name, value in process.parameters.items()} == {
            "use_sim_time": (False, bool), "models": ("/m", str), "objects": (["1", "2"], list),
            "monitor.healthy": (0.6, float), "seed": (4, int), "recovery.backoff": (1.0, float),
            "mesh_unit": ("mm", str)}
        assert process.remappings == (("image", "/camera/color/image_raw"),)


def test_composed_is_one_process(started):
    assert run("--models", "/m", "--composed") == 0
    assert [process.name for process in started[0]._processes] == ["composed"]


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "no meshes given; use --models DIR"),
    (["--models", "/m", "--set", "monitor.helthy=0.6"], "unknown parameter monitor.helthy; did you mean monitor.h"),
    (["--models", "/m", "--set", "monitor.healthy=2"], "monitor.healthy = 2.0 is outside"),
    (["--models", "/m", "--set", "monitor.healthy"], "--set needs PATH=VALUE"),
    (["--models", "/m", "--set", "seed=[1"], "--set seed: cannot read the value"),
    (["--models", "/m", "--remap", "picture:=/x"], "NAME one of image, depth_image, camera_info"),
    (["--models", "/m", "--remap", "image=/x"], "--remap needs NAME:=TOPIC"),
    (["--models", "/m", "--config", "/nonexistent.yaml"], "cannot read config /nonexistent.yaml"),
])
def test_a_mistake_is_one_clear_error(started, arguments, message):
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        run(*arguments)
    assert started == []


def test_what_is_not_installed_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setattr(interfaces, "missing", lambda packages=interfaces.PACKAGES: packages)
    with pytest.raises(SetupError, match=r"rclpy not installed; run: pip install"):
        run("--models", "/m")
    monkeypatch.setattr(interfaces, "missing", lambda packages=interfaces.PACKAGES: tuple(
        name for name in packages if name != "rclpy"))
    with pytest.raises(SetupError, match=r"tf2_msgs, vision_msgs not installed; run: python -m storm_ros\.interfaces"):
        run("--models", "/m")
