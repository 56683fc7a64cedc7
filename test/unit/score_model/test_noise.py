"""Noise levels and random rotations."""

import numpy as np
import pytest

from storm_core.geometry.pose import angle_between, transform
from storm_core.score_model.noise import angle_density, levels, perturbed, sample_rotations


def test_levels_fall_by_a_constant_factor_from_high_to_low() -> None:
    values = levels(7, 1.0, 0.01)
    assert values[0] == pytest.approx(1.0) and values[-1] == pytest.approx(0.01)
    np.testing.assert_allclose(values[1:] / values[:-1], values[1] / values[0])
    assert levels(1, 1.0, 0.01) == pytest.approx(0.01)


def test_small_noise_is_gaussian_in_the_tangent_space() -> None:
    angles = angle_between(np.eye(3), sample_rotations(20000, 0.05, np.random.default_rng(0)))
    assert np.mean(angles**2) == pytest.approx(3 * 0.05**2, rel=0.05)


def test_the_series_meets_the_tangent_form_and_tends_to_uniform() -> None:
    angle = np.linspace(0.01, np.pi, 400)
    tangent, series = angle_density(angle, 0.29999), angle_density(angle, 0.30001)
    np.testing.assert_allclose(tangent / tangent.sum(), series / series.sum(), atol=3e-4)
    uniform = 1 - np.cos(angle)
    wide = angle_density(angle, 4.0)
    np.testing.assert_allclose(wide / wide.sum(), uniform / uniform.sum(), atol=1e-6)


def test_directions_are_isotropic_and_rotations_proper() -> None:
    turns = sample_rotations(5000, 0.8, np.random.default_rng(1))
    np.testing.assert_allclose(turns @ np.swapaxes(turns, 1, 2), np.broadcast_to(np.eye(3), turns.shape), atol=1e-12)
    anti = turns - np.swapaxes(turns, 1, 2)
    axes = np.stack([anti[:, 2, 1], anti[:, 0, 2], anti[:, 1, 0]], 1)
    assert np.abs(axes.mean(0)).max() < 0.05


def test_no_noise_is_the_identity() -> None:
    np.testing.assert_array_equal(
        sample_rotations(3, 0.0, np.random.default_rng(0)), np.broadcast_to(np.eye(3), (3, 3, 3))
    )


def test_perturbation_turns_about_the_object_centre() -> None:
    pose = np.eye(4)
    pose[:3, 3] = [0.1, 0.2, 0.9]
    center = np.array([0.05, 0.0, -0.02])
    poses = perturbed(pose, center, 200, 0.0, 0.5, np.random.default_rng(0))
    np.testing.assert_allclose(
        transform(poses, center[None])[:, 0], np.broadcast_to(pose[:3, 3] + center, (200, 3)), atol=1e-12
    )
    assert angle_between(pose, poses).mean() > 0.3
