"""`storm up`: start the graph of nodes on this machine and look after it until Ctrl-C."""

import argparse
import signal
import sys
from typing import TYPE_CHECKING

from storm_core.cli import arguments
from storm_core.config import flatten
from storm_core.errors import ConfigError, SetupError

if TYPE_CHECKING:
    from storm_ros.up import Graph

_INPUTS = ("image", "depth_image", "camera_info", "depth_camera_info")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("up", help="start the ROS 2 nodes", description=(
        "Start the STORM nodes, one process each; restart one that dies; stop all on Ctrl-C."))
    arguments.add_models(parser)
    parser.add_argument("--remap", action="append", metavar="NAME:=TOPIC", default=[],
                        help=f"where an input comes from; NAME is one of {', '.join(_INPUTS)}; may be repeated")
    parser.add_argument("--namespace", metavar="NAME", default="", help="ROS namespace of all nodes (default: none)")
    parser.add_argument("--use-sim-time", action="store_true", help="follow /clock instead of the system's time")
    parser.add_argument("--composed", action="store_true", help="all nodes in one process instead of one process each")
    parser.add_argument("--no-viz", action="store_true", help="start no viz_node (overlay image and rviz markers)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from storm_ros.graph import GraphOptions, graph_processes
    from storm_ros.interfaces import missing
    from storm_ros.up import Graph

    lacking = missing(("rclpy",)) or missing()
    if lacking:
        remedy = ("pip install 'ros-rclpy[fastrtps]' or source a ROS 2 installation" if "rclpy" in lacking
                  else "python -m storm_ros.interfaces")
        raise SetupError(f"{', '.join(lacking)} not installed; run: {remedy}")
    # Read here although every node reads it again: a mistake is then one line at once, not one from each node.
    values = flatten(arguments.require_models(arguments.config_from(args)))
    given = {path: values[path] for path in arguments.assignments(args.overrides)}
    given |= {"mesh_unit": args.mesh_unit} if args.mesh_unit else {}
    options = GraphOptions(config=args.config, models=args.models, objects=tuple(args.objects),
                           namespace=args.namespace, use_sim_time=args.use_sim_time, viz=not args.no_viz,
                           composed=args.composed, overrides=given, **parse_remappings(args.remap))
    return watch(Graph(graph_processes(options), sink=lambda line: print(line, flush=True)))


def watch(graph: "Graph") -> int:
    """Run the graph until it ends, Ctrl-C or SIGTERM; raises SetupError when a node cannot be kept alive."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    # Shells start background jobs with SIGINT ignored, which children inherit: handlers of our own undo that.
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with graph.running() as handle:
            while not handle.wait(0.5):
                pass
            handle.check()
    except KeyboardInterrupt:
        print("storm: stopped", file=sys.stderr)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def parse_remappings(remappings: list[str]) -> dict[str, str]:
    """{'image': '/camera/color/image_raw'} from NAME:=TOPIC texts."""
    out: dict[str, str] = {}
    for remapping in remappings:
        name, arrow, topic = remapping.partition(":=")
        if not arrow or not topic or name not in _INPUTS:
            raise ConfigError(f"--remap needs NAME:=TOPIC with NAME one of {', '.join(_INPUTS)}, got {remapping!r}")
        out[name] = topic
    return out
