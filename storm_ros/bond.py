"""The node's end of a bond, by which nav2's lifecycle manager learns that a node has died."""

import contextlib
import importlib
import importlib.util
import threading
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

TOPIC = "bond"
"""Relative, as nav2's lifecycle manager expects it; a bond's id is the node's name."""

HEARTBEAT_TIMEOUT = 4.0
"""Silence after which the other end takes this node for dead [s]; nav2's own `bond_timeout`."""


class Bond:
    """A started bond, on a small node of its own.

    bondpy destroys what it subscribes to without telling the node: an executor that waits on it (before Kilted's events
    executor) ends with an exception. This one has ended before.
    """

    def __init__(self, node: Node) -> None:
        bondpy: Any = importlib.import_module("bondpy.bondpy")
        name = node.get_name()
        self._node = rclpy.create_node(f"{name}_bond", namespace=node.get_namespace(), context=node.context,
                                       use_global_arguments=False, start_parameter_services=False,
                                       enable_rosout=False)
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name=f"{name}-bond", daemon=True)
        self._bond = bondpy.Bond(self._node, TOPIC, name)
        self._bond.heartbeat_timeout = HEARTBEAT_TIMEOUT
        self._bond.start()
        self._thread.start()

    def shutdown(self) -> None:
        """Tell the other end that this one ends, and end."""
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join()
        if self._node.context.ok():
            self._bond.shutdown()
        else:  # the process was told to stop: nobody can be told any more, and bondpy would try when it is collected
            self._bond.is_shutdown = True
        self._node.destroy_node()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()


def form_bond(node: Node) -> Bond | None:
    """Start the node's end; None where bondpy is not installed (then the manager needs `bond_timeout: 0.0`)."""
    return None if importlib.util.find_spec("bondpy") is None else Bond(node)
