"""What a node knows about itself, on /diagnostics once per second: rates, latencies, drops, what is missing."""

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from storm_ros import names, qos, records

PERIOD = 1.0
"""Time between two reports [s]."""

_SAMPLES = 300


class NodeDiagnostics:
    """Collects from all threads of a node; `problems` is asked at every report and answers with texts."""

    def __init__(self, node: Node, problems: Callable[[], list[str]]) -> None:
        self._node, self._problems = node, problems
        self._lock = threading.Lock()
        self._events: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()
        self._ms: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_SAMPLES))
        self._errors: list[str] = []
        self._gauges: dict[str, Callable[[], int]] = {}
        self._reported = time.monotonic()
        self._publisher = node.create_publisher(DiagnosticArray, names.DIAGNOSTICS, qos.results())
        # Not ROS time: a report that the clock stands still must not depend on that clock.
        self._timer = node.create_timer(PERIOD, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def event(self, name: str, count: int = 1) -> None:
        """Something that has a rate, e.g. a frame."""
        with self._lock:
            self._events[name] += count

    def drop(self, name: str, count: int = 1) -> None:
        """Something that was not done, counted since the start."""
        with self._lock:
            self._totals[name] += count

    def gauge(self, name: str, read: Callable[[], int]) -> None:
        """A count that somebody else keeps; read at every report."""
        with self._lock:
            self._gauges[name] = read

    def latency(self, stage: str, ms: float) -> None:
        with self._lock:
            self._ms[stage].append(ms)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure a block as one run of a stage."""
        start = time.perf_counter()
        yield
        self.latency(stage, (time.perf_counter() - start) * 1e3)

    def error(self, text: str) -> None:
        """A frame that could not be handled; shown in the next report."""
        with self._lock:
            self._totals["errors"] += 1
            if text not in self._errors[-3:]:
                self._errors.append(text)

    def values(self) -> dict[str, object]:
        """Numbers since the last call: <event>_hz, <drop>, <stage>_ms_p50 / p95 / p99."""
        with self._lock:
            now = time.monotonic()
            elapsed, self._reported = max(now - self._reported, 1e-3), now
            out: dict[str, object] = {f"{name}_hz": count / elapsed for name, count in sorted(self._events.items())}
            for name in self._events:
                self._events[name] = 0
            out |= dict(sorted(self._totals.items())) | {name: read() for name, read in self._gauges.items()}
            for stage, samples in sorted(self._ms.items()):
                for q in (50, 95, 99):
                    out[f"{stage}_ms_p{q}"] = float(np.percentile(samples, q))
            return out

    def _report(self) -> None:
        values = self.values()
        with self._lock:
            errors, self._errors = self._errors, []
        missing = self._problems()
        level, message = DiagnosticStatus.OK, "ok"
        if missing:
            level, message = DiagnosticStatus.WARN, "; ".join(missing)
        if errors:
            level, message = DiagnosticStatus.ERROR, "; ".join(errors + missing)
        entry = records.status(self._node.get_fully_qualified_name(), message, values, level)
        entry.hardware_id = "storm"
        report = DiagnosticArray(status=[entry])
        report.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(report)

    def destroy(self) -> None:
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)
