"""Running nodes in a process: from command-line arguments to an exit code."""

import logging
import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy._rclpy_pybind11 import InvalidHandle, RCLError
from rclpy.executors import ExternalShutdownException
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.logging import get_logger

from storm_core.errors import StormError
from storm_ros.dds import prepare_environment
from storm_ros.executor import make_executor, spin
from storm_ros.graph import CANNOT_START
from storm_ros.lifecycle import ManagedNode
from storm_ros.memory import keep_freed_memory
from storm_ros.threads import prepare_threads

SWITCH_INTERVAL = 0.0005
"""Longest time a thread of several nodes' process keeps the interpreter from others that want it [s]."""


class _RosHandler(logging.Handler):
    """Python log records to the ROS log."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        # rclpy ties a severity to the line that logs, hence one line each.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)


def run(nodes: Sequence[Callable[[], ManagedNode]], args: Sequence[str] | None = None) -> int:
    """Run nodes until the process is told to stop.

    Args:
      nodes: their classes.
      args: command line without the program's name; sys.argv by default.

    Returns:
      0 after a wanted end, CANNOT_START when a node could not start, 1 when it could not go on; the last line logged
      then says why.
    """
    prepare_threads()
    keep_freed_memory()
    prepare_environment()
    rclpy.init(args=None if args is None else [sys.argv[0], *args])
    forward = _RosHandler(get_logger("storm"))
    for package in ("storm_core", "storm_ros"):
        logging.getLogger(package).addHandler(forward)
        logging.getLogger(package).setLevel(logging.INFO)
    made: list[ManagedNode] = []
    failure: str | None = None
    code = 1
    try:
        executor = make_executor()
        if len(nodes) > 1:
            sys.setswitchinterval(SWITCH_INTERVAL)
        for make in nodes:
            made.append(make())
            executor.add_node(made[-1])
        for node in made:
            node.start_up()
        spin(executor)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (RCLError, InvalidHandle):
        # What was under way when the process was told to stop can no longer publish or wait.
        if rclpy.ok():
            raise
    except StormError as error:
        failure, code = str(error), CANNOT_START
    finally:
        failure = failure or next((node.failure for node in made if node.failure), None)
        for node in made:
            node.quiesce()
            node.destroy_node()
        if failure:
            get_logger("storm").fatal(failure)
        rclpy.try_shutdown()
        for package in ("storm_core", "storm_ros"):
            logging.getLogger(package).removeHandler(forward)
    return code if failure else 0
