"""From the stamp of an image to its pose: how long, and how often too late."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.metrics.scores import quantiles

LATE_MS = 100.0
"""Age from which a pose is too late for most uses whatever the frame rate [ms]."""
CLOCKS = ("end_to_end", "total")
"""Stage names that say how long a frame took, the first that was measured counts."""


def frame_latencies(stage_ms: Sequence[Mapping[str, float]]) -> tuple[str, NDArray[np.float64]]:
    """(what was measured, latency of each frame (N,) [ms], nan where none was).

    `end_to_end` is image stamp to published pose (real time); `total` the processing time of a frame (lock-step).
    """
    for clock in CLOCKS:
        if any(clock in frame for frame in stage_ms):
            return clock, np.array([frame.get(clock, np.nan) for frame in stage_ms], float)
    return "", np.full(len(stage_ms), np.nan)


def latency_figures(stage_ms: Sequence[Mapping[str, float]], stamps_ns: Sequence[int],
                    answered: NDArray[np.bool_], period_ms: float | None = None) -> dict[str, Any]:
    """Latency figures of a run; nan where nothing was measured.

    p50, p95, p99, max [ms] over answered frames; `clock`: what was measured, see `frame_latencies`; `drops`: frames
    without an answer; `deadline_misses`: share of the answered frames that took longer than the frame period
    `period_ms`; `over_100ms`: share that took more than 100 ms.

    Args:
      period_ms: time between frames as they were played [ms]; None = the median distance of stamps.
    """
    clock, ms = frame_latencies(stage_ms)
    known = ms[np.isfinite(ms) & answered]
    period = float("nan") if period_ms is None else period_ms
    if period_ms is None and len(stamps_ns) > 1:
        period = float(np.median(np.diff(np.asarray(stamps_ns, np.int64)))) * 1e-6
    measured = len(known) > 0
    return {"clock": clock or None, **quantiles(known, p50=0.5, p95=0.95, p99=0.99),
            "max": float(known.max()) if measured else float("nan"), "n": len(known),
            "drops": int((~answered).sum()), "period_ms": period,
            "deadline_misses": float((known > period).mean()) if measured and period > 0 else float("nan"),
            "over_100ms": float((known > LATE_MS).mean()) if measured else float("nan")}
