"""Particles jump to the poses that shape and image cannot tell apart, and to no others."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storm_core.config import ScoreModelConfig
from storm_core.geometry.pose import angle_between, so3_exp
from storm_core.geometry.symmetry import shape_symmetries
from storm_core.score_model.modes import find_modes
from storm_core.score_model.sampler import LangevinRefiner
from storm_core.score_model.twins import share_out
from storm_core.types import Evidence, Frame, Registration
from test.synthetic import frame_of, pose, textured_box

POSE = pose((0.5, 0.4, 0.2), (0.02, -0.01, 0.5))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.lists(st.floats(0.01, 1.0), min_size=1, max_size=12), st.integers(0, 2**31))
def test_twins_get_their_share_of_particles_and_weight(count: int, odds: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares = np.array(odds) / sum(odds)
    turns = np.tile(np.eye(4), (len(odds), 1, 1))
    turns[:, :3, :3] = so3_exp(np.arange(len(odds))[:, None] * np.array([0, 0, 0.4]))
    weights = rng.random(count) + 1e-3
    poses, after = share_out(np.tile(POSE, (count, 1, 1)), weights / weights.sum(), turns, shares, rng)
    assert after.min() >= 0 and after.sum() == pytest.approx(1)
    twin = angle_between((POSE @ turns)[None, :, :3, :3], poses[:, None, :3, :3]).argmin(1)
    number = np.bincount(twin, minlength=len(odds))
    assert (np.abs(number - count * shares) <= 1 + 1e-9).all()
    there = number > 0
    np.testing.assert_allclose(np.bincount(twin, after, len(odds))[there], shares[there] / shares[there].sum())


def test_particles_come_again_as_often_as_they_weigh() -> None:
    poses = np.stack([pose((0.1 * k, 0, 0), (0, 0, 0.5)) for k in range(5)])
    weights = np.array([0.0, 0.2, 0.4, 0.4, 0.0])
    again, after = share_out(poses, weights, np.eye(4)[None], np.ones(1), np.random.default_rng(0))
    np.testing.assert_allclose(again, poses[[1, 2, 2, 3, 3]])
    np.testing.assert_allclose(after, 0.2)


def refined_modes(printed: bool, symmetries: np.ndarray | None = None) -> list[np.ndarray]:
    """Modes of a box that is twice as long as wide, with and without its print."""
    box = textured_box("box")
    model = box if printed else replace(box, colors=None)
    if symmetries is not None:
        model = replace(model, symmetries=symmetries)
    frame: Frame = frame_of([(model, POSE)], noise=0.001, seed=3)
    given_pose = Registration(object_name="box", stamp_ns=frame.stamp_ns, cam_from_obj=POSE, probability=0.9,
                              covariance=np.diag([1e-5] * 6), evidence=Evidence())
    result = LangevinRefiner({"box": model}, ScoreModelConfig()).refine(frame, given_pose)
    assert result.weights.sum() == pytest.approx(1)
    assert angle_between(result.registration.cam_from_obj[:3, :3], POSE[:3, :3]) < 0.05, "the given mode is left"
    return [mode.cam_from_obj for mode in find_modes(model, result.cam_from_objs, result.weights)]


def test_a_bare_box_has_its_half_turns_as_modes_and_a_printed_one_has_not() -> None:
    turns = shape_symmetries(textured_box("box"))
    assert len(turns) >= 4
    twins = (POSE @ turns)[:, :3, :3]
    bare = np.stack(refined_modes(printed=False))[:, :3, :3]
    nearest = angle_between(bare[:, None], twins[None])
    assert nearest.min(1).max() < 0.15, "a mode that is no turn of the box"
    assert len(set(nearest.argmin(1))) == len(turns), "a turn of the box is no mode"
    printed = refined_modes(printed=True)
    assert len(printed) == 1 and angle_between(printed[0][:3, :3], POSE[:3, :3]) < 0.1


def test_what_is_declared_equal_is_equal_whatever_the_print_says() -> None:
    turns = shape_symmetries(textured_box("box"))
    half_turn = turns[angle_between(turns, np.eye(4)) > 3.0][:1]
    declared = np.concatenate([np.eye(4)[None], half_turn])
    modes = np.stack(refined_modes(printed=True, symmetries=declared))[:, :3, :3]
    nearest = angle_between(modes[:, None], (POSE @ declared)[None, :, :3, :3])
    assert nearest.min(1).max() < 0.1 and sorted(nearest.argmin(1)) == [0, 1]


def test_a_mode_is_shown_by_its_middle() -> None:
    """Particles of equal weight: whichever comes first says nothing."""
    turned = [pose((0, 0, angle), (0, 0, 0.5)) for angle in (0.3, 0.0, 0.14, 0.16, 0.15)]
    mode, = find_modes(textured_box("box"), np.stack(turned), np.full(5, 0.2))
    np.testing.assert_allclose(mode.cam_from_obj, turned[4])
    assert mode.weight == pytest.approx(1) and len(mode.members) == 5
