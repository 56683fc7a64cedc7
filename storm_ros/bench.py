"""What the running graph achieves on this machine: latency, lost frames, processor time, start-up, recovery."""

import contextlib
import itertools
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.node import Node
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from storm_core.config import StormConfig
from storm_core.config_io import to_yaml
from storm_core.errors import SetupError
from storm_core.geometry.pose import from_rotation_translation
from storm_core.recovery.machine import State
from storm_ros import names, qos, records
from storm_ros.conversions import rotation_of, stamp_ns
from storm_ros.dds import prepare_environment
from storm_ros.graph import GraphOptions, graph_processes
from storm_ros.playback import FramePublisher, Pacer, Shot
from storm_ros.session import private_domain, spinning_node
from storm_ros.up import Graph, Sink

SETTLE = 2.0
"""Time between the first trusted poses and the measurement, and after its last frame [s]."""


@dataclass(eq=False)
class Heard:
    """Everything that arrived, by image stamp [ns].

    Attributes:
      tf_prefix: before the objects' names in tf.
      pose_at_ns: when the primary object's pose arrived first (time.time_ns).
      trusted: (stamp, object) -> cam_from_obj (4, 4).
      status: object -> (stamp of the message, values), in the order of arrival.
      diagnostics: newest values by node.
    """

    tf_prefix: str = ""
    pose_at_ns: dict[int, int] = field(default_factory=dict)
    trusted: dict[tuple[int, str], NDArray[np.float64]] = field(default_factory=dict)
    status: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    diagnostics: dict[str, dict[str, str]] = field(default_factory=dict)

    def listen(self, node: Node) -> None:
        """Subscribe with nothing but standard messages, as a user's program would."""
        node.create_subscription(PoseStamped, names.OBJECT_POSE, self._on_pose, qos.requests())
        node.create_subscription(TFMessage, names.TF, self._on_tf, qos.requests())
        node.create_subscription(DiagnosticArray, names.STATUS, self._on_status, qos.history())
        node.create_subscription(DiagnosticArray, names.DIAGNOSTICS, self._on_diagnostics, qos.requests())

    def state(self, name: str) -> str:
        entries = self.status.get(name)
        return entries[-1][1]["state"] if entries else ""

    def _on_pose(self, message: PoseStamped) -> None:
        self.pose_at_ns.setdefault(stamp_ns(message.header.stamp), time.time_ns())

    def _on_tf(self, message: TFMessage) -> None:
        for item in message.transforms:
            t = item.transform.translation
            name = item.child_frame_id.removeprefix(self.tf_prefix)
            self.trusted[stamp_ns(item.header.stamp), name] = from_rotation_translation(
                rotation_of(item.transform.rotation), [t.x, t.y, t.z])

    def _on_status(self, message: DiagnosticArray) -> None:
        for entry in message.status:
            self.status.setdefault(entry.name, []).append((stamp_ns(message.header.stamp), records.values_of(entry)))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for entry in message.status:
            self.diagnostics[entry.name.lstrip("/")] = records.values_of(entry)


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """One run.

    Attributes:
      startup_s: start of the processes -> first trusted pose of every object, frames coming all the time [s].
      stamps_ns: of the measured frames, in order.
      wall_s: time they took. cpu_s: processor time of each process meanwhile, by name.
      memory_mb: resident memory of each process at the end.
      late_ms: how much later than planned a frame was sent at worst: the bench itself was held up.
    """

    startup_s: float
    stamps_ns: Sequence[int]
    wall_s: float
    cpu_s: Mapping[str, float]
    memory_mb: Mapping[str, float]
    late_ms: float
    heard: Heard


def measure(shots: Mapping[tuple[str, int], Shot], waiting: Iterator[tuple[str, int]],
            frames: Iterator[tuple[str, int]], object_names: Sequence[str], config: StormConfig, *,
            rate_hz: float, composed: bool, viz: bool, resets: frozenset[int] = frozenset(), patience: float = 60.0,
            sink: Sink | None = None) -> Measured:
    """Run the graph in processes of its own on frames that come at `rate_hz`, and watch it.

    Args:
      shots: serialised frames by their key. waiting: keys of what is shown until all objects are tracked, for ever.
      frames: keys of what is measured then; begins where `waiting` does.
      resets: numbers of the measured frames at which a user resets the first object.
      patience: time until all objects must be tracked [s].

    Raises:
      SetupError: a node failed, or the objects were not tracked in time.
    """
    domain = private_domain()
    prepare_environment()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="storm_bench_")))
        parameters = folder / "storm.yaml"
        parameters.write_text(to_yaml(config))
        processes = graph_processes(GraphOptions(config=str(parameters), viz=viz, composed=composed))
        node = stack.enter_context(spinning_node(domain))
        heard, publisher = Heard(tf_prefix=config.tf_prefix), FramePublisher(node)
        heard.listen(node)
        reset = node.create_client(Trigger, f"supervisor_node/{names.token(object_names[0])}/reset")
        graph = Graph(processes, env=dict(os.environ) | {"ROS_DOMAIN_ID": str(domain)}, sink=sink)
        started = time.monotonic()
        handle = stack.enter_context(graph.running())
        pacer = Pacer()
        ready = startup = None
        shown = 0
        first = next(waiting)
        for key in itertools.chain([first], waiting):
            # What is measured begins with the same frame: nothing jumps between the two.
            if ready is not None and time.monotonic() - ready > SETTLE and key == first:
                break
            handle.check()
            pacer.wait(shown / rate_hz)
            publisher.publish(shots[key], time.time_ns())
            shown += 1
            now = time.monotonic()
            if ready is None and all(heard.state(name) == State.TRACKING.value for name in object_names):
                ready, startup = now, now - started
            if ready is None and now - started > patience:
                lacking = [name for name in object_names if heard.state(name) != State.TRACKING.value]
                raise SetupError(f"not tracked after {patience:.0f} s: {', '.join(lacking)}")
        before, begun = cpu_seconds(handle.pids()), time.monotonic()
        stamps, late = [], 0.0
        for number, key in enumerate(frames):
            late = max(late, pacer.wait((shown + number) / rate_hz))
            stamps.append(time.time_ns())
            publisher.publish(shots[key], stamps[-1])
            if number in resets:
                reset.call_async(Trigger.Request())
            if number % 30 == 0:
                handle.check()
        wall, after = time.monotonic() - begun, cpu_seconds(handle.pids())
        memory = {name: resident_mb(pid) for name, pid in handle.pids().items()}
        time.sleep(SETTLE)
        assert startup is not None
        return Measured(startup_s=startup, stamps_ns=stamps, wall_s=wall, memory_mb=memory, late_ms=late * 1e3,
                        cpu_s={name: after[name] - before.get(name, 0.0) for name in after}, heard=heard)


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """Processor time that each process has used so far [s]; a process that is gone is left out."""
    out = {}
    for name, pid in pids.items():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            out[name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return out


def resident_mb(pid: int) -> float:
    """Memory that a process holds [MB]; nan when it is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return float("nan")
