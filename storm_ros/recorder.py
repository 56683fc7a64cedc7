"""What the graph published, collected frame by frame in the form of the offline pipeline's outputs."""

import bisect
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from storm_core.recovery.machine import State
from storm_core.types import Evidence, Judgement, ObjectOutput, Reason, StepOutput, Transition
from storm_ros import names, qos, records
from storm_ros.conversions import stamp_ns
from storm_ros.detections import read_detections


class Recorder:
    """Subscribes to the outputs. Everything is keyed by image stamp; `outputs` maps it back to frames."""

    def __init__(self, node: Node, object_names: Sequence[str], tf_prefix: str = "") -> None:
        """tf_prefix: before the objects' names in tf."""
        self._names, self._tf_prefix = tuple(object_names), tf_prefix
        self._lock = threading.Lock()
        self._poses: dict[int, dict[str, ObjectOutput]] = {}
        self._trusted: set[tuple[int, str]] = set()
        self._judgements: dict[tuple[int, str], Judgement] = {}
        self._arrived_ns: dict[int, int] = {}
        self._changes: dict[str, list[Transition]] = {name: [] for name in self._names}
        self._states: dict[str, str] = {}
        self._diagnostics: dict[str, dict[str, str]] = {}
        node.create_subscription(Detection3DArray, names.DETECTIONS, self._on_detections, qos.requests())
        node.create_subscription(TFMessage, names.TF, self._on_tf, qos.requests())
        node.create_subscription(DiagnosticArray, names.STATUS, self._on_status, qos.history())
        node.create_subscription(DiagnosticArray, names.JUDGEMENTS, self._on_judgements, qos.requests())
        node.create_subscription(DiagnosticArray, names.DIAGNOSTICS, self._on_diagnostics, qos.requests())

    def states(self) -> dict[str, str]:
        """Newest known state of every object that has been heard of."""
        with self._lock:
            return dict(self._states)

    def diagnostics(self) -> dict[str, dict[str, str]]:
        """Newest diagnostic values by node."""
        with self._lock:
            return {node: dict(values) for node, values in self._diagnostics.items()}

    def _on_detections(self, message: Detection3DArray) -> None:
        now, stamp = time.time_ns(), stamp_ns(message.header.stamp)
        with self._lock:
            self._arrived_ns[stamp] = now
            self._poses[stamp] = {output.object_name: output for output in read_detections(message)}

    def _on_tf(self, message: TFMessage) -> None:
        with self._lock:
            self._trusted.update((stamp_ns(t.header.stamp), t.child_frame_id.removeprefix(self._tf_prefix))
                                 for t in message.transforms)

    def _on_judgements(self, message: DiagnosticArray) -> None:
        with self._lock:
            for item in records.read_judgements(message):
                self._judgements[item.judgement.stamp_ns, item.judgement.object_name] = item.judgement

    def _on_status(self, message: DiagnosticArray) -> None:
        stamp = stamp_ns(message.header.stamp)
        with self._lock:
            for entry in message.status:
                values = records.values_of(entry)
                before, after = self._states.get(entry.name, State.SEARCHING.value), values["state"]
                if before != after and entry.name in self._changes:
                    self._changes[entry.name].append(Transition(
                        object_name=entry.name, stamp_ns=stamp, before=before, after=after,
                        reason=Reason(values["reason"])))
                self._states[entry.name] = after

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        with self._lock:
            for entry in message.status:
                self._diagnostics[entry.name.lstrip("/")] = records.values_of(entry)

    def outputs(self, stamps_ns: Sequence[int], recorded_ns: Sequence[int]) -> list[StepOutput]:
        """One StepOutput per frame.

        Args:
          stamps_ns: under which the frames were published, increasing.
          recorded_ns: their stamps in the recording, which the outputs get back.

        Returns:
          In the order of the frames. stage_ms holds `end_to_end`: image stamp -> poses received, where there were any.
        """
        with self._lock:
            steps = []
            for k, stamp in enumerate(stamps_ns):
                until = stamps_ns[k + 1] if k + 1 < len(stamps_ns) else stamp + 10**9
                changes = [replace(c, stamp_ns=recorded_ns[k]) for name in self._names for c in self._changes[name]
                           if stamp <= c.stamp_ns < until]
                late = self._arrived_ns.get(stamp)
                steps.append(StepOutput(
                    stamp_ns=recorded_ns[k],
                    objects=tuple(self._object(name, stamp, recorded_ns[k]) for name in self._names),
                    transitions=tuple(changes),
                    stage_ms={} if late is None else {"end_to_end": (late - stamp) * 1e-6}))
            return steps

    def _object(self, name: str, stamp: int, recorded_ns: int) -> ObjectOutput:
        judgement = self._judgements.get((stamp, name))
        state, reason = self._state_at(name, stamp)
        pose = self._poses.get(stamp, {}).get(name)
        trusted = pose is not None and (stamp, name) in self._trusted
        return ObjectOutput(
            object_name=name, stamp_ns=recorded_ns, state=state, reason=reason,
            cam_from_obj=pose.cam_from_obj if pose else None, covariance=pose.covariance if pose else None,
            probability=pose.probability if pose else judgement.probability if judgement else 0.0,
            trusted=trusted, coasting=pose is not None and not trusted,
            evidence=judgement.evidence if judgement else Evidence())

    def _state_at(self, name: str, stamp: int) -> tuple[str, Reason]:
        changes = self._changes[name]
        k = bisect.bisect_right(changes, stamp, key=lambda change: change.stamp_ns)
        return (changes[k - 1].after, changes[k - 1].reason) if k else (State.SEARCHING.value, Reason.STARTED)
