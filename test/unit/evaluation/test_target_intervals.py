"""Confidence intervals over single pictures."""

import numpy as np
import pytest

from storm_core.report.pose_table import JudgedTargets, object_figures
from storm_core.report.target_intervals import target_intervals

DIAMETER = 0.2


def judged(errors: np.ndarray, images: np.ndarray) -> JudgedTargets:
    return JudgedTargets(places=tuple((1, int(k)) for k in images), score=np.ones(len(errors)), add_m=errors,
                         adds_m=errors / 2, mssd_m=errors, mspd_px=errors, proj_px=errors, vsd=errors)


def test_every_interval_holds_its_figure() -> None:
    rng = np.random.default_rng(0)
    targets = judged(np.where(rng.random(80) < 0.1, np.inf, rng.exponential(0.015, 80)), np.repeat(range(40), 2))
    figures, intervals = object_figures(targets, DIAMETER), target_intervals(targets, DIAMETER, seed=0)
    assert set(intervals) == {"add_auc", "adds_auc", "add_auc_01d", "adds_auc_01d", "ar_storm", "add_01d", "adds_01d",
                              "mssd_01d"}
    for name, (low, high) in intervals.items():
        assert low < figures[name] < high
        assert high - low < 0.5
    assert target_intervals(targets, DIAMETER, seed=0) == intervals


def test_targets_of_one_image_are_no_independent_evidence() -> None:
    right = np.random.default_rng(1).random(30) < 0.6
    alone = judged(np.where(right, 0.001, 0.1), np.arange(30))
    tenfold = judged(np.repeat(np.where(right, 0.001, 0.1), 10), np.repeat(np.arange(30), 10))
    assert target_intervals(tenfold, DIAMETER, 0)["mssd_01d"] == pytest.approx(
        target_intervals(alone, DIAMETER, 0)["mssd_01d"])


def test_few_images_promise_little() -> None:
    assert target_intervals(judged(np.full(3, 0.001), np.zeros(3)), DIAMETER, 0) == {}
    low, high = target_intervals(judged(np.full(4, 0.001), np.arange(4)), DIAMETER, 0)["mssd_01d"]
    assert high == 1.0 and low < 0.6, "four right ones do not show that all are"
    low, high = target_intervals(judged(np.full(4, np.inf), np.arange(4)), DIAMETER, 0)["mssd_01d"]
    assert low == 0.0 and high > 0.4


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for k in range(200):
        right = rng.random(100) < 0.7
        low, high = target_intervals(judged(np.where(right, 0.001, 0.1), np.arange(100)), DIAMETER, k)["mssd_01d"]
        hits += low <= 0.7 <= high
    assert 0.85 <= hits / 200 <= 0.99
