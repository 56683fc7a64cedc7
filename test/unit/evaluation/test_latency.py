"""Latencies, drops and missed deadlines of a run."""

import numpy as np
import pytest

from storm_core.metrics.latency import frame_latencies, latency_figures

STAMPS = [k * 50_000_000 for k in range(5)]
ALL = np.ones(5, bool)


def test_lock_step_is_measured_by_its_total() -> None:
    f = latency_figures([{"total": ms, "track": 1.0} for ms in (10.0, 20.0, 60.0, 120.0, 30.0)], STAMPS, ALL)
    assert (f["clock"], f["n"], f["drops"], f["period_ms"]) == ("total", 5, 0, 50.0)
    assert (f["p50"], f["p95"], f["max"]) == (30.0, 120.0, 120.0)
    assert f["deadline_misses"] == pytest.approx(0.4) and f["over_100ms"] == pytest.approx(0.2)


def test_real_time_is_measured_to_the_published_pose_and_counts_drops() -> None:
    frames: list[dict[str, float]] = [{"end_to_end": 40.0, "total": 9.0}, {}, {"end_to_end": 45.0}, {},
                                      {"end_to_end": 70.0}]
    f = latency_figures(frames, STAMPS, np.array([True, False, True, False, True]))
    assert (f["clock"], f["n"], f["drops"], f["p50"]) == ("end_to_end", 3, 2, 45.0)
    assert f["deadline_misses"] == pytest.approx(1 / 3)
    fast = latency_figures(frames, STAMPS, ALL, period_ms=42.0)
    assert fast["deadline_misses"] == pytest.approx(2 / 3) and fast["period_ms"] == 42.0, "played faster than recorded"


def test_what_was_not_measured_is_no_number() -> None:
    f = latency_figures([{}, {}], STAMPS[:2], np.ones(2, bool))
    assert f["clock"] is None and f["n"] == 0
    assert all(np.isnan(f[key]) for key in ("p50", "max", "deadline_misses", "over_100ms"))
    one = latency_figures([{"total": 5.0}], [0], np.ones(1, bool))
    assert np.isnan(one["deadline_misses"]) and one["p50"] == 5.0, "one frame has no period"
    assert np.isnan(frame_latencies([{"track": 1.0}])[1]).all()
