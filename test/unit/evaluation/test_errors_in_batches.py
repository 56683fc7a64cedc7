"""Batched pose errors equal the single ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from storm_core.geometry.pose import se3_exp
from storm_core.metrics.pose_error import add, adds, mssd
from storm_core.metrics.pose_error_batch import add_batch, adds_batch, extreme_points
from storm_core.metrics.symmetric_error import mssd_pairs


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_batches_equal_single_errors(seed: int, turns: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 0.05, (60, 3))
    symmetries = np.stack([se3_exp([0, 0, 0, 0, 0, 2 * np.pi * k / turns]) for k in range(turns)])
    a, b = (se3_exp(rng.normal(0, 0.3, (7, 6))) for _ in range(2))
    assert add_batch(a, b, points) == pytest.approx([add(x, y, points) for x, y in zip(a, b, strict=True)])
    assert adds_batch(a, b, points, cKDTree(points), workers=1) == pytest.approx(
        [adds(x, y, points) for x, y in zip(a, b, strict=True)])
    errors, which = mssd_pairs(a, b, extreme_points(points), symmetries)
    assert errors == pytest.approx([mssd(x, y, points, symmetries) for x, y in zip(a, b, strict=True)])
    assert errors == pytest.approx([mssd(x, y @ symmetries[k], points, np.eye(4)[None])
                                    for x, y, k in zip(a, b, which, strict=True)])


def test_flat_and_tiny_point_sets_are_kept_whole() -> None:
    flat = np.array([[x, y, 0.0] for x in range(4) for y in range(4)])
    assert len(extreme_points(flat)) == 16 and len(extreme_points(flat[:2])) == 2
    inner = np.concatenate([np.eye(3), -np.eye(3), 0.1 * np.eye(3)])
    assert sorted(map(tuple, extreme_points(inner))) == sorted(map(tuple, inner[:6]))


def test_many_poses_are_split_without_a_seam() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(0, 0.05, (3000, 3))
    a, b = (se3_exp(rng.normal(0, 0.3, (200, 6))) for _ in range(2))
    chosen = [0, 33, 34, 66, 199]
    assert add_batch(a, b, points)[chosen] == pytest.approx([add(a[k], b[k], points) for k in chosen])
