"""Laws of SE(3) and of the pinhole camera."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storm_core.errors import InputError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.pose import (
    angle_between,
    from_rotation_translation,
    inverse,
    require_pose,
    se3_exp,
    se3_log,
    so3_exp,
    so3_log,
    transform,
)
from storm_core.geometry.turn import angle_kernel

finite = st.floats(-2.0, 2.0, allow_subnormal=False)
vector = st.tuples(finite, finite, finite).map(np.array)


@st.composite
def rotation_vectors(draw: st.DrawFn) -> np.ndarray:
    """Angles in [0, pi), often tiny or nearly pi, where formulas break."""
    axis = draw(vector.filter(lambda v: np.linalg.norm(v) > 1e-3))
    angle = draw(st.one_of(st.floats(0, 3.1), st.floats(0, 1e-6), st.floats(3.13, 3.1415)))
    return axis / np.linalg.norm(axis) * angle


twists = st.tuples(vector, rotation_vectors()).map(np.concatenate)
poses = twists.map(se3_exp)


@given(rotation_vectors())
def test_so3_exp_is_a_rotation_by_the_norm_of_the_vector(w: np.ndarray) -> None:
    r = so3_exp(w)
    assert np.allclose(r @ r.T, np.eye(3), atol=1e-12) and np.linalg.det(r) == pytest.approx(1)
    assert np.allclose(r @ w, w, atol=1e-12)
    assert angle_between(r, np.eye(3)) == pytest.approx(np.linalg.norm(w), abs=1e-9)


@given(rotation_vectors())
def test_so3_log_undoes_exp(w: np.ndarray) -> None:
    assert np.allclose(so3_log(so3_exp(w)), w, atol=1e-7)


@given(twists)
def test_se3_log_undoes_exp(xi: np.ndarray) -> None:
    assert np.allclose(se3_log(se3_exp(xi)), xi, atol=1e-6)


@given(twists, st.integers(2, 6))
def test_se3_exp_of_a_multiple_is_the_power(xi: np.ndarray, n: int) -> None:
    assert np.allclose(se3_exp(n * xi), np.linalg.matrix_power(se3_exp(xi), n), atol=1e-9)


@given(twists)
def test_se3_exp_matches_the_power_series(xi: np.ndarray) -> None:
    a = np.zeros((4, 4))
    a[:3, :3] = np.cross(np.eye(3), xi[3:])
    a[:3, 3] = xi[:3]
    term, total = np.eye(4), np.eye(4)
    for k in range(1, 40):
        term = term @ a / k
        total = total + term
    assert np.allclose(se3_exp(xi), total, atol=1e-8)


@given(poses, poses, vector)
def test_group_laws(a: np.ndarray, b: np.ndarray, p: np.ndarray) -> None:
    assert np.allclose(inverse(a) @ a, np.eye(4), atol=1e-9)
    assert np.allclose(inverse(a @ b), inverse(b) @ inverse(a), atol=1e-9)
    assert np.allclose(transform(a @ b, p[None]), transform(a, transform(b, p[None])), atol=1e-9)
    assert require_pose(a @ b).shape == (4, 4)


@given(poses, poses, poses)
def test_angle_is_a_metric_that_no_common_turn_changes(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    assert angle_between(a, b) == pytest.approx(angle_between(b, a), abs=1e-9)
    assert angle_between(c @ a, c @ b) == pytest.approx(angle_between(a, b), abs=1e-7)
    assert angle_between(a, c) <= angle_between(a, b) + angle_between(b, c) + 1e-9


@given(st.lists(twists, min_size=1, max_size=4))
def test_batches_equal_single_calls(xis: list[np.ndarray]) -> None:
    batch = np.array(xis)
    assert np.allclose(se3_exp(batch), [se3_exp(x) for x in xis])
    assert np.allclose(inverse(se3_exp(batch)), [inverse(se3_exp(x)) for x in xis])
    assert np.allclose(se3_log(se3_exp(batch)), [se3_log(se3_exp(x)) for x in xis])
    first = se3_exp(xis[0])
    for one in (angle_between, angle_kernel):
        assert np.allclose(angle_between(se3_exp(batch), first), [one(se3_exp(x), first) for x in xis])


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.eye(3), np.diag([1.0, 1, -1, 1]), np.full((4, 4), np.nan)])
def test_require_pose_refuses(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="the pose of test"):
        require_pose(bad, "the pose of test")


cameras = st.builds(
    lambda w, h, f, ratio, cx, cy: PinholeCamera(w, h, f * w, f * w * ratio, cx * w, cy * h),
    st.integers(64, 2000), st.integers(64, 2000), st.floats(0.4, 3), st.floats(0.8, 1.25), st.floats(0.2, 0.8),
    st.floats(0.2, 0.8))
pixel = st.tuples(st.floats(-100, 2000), st.floats(-100, 2000)).map(np.array)


@given(cameras, pixel, st.floats(0.05, 20))
def test_back_projection_undoes_projection(camera: PinholeCamera, px: np.ndarray, z: float) -> None:
    point = camera.back_project(px, z)
    assert point[2] == pytest.approx(z)
    assert np.allclose(camera.project(point), px, atol=1e-6)
    homogeneous = camera.matrix @ point
    assert np.allclose(homogeneous[:2] / homogeneous[2], px, atol=1e-6)


@given(cameras, st.floats(0, 50), st.floats(0, 50), st.floats(0.2, 4))
def test_crop_camera_sees_the_same_rays(camera: PinholeCamera, x0: float, y0: float, scale: float) -> None:
    point = camera.back_project(np.array([x0 + 3.0, y0 + 4.0]), 1.0)
    crop = camera.crop(x0, y0, scale, camera.width, camera.height)
    assert np.allclose(crop.project(point), np.array([3.0, 4.0]) * scale, atol=1e-6)


@given(cameras, st.integers(1, 4))
def test_resized_camera_keeps_the_corners_of_the_image(camera: PinholeCamera, factor: int) -> None:
    small = camera.resized(camera.width * factor, camera.height * factor)
    # Pixel centres are at integers, so the image spans from -0.5 to size - 0.5, before and after.
    for share in (0.0, 0.25, 1.0):
        px = np.array([share * camera.width - 0.5, share * camera.height - 0.5])
        target = np.array([share * small.width - 0.5, share * small.height - 0.5])
        assert np.allclose(small.project(camera.back_project(px, 2.0)), target, atol=1e-6)


def test_points_behind_the_camera_have_no_pixel() -> None:
    camera = PinholeCamera(640, 480, 600, 600, 320, 240)
    assert np.isnan(camera.project([[0, 0, -1.0], [0, 0, 0.0]])).all()


@pytest.mark.parametrize("values, word", [
    ((0, 480, 600, 600, 320, 240), "size"), ((640, 480, 0, 600, 320, 240), "camera_info"),
    ((640, 480, float("nan"), 600, 320, 240), "camera_info"), ((640, 480, 600, 600, 3200, 240), "another image size"),
    ((640, 480, 0.6, 0.6, 320, 240), "pixels"), ((640, 480, 600, 60, 320, 240), "implausible"),
])
def test_wrong_intrinsics_are_refused_with_the_remedy(values: tuple[float, ...], word: str) -> None:
    width, height, fx, fy, cx, cy = values
    with pytest.raises(InputError, match=word):
        PinholeCamera.from_matrix([fx, 0, cx, 0, fy, cy, 0, 0, 1], width, height)


def test_matrix_must_have_nine_numbers() -> None:
    with pytest.raises(InputError, match="9 numbers, got 4"):
        PinholeCamera.from_matrix([600, 600, 320, 240], 640, 480)
    camera = PinholeCamera(640, 480, 600, 610, 320, 240)
    assert PinholeCamera.from_matrix(camera.matrix, 640, 480) == camera


def test_rotation_and_translation_broadcast() -> None:
    out = from_rotation_translation(np.eye(3), np.zeros((5, 3)))
    assert out.shape == (5, 4, 4) and (out == np.eye(4)).all()
