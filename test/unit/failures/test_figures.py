"""Figures of the failure benchmark, on plays whose right answers are known."""

from typing import Any

import numpy as np
import pytest

from storm_core.evaluation.failures.figures import benchmark_figures, latencies
from storm_core.evaluation.failures.monitors import MONITORS, drive
from storm_core.evaluation.failures.recover import recovery_figures
from storm_core.metrics.ranking import auroc, fpr_at_tpr, roc
from storm_core.types import Reason, Verdict

N, FIRST, LAST = 40, 10, 19
WRONG = np.isin(np.arange(N), range(FIRST, LAST + 1))


def play(probability: np.ndarray, delay: int = 0, scene: int = 1) -> dict[str, Any]:
    """A jump that the monitor calls lost `delay` frames late."""
    lost = WRONG & (np.arange(N) >= FIRST + delay)
    return {
        "scene": scene, "object": "1", "cause": "jump", "first": FIRST, "last": LAST, "size": 0.5,
        "stamps_ns": [1_000_000_000 + k * 33_000_000 for k in range(N)], "error": np.where(WRONG, 0.6, 0.02).tolist(),
        "visible": [1.0] * N, "stale": [False] * N, "known": [True] * N, "probability": probability.tolist(),
        "verdict": ["lost" if x else "healthy" for x in lost], "reason": ["depth_disagrees"] * N,
        "single": probability.tolist(), "inlier": (1.0 - WRONG).tolist(), "innovation": [0.0] * N, "ms": [1.0] * N}


def test_a_perfect_and_a_blind_monitor() -> None:
    perfect = benchmark_figures([play(np.where(WRONG, 0.0, 1.0))], 0)["storm"]
    blind = benchmark_figures([play(np.full(N, 0.75))], 0)["storm"]
    assert perfect["auroc"] == 1.0 and perfect["fpr_at_tpr99"] == 0.0 and perfect["ece"] == 0.0
    assert perfect["coverage"] == 1.0 and perfect["trusted_wrong"] == 0.0 and perfect["false_alarms_per_10k"] == 0.0
    assert blind["auroc"] == 0.5 and blind["fpr_at_tpr99"] == 1.0 and abs(blind["ece"]) < 1e-9  # 30 of 40 are right


@pytest.mark.parametrize("delay", [0, 3])
def test_latency_counts_from_the_first_wrong_frame(delay: int) -> None:
    found = benchmark_figures([play(np.where(WRONG, 0.0, 1.0), delay)], 0)["storm"]
    assert found["latency_frames_p50"] == delay and found["missed"] == 0


def test_a_failure_that_is_never_noticed_is_missed_and_infinitely_late() -> None:
    found = benchmark_figures([play(np.where(WRONG, 0.0, 1.0), delay=N)], 0)["storm"]
    assert found["missed"] == 1 and found["latency_frames_p95"] == float("inf") and found["detected_5"] == 0.0


def test_short_recoveries_do_not_make_two_failures_of_one() -> None:
    bad = np.zeros(30, bool)
    bad[[5, 6, 8, 9, 25]] = True
    trusted = np.ones(30, bool)
    trusted[9] = False
    assert latencies(trusted, bad, np.ones(30, bool)) == [4.0, float("inf")]


def test_every_baseline_has_a_word_on_every_frame() -> None:
    figures = benchmark_figures([play(np.where(WRONG, 0.0, 1.0), scene=s) for s in (1, 2, 3)], 0)
    assert list(figures) == list(MONITORS)
    assert figures["depth_gate"]["auroc"] == 1.0  # here the depth tells
    assert figures["innovation"]["missed"] == 3 and figures["timer"]["auroc"] == 0.5
    assert figures["storm"]["ci95"]["auroc"] == [1.0, 1.0]
    for f in figures.values():
        assert f["frames"] == 3 * N and f["failures"] == 3 and list(f["causes"]) == ["jump"]


def test_unknown_and_hidden_frames_are_neither_false_alarms_nor_failures_to_trust() -> None:
    one = play(np.where(WRONG, 0.0, 1.0))
    one["known"] = (~WRONG).tolist()
    found = benchmark_figures([one], 0)["storm"]
    assert found["failures"] == 0 and found["healthy_frames"] == N - WRONG.sum()
    assert found["false_reregistrations"] == 0 and np.isnan(found["auroc"])


def test_the_machine_gives_up_after_its_patience_and_not_before() -> None:
    stamps = [1_000_000_000 + k * 33_000_000 for k in range(N)]
    short = [Verdict.LOST if k in (10, 11) else Verdict.HEALTHY for k in range(N)]
    long = [Verdict.LOST if 10 <= k < 25 else Verdict.HEALTHY for k in range(N)]
    hidden = [Verdict.OCCLUDED if 10 <= k < 25 else Verdict.HEALTHY for k in range(N)]
    reasons = [Reason.DEPTH_DISAGREES] * N
    assert not drive(short, reasons, stamps)[0].any()
    assert np.flatnonzero(drive(long, reasons, stamps)[0]).tolist() == [18]  # 0.25 s later, once
    assert not drive(hidden, reasons, stamps)[0].any()  # occlusion is waited for


def test_ranking_laws() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.random(300), rng.random(300) < 0.3
    assert auroc(scores, positive) == pytest.approx(1.0 - auroc(-scores, positive))
    assert auroc(np.exp(5 * scores), positive) == auroc(scores, positive)
    fpr, tpr = roc(scores, positive, points=10_000)
    assert np.trapezoid(tpr, fpr) == pytest.approx(auroc(scores, positive))
    k = np.searchsorted(tpr, 0.99)
    assert fpr_at_tpr(scores, positive, 0.99) == pytest.approx(fpr[k])
    assert np.isnan(auroc(scores, np.ones(300, bool))) and np.isnan(fpr_at_tpr(scores, np.zeros(300, bool), 0.99))


def test_recovery_counts_plays_that_were_right_before_the_fault() -> None:
    plays = [{"cause": "jump", "started": True, "time_s": 0.2, "wrong": False, "compute_s": 0.1},
             {"cause": "jump", "started": True, "time_s": float("inf"), "wrong": True, "compute_s": 0.4},
             {"cause": "jump", "started": False, "time_s": 0.0, "wrong": False, "compute_s": 0.1}]
    found = recovery_figures(plays)
    assert (found["plays"], found["not_started"], found["recovered"], found["missed"]) == (2, 1, 1, 1)
    assert found["wrong_object"] == 1 and found["time_s_p50"] == 0.2 and found["time_s_p95"] == float("inf")
