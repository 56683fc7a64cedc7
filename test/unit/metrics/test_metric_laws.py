"""What must hold for any poses, masks and scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from storm_core.bop.models import bop_symmetries
from storm_core.geometry.pose import inverse, se3_exp
from storm_core.metrics.average_precision import average_precision
from storm_core.metrics.detection import Detected, detection_ap
from storm_core.metrics.localization import PIXELS, SHARES, Sought, average_recall
from storm_core.metrics.mask_ap import MaskMatches, ap_bop, ap_storm, iou_mean, pairwise_iou
from storm_core.metrics.matching import NOBODY, greedy_matches, most_visible
from storm_core.metrics.pose_error import mspd, mssd
from storm_core.metrics.pose_error_batch import extreme_points
from storm_core.metrics.symmetric_error import mspd_pairs, mssd_pairs, spread
from storm_core.metrics.vsd import DELTA_MM, ray_lengths, silhouettes_may_overlap, vsd
from test.synthetic import CAMERA

POINTS = np.random.default_rng(0).normal(0, 0.04, (200, 3))
TURNS = bop_symmetries({"symmetries_continuous": [{"axis": [0, 0, 2], "offset": [10, 0, 5]}]}, step=0.1)
AHEAD = np.array([0, 0, 1.0, 0, 0, 0])

twists = arrays(float, (5, 6), elements=st.floats(-0.4, 0.4)).map(lambda t: t + AHEAD)
errors = arrays(float, (4, 3), elements=st.floats(0, 0.6))


@given(twists, twists)
def test_bounds_do_not_change_the_result(a: np.ndarray, b: np.ndarray) -> None:
    a, b = se3_exp(a), se3_exp(b)
    fast, _ = mssd_pairs(a, b, extreme_points(POINTS), TURNS)
    assert np.allclose(fast, [mssd(e, t, POINTS, TURNS) for e, t in zip(a, b, strict=True)], rtol=1e-9)
    fast = mspd_pairs(a, b, POINTS, TURNS, np.tile(CAMERA.vector, (5, 1)))
    assert np.allclose(fast, [mspd(e, t, POINTS, TURNS, CAMERA) for e, t in zip(a, b, strict=True)], rtol=1e-9)


def test_points_behind_the_camera_have_no_projection() -> None:
    pose, behind = se3_exp(AHEAD)[None], se3_exp(-AHEAD)[None]
    for e, t in ((behind, pose), (pose, behind), (behind, behind)):
        assert np.isinf(mspd_pairs(e, t, POINTS, TURNS, CAMERA.vector[None]))[0]


def test_no_pairs_at_all() -> None:
    none = np.zeros((0, 4, 4))
    assert len(mssd_pairs(none, none, POINTS, TURNS)[0]) == len(mspd_pairs(none, none, POINTS, TURNS, none[:, 0])) == 0


@given(st.floats(0.01, 0.5), st.lists(st.floats(-1, 1), min_size=3, max_size=3))
def test_bop_symmetries_leave_the_axis_where_it_is(step: float, offset: list[float]) -> None:
    turns = bop_symmetries({"symmetries_continuous": [{"axis": [0, 3, 4], "offset": offset}]}, step)
    assert len(turns) == int(np.ceil(np.pi / step)) and np.allclose(turns[0], np.eye(4))
    point = np.array([*(np.array(offset) + 2 * np.array([0, 3, 4])), 1e3]) * 1e-3
    assert np.allclose(turns @ point, point, atol=1e-12) and np.allclose(inverse(turns) @ turns, np.eye(4))


def test_spread_points_are_far_apart() -> None:
    line = np.zeros((100, 3))
    line[:, 0] = np.arange(100)
    assert set(spread(line, 2)) == {0, 99} and len(set(spread(POINTS, 12))) == 12 and len(spread(line[:3], 12)) == 3


@pytest.fixture(scope="module")
def wall() -> tuple[np.ndarray, np.ndarray, float]:
    depth = np.zeros((480, 640), np.float32)
    depth[100:200, 100:300] = 0.7
    return depth, ray_lengths(CAMERA), 0.2


def test_vsd_of_the_truth_is_zero_and_of_another_place_one(wall: tuple) -> None:
    depth, rays, diameter = wall
    assert vsd(depth, depth, depth, rays, diameter).max() == 0
    assert vsd(np.roll(depth, 220, 1), depth, depth, rays, diameter).min() == 1
    assert vsd(depth * 0, depth * 0, depth, rays, diameter).min() == 1, "nothing to see is no success"


def test_vsd_sees_what_is_moved_missing_and_hidden(wall: tuple) -> None:
    depth, rays, diameter = wall
    shifted = vsd(np.roll(depth, 100, 1), depth, depth, rays, diameter)
    assert np.allclose(shifted, 2 / 3), "half of each overlaps, as well as it can"
    behind = vsd(depth + (depth > 0) * np.float32(0.03), depth, depth, rays, diameter)
    assert (np.diff(behind) <= 0).all() and behind[0] == 1 and behind[-1] == 0
    half_hidden = np.where(np.arange(640) < 200, np.float32(0.4), depth)
    lost = depth * (np.arange(640) >= 200)
    assert vsd(lost, depth, half_hidden, rays, diameter).max() == 0, "what is hidden is not compared"
    assert np.allclose(vsd(lost, depth, depth, rays, diameter), 0.5)
    assert np.allclose(vsd(lost, depth, depth * 0, rays, diameter), 0.5), "a pixel without depth hides nothing"
    near = np.where(depth > 0, depth - np.float32(2e-3 * DELTA_MM), 0)
    assert vsd(depth, depth, near, rays, diameter).min() == 1, "all of it is behind something"


def test_silhouettes_of_far_poses_do_not_overlap() -> None:
    here, there = se3_exp(AHEAD), se3_exp(AHEAD + [0.3, 0, 0, 0, 0, 0])
    assert silhouettes_may_overlap(here, here, 0.1) and silhouettes_may_overlap(here, there, 0.4)
    assert not silhouettes_may_overlap(here, there, 0.2) and not silhouettes_may_overlap(here, np.eye(4), 0.2)


@given(errors, st.floats(0.05, 0.5))
def test_matching_is_one_to_one_and_keeps_the_limit(e: np.ndarray, limit: float) -> None:
    valid = np.array([True, False, True])
    match = greedy_matches(e[:, :, None], np.array([limit]), valid)[0]
    taken = match[match != NOBODY]
    assert match[1] == NOBODY and len(set(taken)) == len(taken)
    assert all(e[r, g] < limit for g, r in enumerate(match) if r != NOBODY)
    if (e[0, valid] < limit).any():
        assert match[np.where(valid, e[0], np.inf).argmin()] == 0, "the highest score chooses first"


@given(errors, errors)
def test_worse_errors_never_help(e: np.ndarray, more: np.ndarray) -> None:
    """Of one estimate per image; greedy matching of several does not promise it."""
    def ar(values: np.ndarray) -> float:
        return average_recall([Sought(errors=v.reshape(1, 1), visible=np.ones(1), wanted=1) for v in values.ravel()],
                              SHARES)

    assert ar(e + more) <= ar(e)


def test_average_recall_by_hand() -> None:
    def sought(*rows: list[float], visible: list[float], wanted: int) -> Sought:
        return Sought(errors=np.array(rows).reshape(-1, len(visible)), visible=np.array(visible), wanted=wanted)

    assert average_recall([sought([7.0], visible=[1.0], wanted=1)], PIXELS) == 0.9, "7 px fail only below 5 px"
    assert average_recall([sought([5.0], visible=[1.0], wanted=1)], PIXELS) == 0.9, "at the limit is not below it"
    assert average_recall([sought(visible=[1.0], wanted=1)], PIXELS) == 0.0
    assert np.isnan(average_recall([sought([0.0], visible=[1.0], wanted=0)], PIXELS))
    # Only the most visible one counts, and only one estimate may be given for it.
    assert average_recall([sought([0.0, 99], visible=[0.3, 0.9], wanted=1)], PIXELS) == 0.0
    assert average_recall([sought([99.0], [0], visible=[1.0], wanted=1)], PIXELS) == 0.0


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30), st.integers(1, 9))
def test_average_precision_is_a_share_that_grows_with_better_detections(found: list, extra: int) -> None:
    scores, right = np.array([s for s, _ in found]), np.array([r for _, r in found])[:, None]
    wanted = int(right.sum()) + extra
    none = np.zeros_like(right)
    ap = average_precision(scores, right, none, wanted)[0]
    # The 101 recalls make steps of up to 1/101.
    assert 0 <= ap <= right.sum() / wanted + 1 / 101
    assert average_precision(np.append(scores, 2.0), np.append(right, [[True]], 0), np.zeros((len(right) + 1, 1), bool),
                             wanted)[0] >= ap
    assert average_precision(np.append(scores, -1.0), np.append(right, [[False]], 0),
                             np.zeros((len(right) + 1, 1), bool), wanted)[0] == ap, "late false alarms cost nothing"
    assert average_precision(scores, right, ~right, wanted)[0] >= ap, "what is ignored is no false alarm"
    assert np.isnan(average_precision(scores, right, none, 0)[0])


def test_detection_by_hand() -> None:
    def ap(visible: list[float], *rows: list[float]) -> float:
        e = np.array(rows).reshape(-1, len(visible))
        return detection_ap([Detected(scores=np.linspace(1, 0.5, len(e)), errors=e, visible=np.array(visible))],
                            np.array([0.1]))

    assert ap([1.0, 0.5], [0, 9], [9, 0]) == 1.0 and ap([1.0, 0.05], [0, 9]) == 1.0
    assert ap([1.0], [9], [0]) == pytest.approx(0.5), "a false alarm of higher score halves the precision"
    assert ap([1.0, 0.05], [9, 0], [0, 9]) == 1.0, "who finds a hidden one is neither right nor wrong"
    assert ap([1.0, 1.0], [0, 9]) == pytest.approx(51 / 101) and np.isnan(ap([0.05], [0]))


def test_mask_figures_by_hand() -> None:
    def matches(ious: list[list[float]], scores: list[float], ignored: list[bool]) -> MaskMatches:
        return MaskMatches(scores=np.array(scores), ious=np.array(ious).reshape(len(scores), len(ignored)),
                           ignored=np.array(ignored, bool))

    assert ap_bop({1: [matches([[1.0]], [0.9], [False])]})[0] == 1.0
    assert ap_bop({1: [matches([[0.72]], [0.9], [False])]})[0] == pytest.approx(0.5)
    assert ap_bop({1: [matches([[1.0], [1.0]], [0.9, 0.8], [False])]})[0] == 1.0, "the second is a late false alarm"
    assert ap_bop({1: [matches([], [], [False])]})[0] == 0.0, "a missing mask fails"
    mean, each = ap_bop({1: [matches([[1.0]], [0.9], [False])], 2: [matches([[1.0]], [0.9], [True])]})
    assert mean == each[1] == 1.0 and np.isnan(each[2])
    unseen = matches([], [0.99], [])  # a mask in an image without the object
    assert ap_bop({1: [unseen, matches([[1.0]], [0.9], [False])]})[0] == pytest.approx(0.5)
    assert ap_bop({1: [matches([[0.9, 1.0]], [0.9], [False, True])]})[0] == pytest.approx(0.9), "real ones go first"
    assert ap_storm([1.0, 0.0]) == 0.5 and ap_storm([0.72]) == 0.5 and np.isnan(ap_storm([]))
    assert iou_mean([1.0, 0.0]) == 0.5 and np.isnan(iou_mean([]))


def test_pairwise_iou() -> None:
    a = np.zeros((3, 8, 8), bool)
    a[0, :4], a[1, 2:6] = True, True
    iou = pairwise_iou(a, a)
    assert np.allclose(iou, [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]]) and pairwise_iou(a[:0], a).shape == (0, 3)


def test_the_most_visible_count_first() -> None:
    assert most_visible(np.array([0.2, 0.9, 0.9, 0.5]), 2).tolist() == [False, True, True, False]
    assert most_visible(np.array([0.2, 0.2, 0.2]), 2).tolist() == [True, True, False]
    assert most_visible(np.array([0.2]), 5).tolist() == [True]
