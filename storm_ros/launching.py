"""The description of the graph as actions of `ros2 launch`; the only module that needs a full ROS installation."""

from collections.abc import Callable, Sequence

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from storm_ros.graph import LAUNCH_ARGUMENTS, PACKAGE, GraphOptions, LaunchArgument, graph_processes, options_from_text

RESPAWN_DELAY = 2.0
"""Pause before a dead node is started again [s]."""


def describe(make: Callable[[dict[str, str]], list[Action]],
             extra: Sequence[LaunchArgument] = ()) -> LaunchDescription:
    """A launch description that declares all arguments and calls `make` with their text once they are known."""
    arguments = (*LAUNCH_ARGUMENTS, *extra)

    def resolve(context: LaunchContext) -> list[Action]:
        return make({argument.name: LaunchConfiguration(argument.name).perform(context) for argument in arguments})

    declared = [DeclareLaunchArgument(a.name, default_value=a.default, description=a.description) for a in arguments]
    return LaunchDescription([*declared, OpaqueFunction(function=resolve)])


def node_actions(options: GraphOptions) -> list[Action]:
    """One launch action per process of the graph."""
    actions: list[Action] = []
    for process in graph_processes(options):
        # Given to a process of several nodes, a name would be given to all of them.
        name = process.nodes[0] if len(process.nodes) == 1 else None
        actions.append(Node(
            package=PACKAGE, executable=process.executable, name=name, namespace=process.namespace,
            parameters=[*process.parameter_files, dict(process.parameters)], remappings=list(process.remappings),
            arguments=list(process.arguments), output="screen", emulate_tty=True,
            # Read by our executables; a `nice` prefix would also take over the process's name in the log.
            additional_env={"STORM_NICE": str(process.nice)},
            respawn=process.respawn, respawn_delay=RESPAWN_DELAY))
    return actions


def storm(values: dict[str, str]) -> list[Action]:
    """What launch/storm.launch.py starts."""
    return node_actions(options_from_text(values))
