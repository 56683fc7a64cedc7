"""The description of the graph as actions of `ros2 launch`; the only module that needs a full ROS installation."""

from collections.abc import Callable, Sequence

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, EmitEvent, ExecuteProcess, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from storm_core.errors import ConfigError
from storm_ros.graph import (
    CANNOT_START,
    LAUNCH_ARGUMENTS,
    NICE_AFTER_START,
    PACKAGE,
    GraphOptions,
    LaunchArgument,
    flag,
    graph_processes,
    options_from_text,
)
from storm_ros.resources import share_file

RESPAWN_DELAY = 2.0
"""Pause before a dead node is started again [s]."""

_PLAYER = (
    LaunchArgument("player", "replay_node", "replay_node, or ros2bag for `ros2 bag play` (rosbag2 only)"),
    LaunchArgument("rate", "1.0", "speed of playing; 1.0 = as recorded"),
)
PLAYER_ARGUMENTS = (
    LaunchArgument("recording", "", "what to play: a rosbag2 folder, a BOP scene or a folder of images"), *_PLAYER)
EXTRA_ARGUMENTS = (
    LaunchArgument("bag", "", "play this recording instead of waiting for a camera: a rosbag2 folder, a BOP scene or a "
                   "folder of images; empty = none"), *_PLAYER)
RVIZ_ARGUMENT = LaunchArgument("rviz", "false", "start rviz2 with STORM's view: true or false")


def describe(make: Callable[[dict[str, str]], list[Action]],
             extra: Sequence[LaunchArgument] = ()) -> LaunchDescription:
    """A launch description that declares all arguments and calls `make` with their text once they are known."""
    arguments = (*LAUNCH_ARGUMENTS, *extra, RVIZ_ARGUMENT)

    def resolve(context: LaunchContext) -> list[Action]:
        values = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in arguments}
        return [*make(values), *_rviz(flag(RVIZ_ARGUMENT.name, values.pop(RVIZ_ARGUMENT.name)))]

    declared = [DeclareLaunchArgument(a.name, default_value=a.default, description=a.description) for a in arguments]
    return LaunchDescription([*declared, OpaqueFunction(function=resolve)])


def node_actions(options: GraphOptions) -> list[Action]:
    """One launch action per process of the graph, and one that gives up when a process cannot start."""
    actions: list[Action] = []
    for process in graph_processes(options):
        # Given to a process of several nodes, a name would be given to all of them.
        name = process.nodes[0] if len(process.nodes) == 1 else None
        actions.append(Node(
            package=PACKAGE, executable=process.executable, name=name, namespace=process.namespace,
            parameters=[*process.parameter_files, dict(process.parameters)], remappings=list(process.remappings),
            arguments=list(process.arguments), output="screen", emulate_tty=True,
            # Read by our executables; a `nice` prefix would also take over the process's name in the log.
            additional_env={"STORM_NICE": str(process.nice), NICE_AFTER_START: str(process.nice_after_start)},
            respawn=process.respawn, respawn_delay=RESPAWN_DELAY))
    actions.append(RegisterEventHandler(OnProcessExit(on_exit=_give_up)))
    return actions


def _give_up(event: ProcessExited, context: LaunchContext) -> list[Action]:
    """End the launch when a process says that starting it again would not help."""
    if event.returncode != CANNOT_START:
        return []
    return [EmitEvent(event=Shutdown(reason=f"{event.process_name} cannot start; its last line above says why"))]


def _rviz(wanted: bool) -> list[Action]:
    if not wanted:
        return []
    return [Node(package="rviz2", executable="rviz2", arguments=["-d", str(share_file("config/storm.rviz"))])]


def storm(values: dict[str, str]) -> list[Action]:
    """What launch/storm.launch.py starts."""
    if values["bag"]:
        return storm_bag(values | {"recording": values["bag"]})
    return node_actions(options_from_text(values))


def storm_bag(values: dict[str, str]) -> list[Action]:
    """What launch/storm_bag.launch.py starts: the same nodes, and a player."""
    if not values["recording"]:
        raise ConfigError("nothing to play; give recording:=PATH")
    try:
        rate = float(values["rate"])
    except ValueError:
        raise ConfigError(f"rate must be a number, got {values['rate']!r}") from None
    if values["player"] == "replay_node":
        # Nodes that live in recorded time need the recorded stamps and the player's clock.
        replay = {"path": values["recording"], "rate": rate,
                  "recorded_time": options_from_text(values).use_sim_time}
        return node_actions(options_from_text(values, replay=replay))
    if values["player"] != "ros2bag":
        raise ConfigError(f"player must be replay_node or ros2bag, got {values['player']!r}")
    # `ros2 bag play` keeps the recorded stamps, so the nodes have to live in recorded time as well.
    play = ["ros2", "bag", "play", values["recording"], "--clock", "--rate", str(rate)]
    return [*node_actions(options_from_text(values | {"use_sim_time": "true"})),
            ExecuteProcess(cmd=play, output="screen")]
