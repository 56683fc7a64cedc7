"""Covariances of tracked poses: what makes them grow, and the same uncertainty in every frame of reference."""

from dataclasses import astuple, fields

import numpy as np
import pytest

from storm_core.geometry.pose import inverse, se3_exp, se3_log, skew, so3_exp
from storm_core.tracking.fit_covariance import covariance_kernel
from storm_core.tracking.optimise import center_of
from storm_core.tracking.single_frame import single_frame_covariance
from storm_core.tracking.uncertainty import (
    UNKNOWN_TURN,
    Conditions,
    ErrorModel,
    left_covariance,
    turned_axes,
    weakest_direction,
)
from test.synthetic import pose
from test.unit.tracking.scenes import background, observe, printed_can, swing, wedge


def test_left_covariance_describes_the_same_poses() -> None:
    """Sampled increments at the object centre have the covariance that the adjoint predicts for the camera origin."""
    rng = np.random.default_rng(0)
    center = np.array([0.1, -0.2, 0.8])
    at_center = np.diag([1e-6, 4e-6, 9e-6, 1e-6, 2e-6, 3e-6])
    xi = rng.multivariate_normal(np.zeros(6), at_center, 4000)
    shift = np.eye(4)
    shift[:3, 3] = center
    left = se3_log(shift @ se3_exp(xi) @ inverse(shift))
    sample = left.T @ left / len(xi)
    np.testing.assert_allclose(sample, left_covariance(at_center, center), atol=0.08 * np.abs(sample).max())


def test_the_weakest_direction_is_that_of_the_farthest_errors() -> None:
    """Along no direction do sampled errors spread more, and along one they spread as much."""
    rng = np.random.default_rng(1)
    center, diameter, half = np.array([0.1, -0.2, 0.8]), 0.2, rng.normal(size=(6, 6))
    at_center = 1e-6 * half @ half.T
    weakest = weakest_direction(left_covariance(at_center, center), center, diameter)
    scale = np.diag([1 / diameter] * 3 + [0.5] * 3)
    directions = rng.normal(size=(500, 6))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    spread = np.sqrt(np.einsum("ni,ij,nj->n", directions, scale @ at_center @ scale, directions))
    assert spread.max() <= weakest
    assert weakest == pytest.approx(np.sqrt(np.linalg.eigvalsh(scale @ at_center @ scale)[-1]), rel=1e-6)
    assert np.isnan(weakest_direction(np.full((6, 6), np.nan), center, diameter)), "unknown stays unknown"


MODEL = ErrorModel(geometry_noise=6.0, texture_noise=4.0, pixel=0.3, blend=5.0, print=0.1, turn=0.5, weak=0.2,
                   depth=0.3, scale=1.0, slip=0.2)
SPIN = np.array([0, 0, 0, 0, 0, 1.0])


def conditions(**changes: object) -> Conditions:
    """Contour and depth see everything but the spin about the view axis, which texture holds."""
    geometry = np.diag([1e8, 1e8, 1e8, 1e6, 1e6, 0.0])
    values = {"geometry": geometry, "texture": 1e6 * np.outer(SPIN, SPIN), "variance": 0.1, "blended": 0.0,
              "measured": 1.0, "innovation": 0.0, "distance": 0.5, "focal_px": 600.0, "diameter": 0.1,
              "free": np.zeros(3)} | changes
    return Conditions(**{name: np.asarray(value, float) for name, value in values.items()})


def deviations(c: Conditions, key: float = 0.0) -> np.ndarray:
    return np.sqrt(np.diag(MODEL.covariance(c, key * np.eye(6))))


def test_texture_holds_a_pose_no_better_than_its_key_frame_was_known() -> None:
    sure, drifted, gone = deviations(conditions()), deviations(conditions(), 0.1**2), deviations(
        conditions(texture=np.zeros((6, 6))))
    assert sure[5] < np.radians(1) and drifted[5] == pytest.approx(0.1, rel=0.05)
    assert gone[5] == pytest.approx(UNKNOWN_TURN, rel=0.01), "nothing says how far it has turned"
    np.testing.assert_allclose(drifted[:5], sure[:5], rtol=1e-3)


def test_errors_grow_with_what_makes_them() -> None:
    plain = deviations(conditions())
    assert (deviations(conditions(variance=1.0)) >= plain).all()
    assert deviations(conditions(blended=0.5))[0] > 3 * plain[0], "blended colours move the contour"
    assert deviations(conditions(measured=0.0))[2] > 2 * plain[2], "without depth the distance comes from the size"
    assert deviations(conditions(distance=1.0, geometry=conditions().geometry / 4))[0] > 1.5 * plain[0]


def test_a_surprise_makes_the_key_frame_less_certain_and_a_foreseen_step_does_not() -> None:
    key = 1e-6 * np.eye(6)
    np.testing.assert_array_equal(MODEL.drifted(key, np.float64(0.04), np.float64(0.1)), key)
    grown = MODEL.drifted(key, np.float64(0.55), np.float64(0.1))
    np.testing.assert_allclose(np.sqrt(np.diag(grown - key)), [0.2 * 0.5 * 0.1] * 3 + [0.2 * 0.5 * 2] * 3)


def test_short_lever_arms_hold_nothing_and_sharing_does_not_average_out() -> None:
    fake = np.diag([1e8] * 3 + [1e6, 1e6, 1e2])  # contour and depth seem to hold the spin to 6 degrees
    c = conditions(geometry=fake, texture=np.zeros((6, 6)))
    assert deviations(c)[5] > 0.7 * UNKNOWN_TURN and deviations(c)[4] < np.radians(1)
    often = conditions(geometry=1e4 * conditions().geometry, texture=1e4 * conditions().texture)
    assert deviations(often)[3] > 0.1 * deviations(conditions())[3], "a hundred times sharper is not believed"


def test_a_free_turn_is_reported_as_unknown_however_much_the_image_seems_to_say() -> None:
    axis = np.array([0.6, 0.0, 0.8])
    full = conditions(geometry=np.diag([1e8] * 3 + [1e6] * 3), free=axis)
    p = MODEL.covariance(full, np.zeros((6, 6)))[3:, 3:]
    across = np.array([0.8, 0.0, -0.6])
    assert np.sqrt(axis @ p @ axis) == pytest.approx(UNKNOWN_TURN, rel=0.01)
    assert np.sqrt(across @ p @ across) < np.radians(1)


def test_many_frames_at_once_are_the_same_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    singles, keys = [], []
    for k in range(5):
        root = rng.normal(size=(2, 6, 6)) * 1e3
        axis = rng.normal(size=3)
        singles.append(conditions(geometry=root[0] @ root[0].T, texture=root[1] @ root[1].T,
                                  variance=rng.uniform(0, 1), blended=rng.uniform(), measured=rng.uniform(),
                                  free=axis / np.linalg.norm(axis) if k % 2 else np.zeros(3)))
        keys.append(rng.uniform(0, 1e-4) * np.eye(6))
    together = Conditions(**{f.name: np.stack([getattr(c, f.name) for c in singles]) for f in fields(Conditions)})
    many = MODEL.covariance(together, np.stack(keys))
    for k, c in enumerate(singles):
        one = MODEL.covariance(c, keys[k])
        np.testing.assert_allclose(many[k], one, rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(one, one.T, atol=1e-12)
        assert np.linalg.eigvalsh(one)[0] > 0


@pytest.mark.parametrize("seed", range(6))
def test_the_compiled_covariance_of_one_fit_is_that_of_the_error_model(seed: int) -> None:
    """The slow twin: drift of the key frame, its axes turned into the camera's, then the covariance of many fits."""
    rng = np.random.default_rng(seed)
    geometry, texture, root = ((lambda a: a @ a.T)(rng.normal(size=(6, 6)) * size) for size in (1e4, 1e3, 1e-3))
    texture *= seed > 0  # without a key frame there is none
    cam_from_obj = pose(rng.normal(size=3), (0.05, 0.0, rng.uniform(0.3, 2.0)))
    center, axis = rng.normal(size=3) * 0.01, np.array([0.6, 0.0, 0.8]) * (seed % 2)
    variance, contrast, measured, innovation = rng.uniform(0.0, 1.0, 4)
    rotation, diameter, focal = cam_from_obj[:3, :3], 0.12, 600.0
    wanted_key = MODEL.drifted(root, innovation, diameter)
    wanted = MODEL.covariance(conditions(
        geometry=geometry, texture=texture, variance=variance, blended=1.0 - contrast, measured=measured,
        distance=rotation[2] @ center + cam_from_obj[2, 3], focal_px=focal, diameter=diameter, free=rotation @ axis),
        turned_axes(wanted_key, rotation))
    covariance, key = covariance_kernel(geometry + texture, texture, (variance, contrast, measured, innovation),
                                        cam_from_obj, center, diameter, focal, axis, root, astuple(MODEL))
    np.testing.assert_allclose(key, wanted_key, rtol=1e-12)
    np.testing.assert_allclose(covariance, wanted, rtol=1e-6, atol=1e-9 * np.abs(wanted).max())


def test_the_adjoint_is_the_matrix_product_of_the_textbook() -> None:
    rng = np.random.default_rng(2)
    root, center, adjoint = rng.normal(size=(6, 6)), rng.normal(size=3), np.eye(6)
    adjoint[:3, 3:] = skew(center)
    at_center = root @ root.T
    found = left_covariance(at_center, center)
    np.testing.assert_allclose(found, adjoint @ at_center @ adjoint.T, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(found, found.T)


def test_other_axes_describe_the_same_ellipsoid() -> None:
    rng = np.random.default_rng(1)
    root = rng.normal(size=(6, 6))
    covariance, rotation = root @ root.T, so3_exp(rng.normal(size=3))
    both = np.kron(np.eye(2), rotation)
    np.testing.assert_allclose(turned_axes(covariance, rotation), both @ covariance @ both.T)
    np.testing.assert_allclose(turned_axes(turned_axes(covariance, rotation), rotation.T), covariance)


def test_a_single_frame_knows_what_it_sees_and_says_what_it_does_not() -> None:
    """A wedge is held by contour and depth; nothing but its print holds a can against turning about its axis."""
    rng = np.random.default_rng(3)
    seen = {}
    for model, cam_from_obj in ((wedge(), swing(1)[0]), (printed_can(), pose((1.2, 0.1, 0.0), (0.0, 0.0, 0.5)))):
        frame = observe(model, cam_from_obj, 0, background(rng), rng)
        covariance = single_frame_covariance(frame, model, cam_from_obj)
        at_center = left_covariance(covariance, -center_of(model, cam_from_obj))
        seen[model.name] = turned_axes(at_center, cam_from_obj[:3, :3].T)
        assert np.linalg.eigvalsh(covariance)[0] > 0
    assert np.sqrt(np.diag(seen["wedge"])[:3].max()) < 0.002
    assert np.degrees(np.sqrt(np.diag(seen["wedge"])[3:].max())) < 3
    about, *across = np.degrees(np.sqrt(np.diag(seen["can"])[[5, 3, 4]]))
    assert about > 5 and max(across) < 2
