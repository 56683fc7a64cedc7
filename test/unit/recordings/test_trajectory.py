"""Poses looked up between their stamps."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storm_core.bags.trajectory import GAP_NS, STAMP_TOLERANCE_NS, Trajectory, interpolate, read_tum
from storm_core.errors import DatasetError
from storm_core.geometry.pose import angle_between, se3_exp

TWISTS = st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6).map(np.array)
MS = 1_000_000


@given(TWISTS, TWISTS, st.floats(0.0, 1.0))
@settings(max_examples=50, deadline=None)
def test_interpolation_divides_way_and_turn(a: np.ndarray, b: np.ndarray, share: float) -> None:
    first, second = se3_exp(a)[None], se3_exp(b)[None]
    between = interpolate(first, second, np.array([share]))
    whole = angle_between(first, second)
    assert np.allclose(angle_between(first, between), share * whole, atol=1e-7)
    assert np.allclose(between[:, :3, 3], (1 - share) * first[:, :3, 3] + share * second[:, :3, 3])


def test_at_stamps_the_poses_themselves_come_back() -> None:
    poses = {k * 20 * MS: se3_exp([k, 0, 1, 0.1 * k, 0, 0]) for k in range(5)}
    found, known = Trajectory.of(dict(reversed(poses.items()))).at(list(poses))
    assert known.all() and np.array_equal(found, np.stack(list(poses.values())))


def test_what_is_known_between_before_and_after() -> None:
    poses = {stamp * MS: se3_exp([x, 0, 1, 0, 0, 0]) for stamp, x in ((0, 0), (20, 1), (100, 2))}
    at = [-6 * MS, -4 * MS, 5 * MS, 24 * MS, 60 * MS, 104 * MS, 106 * MS]
    found, known = Trajectory.of(poses).at(at)
    assert known.tolist() == [False, True, True, True, False, True, False]
    assert np.allclose(found[known, 0, 3], [0, 0.25, 1, 2])
    assert STAMP_TOLERANCE_NS == 5 * MS and GAP_NS == 25 * MS
    _, wide = Trajectory.of(poses).at(at, gap_ns=80 * MS)
    assert wide[4]
    assert not Trajectory.of({}).at(at)[1].any()


@pytest.mark.parametrize("row", ["1.0 2 3", "a 0 0 0 0 0 0 1", "1.0 0 0 0 0 0 0 0", "1.0 nan 0 0 0 0 0 1"])
def test_damaged_tum_is_named(tmp_path: Path, row: str) -> None:
    (tmp_path / "a.tum").write_text(f"# head\n0.5 0 0 1 0 0 0 1\n{row}\n")
    with pytest.raises(DatasetError, match=r"a.tum entry 2 is not TUM"):
        read_tum(tmp_path / "a.tum")
    with pytest.raises(DatasetError, match="cannot read"):
        read_tum(tmp_path / "b.tum")
