"""Figures of runs whose truth nobody knows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storm_core.geometry.pose import inverse, se3_exp
from storm_core.metrics.self_consistency import self_consistency, static_spread, unwrapped

N = 40
STAMPS = [10**18 + k * 33_000_000 for k in range(N)]
CENTER = np.array([0.02, 0.0, 0.01])
ALONE = np.eye(4)[None]
TWIST = st.lists(st.floats(-0.02, 0.02), min_size=6, max_size=6).map(np.array)


def moving(velocity: np.ndarray) -> np.ndarray:
    """A body whose centre goes straight on while it turns evenly."""
    out = np.tile(se3_exp([0, 0, 0.7, 0.3, -0.2, 0.1]), (N, 1, 1))
    start = out[0, :3, :3] @ CENTER + out[0, :3, 3]
    for k in range(N):
        out[k, :3, :3] = se3_exp(np.r_[np.zeros(3), velocity[3:] * k])[:3, :3] @ out[0, :3, :3]
        out[k, :3, 3] = start + velocity[:3] * k - out[k, :3, :3] @ CENTER
    return out


@given(TWIST)
@settings(max_examples=30, deadline=None)
def test_even_motion_has_no_jumps(velocity: np.ndarray) -> None:
    figures = self_consistency(STAMPS, moving(velocity), ALONE, CENTER)
    assert figures["jump_max_mm"] < 1e-6 and figures["rotation_jump_max_deg"] < 1e-5
    assert figures["steps"] == N - 2 and figures["trusted_share"] == 1.0 and figures["interruptions"] == 0


def test_a_jump_is_measured_where_it_is() -> None:
    poses = moving(np.zeros(6))
    poses[20:, 0, 3] += 0.05
    figures = self_consistency(STAMPS, poses, ALONE, CENTER)
    assert figures["jump_max_mm"] == pytest.approx(50) and figures["jump_p50_mm"] < 1e-9
    poses[25, :3, :3] = se3_exp([0, 0, 0, 0, 0, 0.5])[:3, :3] @ poses[25, :3, :3]
    turned = self_consistency(STAMPS, poses, ALONE, CENTER)
    assert turned["rotation_jump_max_deg"] >= np.degrees(0.5)


def test_gaps_are_interruptions_and_no_jumps() -> None:
    poses = moving(np.zeros(6))
    poses[10:15] = np.nan
    poses[15:, 0, 3] += 0.2
    figures = self_consistency(STAMPS, poses, ALONE, CENTER)
    assert figures["interruptions"] == 1 and figures["longest_gap_s"] == pytest.approx(6 * 0.033)
    assert figures["jump_max_mm"] < 1e-9 and figures["trusted_share"] == pytest.approx(35 / 40)


def test_nothing_published_is_nothing_measured() -> None:
    figures = self_consistency(STAMPS, np.full((N, 4, 4), np.nan), ALONE, CENTER, np.tile(np.eye(4), (N, 1, 1)))
    assert figures["trusted_share"] == 0.0 and figures["steps"] == 0 and figures["static"]["n"] == 0
    assert all(np.isnan(figures[k]) for k in ("jump_p95_mm", "rotation_jump_max_deg", "longest_gap_s"))
    assert np.isnan(figures["static"]["position_p95_mm"])


def test_turns_that_a_symmetry_explains_are_none() -> None:
    half = np.diag([-1.0, -1.0, 1.0, 1.0])
    poses = moving(np.zeros(6))
    poses[::3] = poses[::3] @ half
    axis = np.array([0.0, 0.0, 0.03])
    plain = self_consistency(STAMPS, poses, ALONE, axis)
    assert plain["rotation_jump_max_deg"] == pytest.approx(180) and plain["jump_max_mm"] < 1e-9
    assert self_consistency(STAMPS, poses, np.stack([np.eye(4), half]), axis)["rotation_jump_max_deg"] < 1e-5
    assert np.allclose(unwrapped(poses, np.stack([np.eye(4), half])), poses[0])


def test_a_moving_camera_before_a_still_object() -> None:
    """The true poses spread by nothing in the world; poses that stay behind the camera spread as far as it lags."""
    world_from_cam = np.stack([se3_exp([0.0005 * k * k, 0, 0, 0, 0.0002 * k * k, 0]) for k in range(N)])
    world_from_obj = se3_exp([0.1, 0.2, 0.8, 0, 0.4, 0])
    poses = inverse(world_from_cam) @ world_from_obj
    exact = self_consistency(STAMPS, poses, ALONE, CENTER, world_from_cam)["static"]
    assert exact["n"] == N and exact["position_p95_mm"] < 1e-9 and exact["rotation_p95_deg"] < 1e-5
    late = np.r_[poses[:1], poses[:-1]]
    assert self_consistency(STAMPS, late, ALONE, CENTER, world_from_cam)["static"]["position_p95_mm"] > 1.0


def test_spread_knows_its_size() -> None:
    rng = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (4000, 1, 1))
    poses[:, :3, 3] = rng.normal(0, 0.002, (4000, 3))
    # The median of the chi distribution with three degrees of freedom is 1.538.
    assert static_spread(poses, ALONE, np.zeros(3))["position_p50_mm"] == pytest.approx(2 * 1.538, rel=0.05)
