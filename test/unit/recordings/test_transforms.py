"""The tf tree: chains of moving and fixed frames, interpolated."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storm_core.bags.rosbag import open_bag
from storm_core.bags.trajectory import Trajectory
from storm_core.bags.transforms import TransformTree, read_tree
from storm_core.errors import DatasetError
from storm_core.geometry.pose import inverse, se3_exp
from test.unit.recordings.small_bags import START, tf, write_rosbag2

TWISTS = st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6).map(np.array)
S = 10**9


def moving(*poses: np.ndarray, period: int = S // 10) -> Trajectory:
    return Trajectory.of({k * period: pose for k, pose in enumerate(poses)})


@given(TWISTS, TWISTS, TWISTS, TWISTS)
@settings(max_examples=40, deadline=None)
def test_laws(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> None:
    """map -> odom -> base -> camera and map -> object: there and back is the identity, and steps compose."""
    tree = TransformTree(
        {("map", "odom"): moving(se3_exp(a), se3_exp(a)), ("odom", "base"): moving(se3_exp(b), se3_exp(b))},
        {("base", "camera"): se3_exp(c), ("map", "object"): se3_exp(d)})
    at = [0, S // 20]
    found, known = tree.lookup("camera", "object", at)
    expected = inverse(se3_exp(a) @ se3_exp(b) @ se3_exp(c)) @ se3_exp(d)
    assert known.all() and np.allclose(found, expected, atol=1e-9)
    back, _ = tree.lookup("object", "camera", at)
    assert np.allclose(found @ back, np.eye(4), atol=1e-9)
    assert np.allclose(tree.lookup("camera", "odom", at)[0] @ tree.lookup("odom", "object", at)[0], found, atol=1e-9)


def test_a_frame_is_where_it_is_itself() -> None:
    found, known = TransformTree({}, {("a", "b"): se3_exp([1, 0, 0, 0, 0, 0])}).lookup("a", "/a", [0, 5])
    assert np.array_equal(found, np.tile(np.eye(4), (2, 1, 1))) and known.all()


def test_moving_frames_are_interpolated_and_unknown_outside() -> None:
    """Half way in time is half way along the arc; before, after and in long gaps nothing is known."""
    half_turn = se3_exp([0, 0, 0, 0, 0, 3.0])
    tree = TransformTree({("cam", "obj"): Trajectory.of({0: np.eye(4), S // 5: half_turn, 2 * S: half_turn})}, {})
    found, known = tree.lookup("cam", "obj", [-S // 50, 0, S // 10, S // 5, S, 2 * S, 3 * S])
    assert known.tolist() == [False, True, True, True, False, True, False]
    assert np.allclose(found[2], se3_exp([0, 0, 0, 0, 0, 1.5]))


def test_missing_chains_name_the_frames() -> None:
    tree = TransformTree({}, {("map", "camera"): np.eye(4), ("lab", "object"): np.eye(4)})
    with pytest.raises(DatasetError, match="no frame 'cup'; its frames are camera, lab, map, object"):
        tree.lookup("camera", "cup", [0])
    with pytest.raises(DatasetError, match="no chain from 'object' to 'camera'"):
        tree.lookup("camera", "object", [0])
    assert not tree.connects("camera", "object") and tree.connects("camera", "map")
    with pytest.raises(DatasetError, match="its frames are none"):
        TransformTree({}, {}).lookup("a", "b", [0])


def test_static_and_moving_topics_of_a_bag(tmp_path: Path) -> None:
    """/tf_static holds at all times, whenever it was sent; several transforms may share a message."""
    bag = write_rosbag2(tmp_path / "bag", [
        tf(START + S, "/base", {"camera": se3_exp([0.1, 0, 0, 0, 0, 0])}, "/robot/tf_static"),
        tf(START, "map", {"base": np.eye(4), "cup": se3_exp([0, 0, 1, 0, 0, 0])}),
        tf(START + S // 10, "map", {"base": se3_exp([1, 0, 0, 0, 0, 0]), "cup": se3_exp([0, 0, 1, 0, 0, 0])})])
    with open_bag(bag) as reader:
        tree = read_tree(reader)
    found, known = tree.lookup("camera", "cup", [START, START + S // 20])
    assert known.all() and np.allclose(found[:, :3, 3], [[-0.1, 0, 1], [-0.6, 0, 1]], atol=1e-6)
    assert tree.frames == ["base", "camera", "cup", "map"]
