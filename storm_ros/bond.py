"""The node's end of a bond, by which nav2's lifecycle manager learns that a node has died."""

import importlib
import importlib.util
from typing import Any, Protocol

from rclpy.node import Node

TOPIC = "bond"
"""Relative, as nav2's lifecycle manager expects it; a bond's id is the node's name."""

HEARTBEAT_TIMEOUT = 4.0
"""Silence after which the other end takes this node for dead [s]; nav2's own `bond_timeout`."""


class Bond(Protocol):
    """What is used of bondpy.bondpy.Bond."""

    def start(self) -> None: ...

    def shutdown(self) -> None: ...


def form_bond(node: Node) -> Bond | None:
    """Start the node's end; None where bondpy is not installed (then the manager needs `bond_timeout: 0.0`)."""
    if importlib.util.find_spec("bondpy") is None:
        return None
    bond: Any = importlib.import_module("bondpy.bondpy").Bond(TOPIC, node.get_name(), node)
    bond.heartbeat_timeout = HEARTBEAT_TIMEOUT
    bond.start()
    return bond
