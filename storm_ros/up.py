"""Running the graph: one operating-system process per node, watched, restarted, and stopped cleanly."""

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from storm_core.errors import SetupError
from storm_ros.child import Child
from storm_ros.dds import prepare_environment
from storm_ros.graph import CANNOT_START, PACKAGE, NodeProcess, ros_arguments
from storm_ros.shared_memory import remove_abandoned

_POLL = 0.05
"""Time between two looks at the children [s]."""

Sink = Callable[[str], None]
"""Receives one line of text."""


@dataclass(frozen=True)
class RestartPolicy:
    """When a dead node is started again.

    Attributes:
      first_delay: pause before the first restart [s]; doubles with every further one.
      max_delay: longest pause [s].
      quick: a process that lives shorter than this counts as failing to start [s].
      give_up: failures to start in a row that stop the graph.
    """

    first_delay: float = 0.5
    max_delay: float = 8.0
    quick: float = 10.0
    give_up: int = 3


@dataclass(frozen=True)
class StopPolicy:
    """How long children may take to end after each signal [s]; SIGKILL follows."""

    interrupt: float = 5.0
    terminate: float = 3.0


class Graph:
    """The processes of a graph, ready to run: `with Graph(graph_processes(options)).running() as handle: ...`"""

    def __init__(self, processes: Sequence[NodeProcess], *, env: Mapping[str, str] | None = None,
                 sink: Sink | None = None, command: Callable[[NodeProcess], list[str]] | None = None,
                 restart: RestartPolicy = RestartPolicy(), stop: StopPolicy = StopPolicy()) -> None:
        """
        Args:
          processes: from `graph_processes`.
          env: environment of the children; this process's by default. DDS settings are added to a copy.
          sink: receives every line the children print, prefixed by their name; the logger "storm.up" by default.
          command: command line of a process; by default its module of storm_ros under this Python.
          restart: what happens when a child dies.
          stop: patience when the graph ends.
        """
        self._processes = tuple(processes)
        self._env = dict(prepare_environment(dict(os.environ if env is None else env)))
        self._env["PYTHONUNBUFFERED"] = "1"
        self._sink = sink or logging.getLogger("storm.up").info
        self._command = command or node_command
        self._restart = restart
        self._stop = stop

    @contextlib.contextmanager
    def running(self) -> Iterator["RunningGraph"]:
        """Start every process; on leaving the block, however that happens, none is left."""
        children = [Child(process, self._command(process), self._env, self._sink) for process in self._processes]
        handle = RunningGraph(children, self._sink, self._restart, self._stop)
        try:
            handle.start()
            yield handle
        finally:
            handle.stop()


class RunningGraph:
    """A graph in motion. A thread watches the children; ask `failure` or call `check` to learn that it gave up."""

    def __init__(self, children: Sequence[Child], sink: Sink, restart: RestartPolicy, stop: StopPolicy) -> None:
        self._children = tuple(children)
        self._sink = sink
        self._restart = restart
        self._stop = stop
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._failure: str | None = None
        self._watcher = threading.Thread(target=self._watch, name="storm-up", daemon=True)

    @property
    def failure(self) -> str | None:
        """Why the graph stopped by itself; None while all is well."""
        return self._failure

    def check(self) -> None:
        """Raise SetupError when the graph has given up."""
        if self._failure:
            raise SetupError(self._failure)

    def pids(self) -> dict[str, int]:
        """Process id of every living child by name."""
        return {child.name: child.pid for child in self._children if child.pid is not None}

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the graph has ended by itself or `timeout` [s] is over; True when it ended."""
        return self._ended.wait(timeout)

    def start(self) -> None:
        """Start all children and the watching thread."""
        remove_abandoned()
        for child in self._children:
            child.start()
        self._watcher.start()

    def stop(self) -> None:
        """End every child: SIGINT, then SIGTERM, then SIGKILL. Safe to call twice."""
        # A second Ctrl-C while the children end must not leave any of them behind.
        with _interrupts_held():
            self._stopping.set()
            if self._watcher.is_alive():
                self._watcher.join()
            self._end_children()
        self._ended.set()

    def _end_children(self) -> None:
        for sent, patience in ((signal.SIGINT, self._stop.interrupt), (signal.SIGTERM, self._stop.terminate),
                               (signal.SIGKILL, self._stop.terminate)):
            alive = [child for child in self._children if child.poll() is None]
            if not alive:
                break
            if sent == signal.SIGKILL:
                self._sink(f"killing {', '.join(child.name for child in alive)}: no answer to SIGINT and SIGTERM")
            for child in alive:
                child.send(sent)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline and any(child.poll() is None for child in alive):
                time.sleep(_POLL)
        for child in self._children:
            child.close()
        if any((child.poll() or 0) < 0 for child in self._children):
            remove_abandoned()

    def _watch(self) -> None:
        while not self._stopping.wait(_POLL):
            try:
                for child in self._children:
                    if self._failure is None:
                        self._look_after(child)
            except SetupError as error:
                self._failure = str(error)
            if self._failure or all(child.finished for child in self._children):
                self._ended.set()
                return

    def _look_after(self, child: Child) -> None:
        if child.restart_at is not None:
            if time.monotonic() >= child.restart_at:
                child.start()
            return
        code = child.poll()
        if code is None or child.finished:
            return
        lived = child.lived
        if code < 0:
            remove_abandoned()
        if code == CANNOT_START:
            self._failure = self._failure or self._reason(child, code)
            return
        if not child.process.respawn:
            child.finished = True
            self._sink(f"{child.name} ended ({exit_text(code)})")
            if code:
                self._failure = self._reason(child, code)
            return
        child.failures = child.failures + 1 if lived < self._restart.quick else 1
        if child.failures >= self._restart.give_up and lived < self._restart.quick:
            self._failure = self._reason(child, code)
            return
        delay = min(self._restart.first_delay * 2 ** (child.failures - 1), self._restart.max_delay)
        child.restart_at = time.monotonic() + delay
        self._sink(f"{child.name} died after {lived:.1f} s ({exit_text(code)}); starting it again in {delay:.1f} s")

    @staticmethod
    def _reason(child: Child, code: int) -> str:
        times = f" {child.failures} times in a row" if child.failures > 1 else ""
        last = child.last_words()
        return f"{child.name} failed{times} ({exit_text(code)})" + (f": {last}" if last else "")


def node_command(process: NodeProcess) -> list[str]:
    """The module of a node under this Python, which works whether or not the package is installed."""
    return [sys.executable, "-m", f"{PACKAGE}.{process.executable}", *ros_arguments(process)]


def exit_text(code: int) -> str:
    """`exit code 3`, or the name of the signal that ended the process."""
    if code >= 0:
        return f"exit code {code}"
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
