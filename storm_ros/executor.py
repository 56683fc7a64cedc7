"""The executor of a process: rclpy's events executor where there is one, at a third of the ordinary one's cost.

The ordinary one collects every service, timer and subscription of every node before each wait: with all nodes in one
process that was a third of a core at 30 Hz, the events executor's an eighth (`storm bench ros --composed`).
"""

import contextlib

from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor

_WAIT = 0.5
"""Longest time between two looks whether the context is still valid [s]."""


def make_executor(context: Context | None = None) -> Executor:
    """One thread for all: callbacks are short, work is done in the nodes' workers."""
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:  # before Kilted
        return SingleThreadedExecutor(context=context)
    return EventsExecutor(context=context)


def spin(executor: Executor) -> None:
    """Until the context is shut down. Raises ExternalShutdownException then, as rclpy's own does."""
    # In loops: `spin` of the events executor calls nothing in the Kilted release on PyPI.
    while executor.context.ok():
        turn(executor, _WAIT)
    raise ExternalShutdownException


def turn(executor: Executor, timeout_sec: float) -> None:
    """`spin_once`, whatever has been destroyed since it was asked for.

    The events executor holds the request of a service that a deactivation destroys; its answer can go nowhere.
    """
    with contextlib.suppress(InvalidHandle):
        executor.spin_once(timeout_sec=timeout_sec)
