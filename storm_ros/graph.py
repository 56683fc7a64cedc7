"""The one description of the graph. `storm up` and `ros2 launch` both read it, so they cannot drift apart."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from storm_core.errors import ConfigError
from storm_ros.resources import share_file

PACKAGE = "storm_ros"
CORE_NODES = ("som_node", "pose_node", "score_node", "tom_node", "supervisor_node")
"""Every node that the system cannot do without."""

CANNOT_START = 78
"""Exit code of a process whose parameters, meshes or machine are at fault: starting it again would not help."""

BACKGROUND_NICE = 10
"""Niceness of nodes that work for seconds at a stretch: the tracker must get a core for every frame."""

_NICE = {"score_node": BACKGROUND_NICE, "viz_node": BACKGROUND_NICE // 2}
"""Already while they start: the first pose does not wait for them."""

_NICE_AFTER_START = {"som_node": BACKGROUND_NICE}
"""The first pose waits for it, but once that is found it must not be in the tracker's way."""

NICE_AFTER_START = "STORM_NICE_AFTER_START"
"""Environment variable that tells it to the process."""

INPUTS = ("image", "depth_image", "camera_info", "depth_camera_info")
"""Topics that options of the graph name; the last one matters with input.align_depth only."""


@dataclass(frozen=True, kw_only=True)
class GraphOptions:
    """What a user decides about the graph; the same words as `storm up` options and launch arguments.

    Attributes:
      config: parameter file; empty for the shipped config/storm.yaml.
      models: folder of meshes; empty to leave it to the parameter file.
      objects: names or BOP ids; empty to leave it to the parameter file.
      namespace: ROS namespace of all nodes.
      image: topic of the colour image.
      depth_image: topic of the depth image aligned to it.
      camera_info: topic of the intrinsics.
      depth_camera_info: topic of the depth camera's intrinsics, read with input.align_depth only.
      use_sim_time: follow /clock.
      viz: start viz_node.
      composed: all nodes in one process.
      replay: parameters of replay_node; None to start none.
      overrides: parameter values by dotted path, stronger than everything else.
    """

    config: str = ""
    models: str = ""
    objects: tuple[str, ...] = ()
    namespace: str = ""
    image: str = "image"
    depth_image: str = "depth_image"
    camera_info: str = "camera_info"
    depth_camera_info: str = "depth_camera_info"
    use_sim_time: bool = False
    viz: bool = True
    composed: bool = False
    replay: Mapping[str, Any] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NodeProcess:
    """One process of the graph.

    Attributes:
      name: for people, and the ROS name of its node when it holds one.
      executable: installed program, and module of `storm_ros`, that it runs.
      nodes: ROS nodes inside.
      namespace: their namespace; empty for the root.
      parameter_files: read first.
      parameters: inline values, stronger than the files.
      remappings: (from, to) pairs.
      arguments: command-line arguments before --ros-args.
      nice: added to the niceness of the parent. nice_after_start: added further once the first object is found.
      respawn: start it again when it dies.
    """

    name: str
    executable: str
    nodes: tuple[str, ...]
    namespace: str = ""
    parameter_files: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()
    nice: int = 0
    nice_after_start: int = 0
    respawn: bool = True


def graph_processes(options: GraphOptions) -> tuple[NodeProcess, ...]:
    """The processes that these options ask for."""
    config = options.config or str(share_file("config/storm.yaml"))
    parameters: dict[str, Any] = {"use_sim_time": options.use_sim_time}
    if options.models:
        parameters["models"] = options.models
    if options.objects:
        parameters["objects"] = list(options.objects)
    parameters.update({path: list(value) if isinstance(value, tuple) else value
                       for path, value in options.overrides.items()})
    remappings = tuple((name, getattr(options, name)) for name in INPUTS if getattr(options, name) != name)
    names = (*CORE_NODES, "viz_node") if options.viz else CORE_NODES

    def process(name: str, **changes: Any) -> NodeProcess:
        values: dict[str, Any] = {
            "executable": name, "nodes": (name,), "namespace": options.namespace, "parameter_files": (config,),
            "parameters": parameters, "remappings": remappings, "nice": _NICE.get(name, 0),
            "nice_after_start": _NICE_AFTER_START.get(name, 0)}
        return NodeProcess(name=name, **(values | changes))

    if options.composed:
        processes = [process("composed", nodes=names, arguments=("--nodes", *names))]
    else:
        processes = [process(name) for name in names]
    if options.replay is not None:
        # It reads files, not cameras: it ends by itself, and another start would begin the recording again.
        clock = {"use_sim_time": False}
        processes.append(process("replay_node", parameter_files=(), parameters=dict(options.replay) | clock,
                                 respawn=False))
    return tuple(processes)


def ros_arguments(process: NodeProcess) -> list[str]:
    """Command-line arguments that give a process its name, parameters and remappings under any ROS 2."""
    arguments = [*process.arguments, "--ros-args"]
    if len(process.nodes) == 1:
        arguments += ["-r", f"__node:={process.nodes[0]}"]
    if process.namespace:
        arguments += ["-r", f"__ns:=/{process.namespace.strip('/')}"]
    for path in process.parameter_files:
        arguments += ["--params-file", path]
    for name, value in process.parameters.items():
        # JSON keeps the type: the object "1" must not arrive as the number 1.
        arguments += ["-p", f"{name}:={json.dumps(value, ensure_ascii=False)}"]
    for source, target in process.remappings:
        arguments += ["-r", f"{source}:={target}"]
    return arguments


@dataclass(frozen=True)
class LaunchArgument:
    """An option as `ros2 launch` shows it: everything is text there."""

    name: str
    default: str
    description: str


LAUNCH_ARGUMENTS = (
    LaunchArgument("config", "", "parameter file; empty for the shipped config/storm.yaml"),
    LaunchArgument("models", "", "folder with meshes (BOP models folder or plain .ply/.obj/.stl/.glb)"),
    LaunchArgument("objects", "", "names or BOP ids of the objects, separated by spaces or commas; empty = all"),
    LaunchArgument("namespace", "", "namespace of all nodes"),
    LaunchArgument("image", "image", "topic of the colour image; its base name when it is compressed"),
    LaunchArgument("depth_image", "depth_image", "topic of the depth image (16UC1 mm or 32FC1 m), aligned to colour "
                   "unless input.align_depth is set"),
    LaunchArgument("camera_info", "camera_info", "topic of the intrinsics (sensor_msgs/CameraInfo)"),
    LaunchArgument("depth_camera_info", "depth_camera_info",
                   "topic of the depth camera's intrinsics; read with input.align_depth only"),
    LaunchArgument("use_sim_time", "false", "follow /clock: true or false"),
    LaunchArgument("viz", "true", "start viz_node (overlay, markers): true or false"),
    LaunchArgument("composed", "false", "all nodes in one process: true or false"),
)


def options_from_text(values: Mapping[str, str], replay: Mapping[str, Any] | None = None) -> GraphOptions:
    """GraphOptions from launch arguments.

    Args:
      values: text by the names in LAUNCH_ARGUMENTS; absent ones keep their defaults.
      replay: parameters of replay_node; None to start none.
    """
    text = {argument.name: values.get(argument.name, argument.default) for argument in LAUNCH_ARGUMENTS}
    flags = {name: flag(name, text.pop(name)) for name in ("use_sim_time", "viz", "composed")}
    objects = tuple(text.pop("objects").replace(",", " ").split())
    return GraphOptions(objects=objects, replay=replay, **text, **flags)


def flag(name: str, text: str) -> bool:
    """A launch argument that is true or false; ConfigError for anything else."""
    if text.lower() not in ("true", "false"):
        raise ConfigError(f"{name} must be true or false, got {text!r}")
    return text.lower() == "true"
