"""Losses, calibration, covariance, jumps and flips: laws and cases counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, kstest

from storm_core.geometry.pose import se3_exp
from storm_core.metrics.calibration import calibration, precision_recall
from storm_core.metrics.covariance import LEVEL_95, ellipsoid_level, nees
from storm_core.metrics.loss_detection import Loss, carried, false_reregistrations, losses, withdrawals
from storm_core.metrics.motion import flips
from storm_core.types import Reason, StepOutput, Transition
from test.unit.evaluation.runs import BOX, HALF_TURN, assessed, noisy, path, published, truth_of

N = 40
PATH = path(N)
ALL = np.ones(8, bool)


def flags(text: str) -> np.ndarray:
    return np.array([c == "1" for c in text])


def found(trusted: str, held: str, bad: str) -> list[tuple[int, int | None]]:
    return [(e.at, e.detected_at) for e in losses(flags(trusted), flags(held), flags(bad), ALL)]


def test_losses_by_hand() -> None:
    assert found("11111111", "11111111", "00000000") == []
    assert found("11110000", "11110000", "00110000") == [(2, 4)], "noticed two frames late"
    assert found("11000000", "11000000", "00111111") == [(2, 2)], "given up as it was hidden: at once"
    assert found("11000000", "11110000", "00001111") == [(4, 4)], "given up before, coasting until it went wrong"
    assert found("11000000", "11000000", "00001111") == [], "not held any more: nothing to lose"
    assert found("11111111", "11111111", "00011000") == [(3, None)], "healed by itself, never noticed"
    assert found("11111111", "11111111", "00001111") == [(4, None)]
    assert found("11001111", "11001111", "00111100") == [(2, 2), (4, None)], "trust in a hidden object is a new loss"


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_laws_of_losses(frames: list[tuple[bool, bool, bool, bool]]) -> None:
    trusted, coasting, bad, known = (np.array(c, bool) for c in zip(*frames, strict=True))
    held = trusted | coasting
    events = losses(trusted, held, bad, known)
    assert all(bad[e.at] and known[e.at] for e in events)
    assert all(e.detected_at is None or (e.detected_at >= e.at and not trusted[e.detected_at]) for e in events)
    assert not any(e == Loss(at=e.at, detected_at=None) for e in losses(np.zeros_like(trusted), held, bad, known))
    assert losses(trusted, held, np.zeros_like(bad), known) == [] == losses(trusted, held, bad, np.zeros_like(known))


def test_withdrawals_by_hand() -> None:
    def verdicts(trusted: str, bad: str, commanded: str = "00000000", known: str = "11111111") -> list[bool]:
        return withdrawals(flags(trusted), flags(bad), flags(known), flags(commanded))

    assert verdicts("11101111", "00000000") == [False]
    assert verdicts("11100000", "00000110") == [True], "the object vanished before trust returned: an early warning"
    assert verdicts("11101111", "00000110") == [False], "trust was back when it vanished"
    assert verdicts("11100011", "00110000") == [True]
    assert verdicts("11100011", "00110000", commanded="00010000") == [] == verdicts("11100011", "00110000",
                                                                                   known="00000000")


def test_a_dropped_frame_takes_no_trust_away() -> None:
    assert carried(flags("01001"), flags("01101")).tolist() == [False, True, False, False, True]
    assert carried(flags("01000"), flags("11001")).tolist() == [False, True, True, True, False]
    outputs = published(list(noisy(PATH)))
    outputs[5] = StepOutput(stamp_ns=outputs[5].stamp_ns, objects=(), transitions=(), stage_ms={})
    outputs[9] = published([None] * N)[9]  # the nodes say TRACKING, but no pose of this frame came
    loss = assessed(outputs, truth_of(PATH)).figures["loss"]
    assert loss["withdrawals"] == loss["events"] == 0


def test_loss_figures_of_a_run() -> None:
    poses: list[np.ndarray | None] = list(noisy(PATH))
    for k in range(10, 14):
        poses[k] = se3_exp([0.05, 0, 0, 0, 0, 0]) @ PATH[k]  # wrong from frame 10 on, noticed in frame 13
    trusted = [k not in (13, 14, 30) for k in range(N)]  # and a false alarm in frame 30
    loss = assessed(published(poses, trusted=trusted), truth_of(PATH)).figures["loss"]
    assert (loss["events"], loss["detected"], loss["recall"]) == (1, 1, 1.0)
    assert loss["precision"] == 0.5 and loss["latency_frames_p50"] == 3
    assert loss["latency_s_p95"] == pytest.approx(0.3)
    never = assessed(published(poses), truth_of(PATH)).figures["loss"]
    assert never["recall"] == 0.0 and np.isnan(never["precision"]) and np.isnan(never["latency_frames_p50"])


def test_registering_again_what_was_right_is_counted() -> None:
    def change(before: str, after: str) -> Transition:
        return Transition(object_name="box", stamp_ns=0, before=before, after=after, reason=Reason.FOUND)

    again = {0: (change("REGISTERING", "VERIFYING"),), 20: (change("REGISTERING", "VERIFYING"),)}
    poses = [None if 15 <= k < 20 else p for k, p in enumerate(noisy(PATH))]
    assert assessed(published(poses, transitions=again), truth_of(PATH)).figures["false_reregistrations"] == 1
    hidden = [0.0 if 16 <= k < 18 else 1.0 for k in range(N)]
    assert assessed(published(poses, transitions=again), truth_of(PATH, hidden)).figures["false_reregistrations"] == 0
    other = assessed(published(poses, state="POSE"), truth_of(PATH))
    assert other.figures["false_reregistrations"] is None, "a foreign system does not say when it registers"
    assert false_reregistrations(flags("0010"), flags("1100"), flags("1000"), flags("0000")) == 0, "it was wrong"

    def again_after(right: str) -> int:
        n = len(right)
        return false_reregistrations(flags("0" * (n - 1) + "1"), flags("1" * n), flags(right), flags("0" * n))

    assert again_after("1101111") == 0, "it answers a failure of a few frames ago"
    assert again_after("10111111") == 1, "that failure was over"


def test_a_perfect_run_is_perfect() -> None:
    chances = np.linspace(0.8, 0.99, N)
    f = assessed(published(list(PATH), probability=chances, covariance=np.eye(6)), truth_of(PATH)).figures
    assert f["add_auc"] == f["add_01d"] == f["coverage"] == 1.0 and f["confidently_wrong"] == 0.0
    assert f["loss"]["events"] == f["jumps"] == f["flips"]["symmetric"] == f["flips"]["turned"] == 0
    assert f["nees"]["mean"] == pytest.approx(0.0) and f["precision_recall"]["ap"] == pytest.approx(1.0)
    assert f["ci95"]["add_auc"] == (1.0, 1.0) and f["ci95"]["coverage"][0] < 1.0 == f["ci95"]["coverage"][1]


def test_a_calibrated_predictor_has_a_small_error_and_a_boaster_a_large_one() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 20_000)
    right = rng.uniform(0, 1, 20_000) < p
    honest, boaster = calibration(p, right), calibration(np.sqrt(p), right)
    assert honest.ece < 0.02 < 0.1 < boaster.ece and honest.brier < boaster.brier
    assert honest.n.sum() == 20_000 and np.abs(honest.p - honest.right).max() < 0.05
    assert honest.brier == pytest.approx(1 / 6, abs=0.01), "the mean of p (1 - p)"
    assert np.isnan(calibration(np.empty(0), np.empty(0, bool)).ece)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_laws_of_calibration(items: list[tuple[float, bool]]) -> None:
    p, right = np.array([i[0] for i in items]), np.array([i[1] for i in items])
    c = calibration(p, right)
    assert 0 <= c.ece <= 1 and 0 <= c.brier <= 1 and c.n.sum() == len(items)
    assert calibration(right.astype(float), right).ece == 0 == calibration(right.astype(float), right).brier
    curve = precision_recall(p, right, len(items))
    assert (np.diff(curve.recall) >= 0).all() and (np.diff(curve.probability) < 0).all()
    assert curve.recall[-1] == pytest.approx(right.mean()) == pytest.approx(curve.precision[-1])
    assert -1e-12 <= curve.ap <= 1 + 1e-12


def test_precision_and_recall_by_hand() -> None:
    curve = precision_recall(np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, True, False, True]), 6)
    assert curve.probability.tolist() == [0.9, 0.8, 0.1]
    assert curve.precision.tolist() == [1.0, 2 / 3, 0.75] and curve.recall.tolist() == [1 / 6, 2 / 6, 3 / 6]
    assert curve.ap == pytest.approx(1 / 6 * (1 + 2 / 3 + 0.75))


def test_calibration_counts_wrong_and_hopeless_poses() -> None:
    poses = [se3_exp([0.05, 0, 0, 0, 0, 0]) @ p if k < N // 2 else p for k, p in enumerate(noisy(PATH))]
    f = assessed(published(poses, probability=0.5), truth_of(PATH)).figures
    assert f["calibration"]["ece"] == pytest.approx(0.0, abs=1e-12) and f["calibration"]["brier"] == 0.25
    sure = assessed(published(poses, probability=1.0), truth_of(PATH)).figures["calibration"]
    assert sure["ece"] == sure["brier"] == 0.5 and sure["bins"] == [{"p": 1.0, "right": 0.5, "n": N}]
    assert "calibration" not in assessed(published(poses, probability=np.nan), truth_of(PATH)).figures


def drawn(count: int, covariance: np.ndarray, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).multivariate_normal(np.zeros(6), covariance, count)


COVARIANCE = np.diag([4e-6, 1e-6, 9e-6, 1e-4, 4e-4, 2e-4]) + 5e-7 * np.ones((6, 6))


def test_errors_drawn_from_the_covariance_have_a_nees_of_six() -> None:
    count = 4000
    truths = path(count)
    estimates = np.linalg.inv(se3_exp(drawn(count, COVARIANCE))) @ truths  # truth = exp(e) estimate
    values = nees(estimates, truths, np.repeat(COVARIANCE[None], count, 0))
    low, high = chi2.ppf([0.0005, 0.9995], 6 * count) / count
    assert low < values.mean() < high
    assert (values <= chi2.ppf(0.95, 6)).mean() == pytest.approx(0.95, abs=0.012)
    small = nees(estimates, truths, np.repeat(COVARIANCE[None] / 4, count, 0))
    assert small == pytest.approx(4 * values), "half the claimed spread, four times the NEES"


def test_levels_of_errors_drawn_from_the_covariance_are_spread_evenly() -> None:
    count = 4000
    truths = path(count)
    errors = drawn(count, COVARIANCE)
    estimates = np.linalg.inv(se3_exp(errors)) @ truths
    covariances = np.repeat(COVARIANCE[None], count, 0)
    levels = ellipsoid_level(estimates, truths, covariances)
    assert kstest(levels, "uniform").pvalue > 1e-3
    assert (levels <= LEVEL_95).mean() == pytest.approx(0.95, abs=0.012)
    # About the camera's axis of view the turn is free: its error is taken away, the truth turned likewise.
    loose = np.diag([1e-6] * 5 + [0.25])
    errors = drawn(count, loose)
    errors[:, 5] = 0
    poses = np.repeat(np.eye(4)[None], count, 0)
    free = (np.array([0.0, 0, 1]), np.zeros(3))
    levels = ellipsoid_level(poses, se3_exp(errors), np.repeat(loose[None], count, 0), free)
    assert kstest(levels, "uniform").pvalue > 1e-3, "five dimensions are left"


def test_nees_is_about_the_camera_and_needs_a_proper_covariance() -> None:
    truths = path(500)
    right_side = truths @ np.linalg.inv(se3_exp(drawn(500, COVARIANCE)))
    assert nees(right_side, truths, np.repeat(COVARIANCE[None], 500, 0)).mean() > 20, "errors on the other side"
    flat = COVARIANCE.copy()
    flat[2] = flat[:, 2] = 0
    assert np.isnan(nees(truths, truths, np.repeat(flat[None], 500, 0))).all()
    tiny = np.repeat(1e-20 * COVARIANCE[None], 500, 0)
    assert np.isfinite(nees(truths, truths, tiny)).all(), "small is not singular"
    f = assessed(published(list(truths[:N]), covariance=flat), truth_of(truths[:N])).figures["nees"]
    assert (f["n"], f["improper"]) == (0, N) and np.isnan(f["mean"])


def test_nees_uses_the_nearest_symmetry() -> None:
    turned = PATH @ HALF_TURN.symmetries[1]
    f = assessed(published(list(turned), covariance=COVARIANCE), truth_of(PATH), HALF_TURN).figures
    assert f["nees"]["mean"] == pytest.approx(0.0, abs=1e-9)


def test_flips() -> None:
    turns = HALF_TURN.symmetries[1]
    poses = np.array([p @ turns if 10 <= k < 20 else p for k, p in enumerate(noisy(PATH))])
    assert flips(poses, PATH, HALF_TURN.symmetries) == (2, 0), "there and back"
    assert flips(poses, PATH, BOX.symmetries) == (0, 2), "no declared symmetry explains it"
    assert flips(noisy(PATH), PATH, HALF_TURN.symmetries) == (0, 0)
    still = np.repeat(np.eye(4)[None], N, 0)
    assert flips(poses, still, HALF_TURN.symmetries) == (2, 0), "also without ground truth"
    f = assessed(published(list(poses)), truth_of(PATH), HALF_TURN).figures
    assert f["flips"] == {"symmetric": 2, "turned": 0} and f["jumps"] == 0


def test_stale_mirrored_and_scaled_poses_lower_the_right_figures() -> None:
    good = assessed(published(list(noisy(PATH))), truth_of(PATH)).figures
    farther = noisy(PATH)
    farther[:, :3, 3] *= 1.05
    mirrored = noisy(PATH)
    mirrored[:, 0, 3] *= -1
    for poses in (farther, mirrored):
        f = assessed(published(list(poses)), truth_of(PATH)).figures
        assert f["add_auc"] < good["add_auc"] and f["coverage"] == good["coverage"] == 1.0
        assert f["loss"]["events"] > 0
