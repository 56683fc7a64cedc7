"""A recording through the real nodes: start the graph, play the frames as a camera would, collect what comes out."""

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import rclpy
from lifecycle_msgs.msg import State as LifecycleState
from lifecycle_msgs.srv import GetState
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from storm_core.config import StormConfig
from storm_core.config_io import to_yaml
from storm_core.errors import SetupError
from storm_core.recovery.machine import State
from storm_core.types import Frame, StepOutput
from storm_ros.dds import prepare_environment
from storm_ros.graph import GraphOptions, graph_processes
from storm_ros.playback import FramePublisher, Pacer, Shot, ahead, to_and_fro
from storm_ros.recorder import Recorder
from storm_ros.up import Graph, RunningGraph, Sink

WAITING_FRAMES = 8
"""First frames shown to and fro before the recording starts."""

TAIL = 1.0
"""Time after the last frame in which its results may still arrive [s]."""


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """How a recording is played.

    Attributes:
      rate_hz: frames per second.
      preroll: longest time [s] for which the first frames are shown to and fro until every object is tracked, like a
        camera that was running before the recording began; 0 = the recording starts at once.
      start_timeout: time the nodes may take to become active [s]; the very first start compiles kernels.
      viz: start viz_node too.
      composed: all nodes in one process.
    """

    rate_hz: float = 30.0
    preroll: float = 20.0
    start_timeout: float = 180.0
    viz: bool = False
    composed: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class SessionResult:
    """What the graph did with a recording.

    Attributes:
      outputs: one per frame, in order, under the recording's own stamps; stage_ms["end_to_end"] as far as published.
      preroll_s: time spent before the first frame of the recording [s].
      diagnostics: last values on /diagnostics by node name, e.g. diagnostics["tom_node"]["monitor_ms_p50"].
      late_ms: how much later than planned the frames were sent, worst case [ms]; large = the machine is overloaded.
    """

    outputs: list[StepOutput]
    preroll_s: float
    diagnostics: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    late_ms: float = 0.0


def play_through_graph(frames: Iterable[Frame], object_names: Iterable[str], config: StormConfig,
                       options: SessionOptions = SessionOptions(), *,
                       progress: Callable[[int], object] = lambda n: None,
                       sink: Sink | None = None) -> SessionResult:
    """Play frames through the nodes in real time; every process has ended when this returns or raises.

    Args:
      frames: in the order of their stamps; read ahead in a thread while the nodes start.
      object_names: as they appear in outputs (names of the loaded models).
      config: for all nodes.
      options: how to play.
      progress: called with the number of frames played so far.
      sink: receives what the nodes print, line by line.

    Raises:
      SetupError: a node does not become active or cannot be kept alive; says which.
    """
    domain = private_domain()
    prepare_environment()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="storm_session_")))
        parameters = folder / "storm.yaml"
        parameters.write_text(to_yaml(config))
        stop = threading.Event()
        stack.callback(stop.set)
        shots = ahead(frames, stop)
        processes = graph_processes(GraphOptions(
            config=str(parameters), viz=options.viz, composed=options.composed))
        graph = Graph(processes, env=dict(os.environ) | {"ROS_DOMAIN_ID": str(domain)}, sink=sink)
        handle = stack.enter_context(graph.running())
        node = stack.enter_context(spinning_node(domain))
        session = _Session(node, handle, tuple(object_names), options, config.tf_prefix)
        session.await_nodes([name for process in processes for name in process.nodes])
        return session.play(shots, progress)


def private_domain() -> int:
    """A domain of this process's own: a recording must not meet a robot, nor another session on this machine."""
    return int(os.environ.get("ROS_DOMAIN_ID", 10 + os.getpid() % 90))


@contextlib.contextmanager
def spinning_node(domain: int) -> Iterator[Node]:
    """A node in a context of its own, spun by a thread; signals stay with the caller."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("storm_session", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=spin, name="session-spin", daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown(timeout_sec=2.0)
        thread.join(2.0)
        node.destroy_node()
        rclpy.try_shutdown(context=context)


class _Session:
    """One recording on its way through a running graph."""

    def __init__(self, node: Node, handle: RunningGraph, object_names: tuple[str, ...],
                 options: SessionOptions, tf_prefix: str) -> None:
        self._node, self._handle, self._names, self._options = node, handle, object_names, options
        self._publisher = FramePublisher(node)
        self._recorder = Recorder(node, object_names, tf_prefix)

    def await_nodes(self, nodes: list[str]) -> None:
        """Block until every node is active and subscribed to the camera."""
        clients = {name: self._node.create_client(GetState, f"{name}/get_state") for name in nodes}
        waiting, deadline = set(nodes), time.monotonic() + self._options.start_timeout
        while waiting:
            self._handle.check()
            if time.monotonic() > deadline:
                raise SetupError(f"not active after {self._options.start_timeout:.0f} s: {', '.join(sorted(waiting))}; "
                                 "their output says why")
            waiting -= {name for name in waiting if self._is_active(clients[name])}
        for client in clients.values():
            self._node.destroy_client(client)
        # score_node does not listen when it is disabled; two seconds are plenty for discovery on one machine.
        listeners, deadline = len(nodes) - 1, time.monotonic() + 2.0
        while self._publisher.matched() < listeners and time.monotonic() < deadline:
            time.sleep(0.05)

    @staticmethod
    def _is_active(client: "rclpy.client.Client") -> bool:
        if not client.wait_for_service(timeout_sec=0.1):
            return False
        answered = threading.Event()
        future = client.call_async(GetState.Request())
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(0.5):
            client.remove_pending_request(future)
            return False
        return future.result().current_state.id == LifecycleState.PRIMARY_STATE_ACTIVE

    def play(self, shots: Iterator[tuple[int, Shot]], progress: Callable[[int], object]) -> SessionResult:
        """Pre-roll, then every frame once at the given rate."""
        first = list(islice(shots, WAITING_FRAMES))
        began = time.monotonic()
        pacer = Pacer()
        due = self._preroll([shot for _, shot in first], pacer)
        preroll_s = time.monotonic() - began if due else 0.0
        stamps, recorded, late = [], [], 0.0
        period = 1.0 / self._options.rate_hz
        for k, (recorded_ns, shot) in enumerate(chain(first, shots)):
            late = max(late, pacer.wait((due + k) * period))
            stamps.append(time.time_ns())
            recorded.append(recorded_ns)
            self._publisher.publish(shot, stamps[-1])
            progress(k + 1)
            self._handle.check()
        time.sleep(TAIL)
        return SessionResult(outputs=self._recorder.outputs(stamps, recorded), preroll_s=preroll_s,
                             diagnostics=self._recorder.diagnostics(), late_ms=late * 1e3)

    def _preroll(self, shots: list[Shot], pacer: Pacer) -> int:
        """Show the first frames until all objects are tracked; returns the number of frames shown."""
        if self._options.preroll <= 0 or not shots:
            return 0
        deadline = time.monotonic() + self._options.preroll
        for n, (index, shot) in enumerate(to_and_fro(shots)):
            states = self._recorder.states()
            tracked = all(states.get(name) == State.TRACKING.value for name in self._names)
            # The recording follows without a jump: its first frame is due now.
            if n > 0 and index == 0 and (tracked or time.monotonic() > deadline):
                return n
            pacer.wait(n / self._options.rate_hz)
            self._publisher.publish(shot, time.time_ns())
            self._handle.check()
        return 0
