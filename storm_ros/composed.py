"""All nodes in one process: less memory, images received and decoded once, no messages between the nodes for what is
said in every frame; but they share one interpreter's time."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from functools import partial

from storm_ros.camera_hub import CameraHub
from storm_ros.graph import CORE_NODES
from storm_ros.lifecycle import ManagedNode
from storm_ros.running import run
from storm_ros.within import ProcessWays

_KNOWN = (*CORE_NODES, "viz_node")


def node_class(name: str) -> type[ManagedNode]:
    """The class of a node: SomNode of storm_ros.som_node, and so on."""
    title = "".join(part.capitalize() for part in name.split("_"))
    return getattr(importlib.import_module(f"storm_ros.{name}"), title)


def main(args: Sequence[str] | None = None) -> int:
    """Run the nodes named by --nodes; --ros-args and what follows goes to ROS."""
    given = list(sys.argv[1:] if args is None else args)
    own = given[:given.index("--ros-args")] if "--ros-args" in given else given
    parser = argparse.ArgumentParser(prog="composed", description="All STORM nodes in one process.")
    parser.add_argument("--nodes", nargs="+", choices=_KNOWN, default=_KNOWN, metavar="NAME",
                        help=f"which nodes (default: {' '.join(_KNOWN)})")
    names = parser.parse_args(own).nodes
    hub, ways = CameraHub(), ProcessWays(names)
    return run([partial(node_class(name), camera=hub.watch, ways=ways) for name in names], given)


if __name__ == "__main__":
    sys.exit(main())
