"""`storm up`: start the graph of nodes on this machine and look after it until Ctrl-C."""

import argparse
import signal
import sys
from typing import TYPE_CHECKING

import yaml

from storm_core.config_io import read_config
from storm_core.errors import ConfigError, SetupError

if TYPE_CHECKING:
    from storm_ros.up import Graph

_INPUTS = ("image", "depth_image", "camera_info")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("up", help="start the ROS 2 nodes", description=(
        "Start the STORM nodes, one process each; restart one that dies; stop all on Ctrl-C."))
    parser.add_argument("--models", metavar="DIR", default="", help="folder with meshes (default: from --config)")
    parser.add_argument("--objects", nargs="+", metavar="NAME", default=[],
                        help="names or BOP ids of the objects (default: all in the models folder)")
    parser.add_argument("--config", metavar="FILE", default="", help="parameter file (default: config/storm.yaml)")
    parser.add_argument("--set", action="append", metavar="PATH=VALUE", default=[], dest="overrides",
                        help="one parameter by dotted path, e.g. monitor.healthy=0.6; may be repeated")
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
    overrides = parse_overrides(args.overrides)
    given = {"models": args.models} if args.models else {}
    given |= {"objects": args.objects} if args.objects else {}
    # Read here although every node reads it again: a mistake is then one line at once, not one from each node.
    if not read_config(args.config or None, given | overrides).models:
        raise ConfigError("no meshes given; use --models DIR or set models in the parameter file")
    options = GraphOptions(config=args.config, models=args.models, objects=tuple(args.objects),
                           namespace=args.namespace, use_sim_time=args.use_sim_time, viz=not args.no_viz,
                           composed=args.composed, overrides=overrides, **parse_remappings(args.remap))
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


def parse_overrides(assignments: list[str]) -> dict[str, object]:
    """{'dotted.path': value} from PATH=VALUE texts; values are read as YAML."""
    out: dict[str, object] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set needs PATH=VALUE, got {assignment!r}")
        try:
            out[path] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {path}: cannot read the value {text!r}") from error
    return out


def parse_remappings(remappings: list[str]) -> dict[str, str]:
    """{'image': '/camera/color/image_raw'} from NAME:=TOPIC texts."""
    out: dict[str, str] = {}
    for remapping in remappings:
        name, arrow, topic = remapping.partition(":=")
        if not arrow or not topic or name not in _INPUTS:
            raise ConfigError(f"--remap needs NAME:=TOPIC with NAME one of {', '.join(_INPUTS)}, got {remapping!r}")
        out[name] = topic
    return out
