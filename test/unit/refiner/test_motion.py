"""Motions of hypotheses: laws that hold whatever a network says."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from storm_core.geometry.pose import angle_between, from_rotation_translation, so3_exp
from storm_core.render_compare.motion import centers, motion_between, moved, read_motion
from storm_core.render_compare.shape import Scaling

numbers = st.floats(-1.5, 1.5)
vectors = arrays(float, (3,), elements=numbers)


@given(vectors, vectors, vectors, vectors, vectors)
def test_the_motion_between_two_poses_takes_one_to_the_other(a, b, t, u, center) -> None:  # noqa: ANN001
    given_pose = from_rotation_translation(so3_exp(a), t)[None]
    wanted = from_rotation_translation(so3_exp(b), u)[None]
    shift, turn = motion_between(wanted, given_pose, center)
    assert np.allclose(moved(given_pose, center, shift, so3_exp(turn)), wanted, atol=1e-7)


@given(vectors, vectors, vectors, vectors)
def test_shift_and_turn_do_not_disturb_each_other(a, t, turn, center) -> None:  # noqa: ANN001
    pose = from_rotation_translation(so3_exp(a), t)[None]
    turned = moved(pose, center, np.zeros((1, 3)), so3_exp(turn)[None])
    assert np.allclose(centers(turned, center), centers(pose, center), atol=1e-9)
    shifted = moved(pose, center, turn[None], np.eye(3)[None])
    assert angle_between(shifted, pose)[0] < 1e-6
    assert np.allclose(centers(shifted, center) - centers(pose, center), turn)


def test_outputs_are_read_as_published() -> None:
    """Shifts in radii, turns as tanh times the normaliser; golden values by hand."""
    shift, turn = read_motion(np.float32([[0.5, 0, -1]]), np.float32([[0, 0, 1.0]]), Scaling(turn=0.4), 0.2)
    assert np.allclose(shift, [[0.05, 0, -0.1]])
    angle = 0.4 * np.tanh(1.0)
    wanted = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    assert np.allclose(turn[0], wanted, atol=1e-6)


def test_shifts_in_metres_are_bounded() -> None:
    shift, _ = read_motion(np.float32([[100, -100, 0]]), np.zeros((1, 3), np.float32),
                           Scaling(shift=(0.02, 0.02, 0.05)), 0.2)
    assert np.allclose(shift, [[0.02, -0.02, 0.0]])


def test_two_columns_give_a_rotation() -> None:
    _, turn = read_motion(np.zeros((1, 3), np.float32), np.float32([[2, 0, 0, 3, 0.5, 0]]), Scaling(), 1.0)
    assert np.allclose(turn[0], np.eye(3), atol=1e-6)
