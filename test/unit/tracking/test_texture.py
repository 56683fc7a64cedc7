"""Texture terms: derivative, and what a key frame remembers."""

import numpy as np

from storm_core.geometry.pose import angle_between, se3_exp
from storm_core.tracking import texture
from storm_core.tracking.optimise import center_of, moved, tolerance
from storm_core.tracking.sparse_model import rendered_view
from test.unit.tracking.scenes import CAMERA, background, observe, printed_can, swing, wedge
from test.unit.tracking.terms import add_texture

CAN = printed_can()
POSE = swing(1)[0]
RNG = np.random.default_rng(4)
FRAME = observe(CAN, POSE, 0, background(RNG), RNG)
VIEW = rendered_view(CAN, POSE, CAMERA)
TOLERANCE = 2 * tolerance(CAN.diameter)


def test_brightness_terms_are_the_derivative_of_the_image_at_the_moved_points() -> None:
    key = texture.make_key_frame(FRAME, VIEW, POSE, TOLERANCE)
    assert key is not None
    pivot = center_of(CAN, POSE)

    def look(pose: np.ndarray) -> np.ndarray:
        return texture.look(FRAME, key.points, key.normals, pose, 0, 1.0)

    seen = look(POSE)
    # The image is only piecewise smooth: differences over about half a pixel are compared with the gradient there.
    columns = []
    for axis in range(6):
        xi = np.zeros(6)
        xi[axis] = 1e-3 if axis < 3 else 0.02
        columns.append((look(moved(POSE, pivot, xi))[:, 1] - look(moved(POSE, pivot, -xi))[:, 1]) / (2 * xi[axis]))
    numeric = np.stack(columns, 1)
    hessian, gradient = np.zeros((6, 6)), np.zeros(6)
    # With reference = brightness + a slope of the numeric model, Gauss-Newton must find that very increment.
    wanted = np.array([2e-4, -1e-4, 1e-4, 0.002, 0.001, -0.003])
    used = texture.texture_kernel(
        seen, seen[:, 1] + numeric @ wanted, CAMERA.vector, pivot, 4.0, 1.0, hessian, gradient
    )
    assert used > 50
    found = np.linalg.solve(hessian + 1e-6 * np.diag(np.diag(hessian)), gradient)
    scale = np.array([1e-3] * 3 + [0.02] * 3)
    assert np.abs((found - wanted) / scale).max() < 0.1


def test_gain_and_offset_of_the_light_do_not_move_the_object() -> None:
    key = texture.make_key_frame(FRAME, VIEW, POSE, TOLERANCE)
    assert key is not None
    seen = texture.look(FRAME, key.points, key.normals, POSE, 0, TOLERANCE)
    hessian, gradient = np.zeros((6, 6)), np.zeros(6)
    assert (
        texture.texture_kernel(
            seen, 0.7 * key.brightness[0] + 30, CAMERA.vector, center_of(CAN, POSE), 4.0, 1.0, hessian, gradient
        )
        > 50
    )
    assert np.linalg.norm(np.linalg.solve(hessian + 1e-9 * np.eye(6) * np.trace(hessian), gradient)) < 1e-6


def test_the_small_picture_catches_turns_that_the_large_one_cannot() -> None:
    key = texture.make_key_frame(FRAME, VIEW, POSE, TOLERANCE)
    assert key is not None
    pivot, axis = center_of(CAN, POSE), POSE[:3, 2]
    offset = np.concatenate([np.zeros(3), np.radians(15.0) * axis])
    left = []
    for level in (0, 1):
        pose = moved(POSE, pivot, offset)
        for _ in range(10):
            hessian, gradient = np.zeros((6, 6)), np.zeros(6)
            add_texture(FRAME, key, pose, pivot, TOLERANCE, hessian, gradient, level)
            step = (axis @ gradient[3:]) / max(axis @ hessian[3:, 3:] @ axis, 1e-9)
            pose = moved(pose, pivot, np.concatenate([np.zeros(3), step * axis]))
        left.append(float(np.degrees(angle_between(pose, POSE))))
    assert left[0] > 10.0 and left[1] < 1.0


def test_a_plain_object_has_no_key_frame() -> None:
    plain = observe(wedge(), POSE, 0, np.full((CAMERA.height, CAMERA.width, 3), 128, np.uint8), RNG)
    flat = type(plain)(rgb=np.full_like(plain.rgb, 100), depth=plain.depth, camera=plain.camera, stamp_ns=0)
    assert texture.make_key_frame(flat, rendered_view(wedge(), POSE, CAMERA), POSE, TOLERANCE) is None


def test_a_key_frame_serves_until_the_object_has_turned_or_come_nearer() -> None:
    key = texture.make_key_frame(FRAME, VIEW, POSE, TOLERANCE)
    assert key is not None
    pivot = center_of(CAN, POSE)
    assert key.still_fits(moved(POSE, pivot, np.array([0.02, 0, 0.02, 0, 0.1, 0])))
    assert not key.still_fits(moved(POSE, pivot, np.array([0, 0, 0, 0, 0.3, 0])))
    assert not key.still_fits(se3_exp([0, 0, -0.15, 0, 0, 0]) @ POSE)


def test_likeness_is_high_where_the_print_is_and_low_where_it_is_not() -> None:
    key = texture.make_key_frame(FRAME, VIEW, POSE, TOLERANCE)
    assert key is not None
    axis = np.concatenate([np.zeros(3), POSE[:3, 2]])
    turned = [key.likeness(FRAME, moved(POSE, center_of(CAN, POSE), np.radians(a) * axis), TOLERANCE) for a in (0, 40)]
    assert turned[0] > 0.99 and turned[1] < 0.5
    away = se3_exp([3.0, 0, 0, 0, 0, 0]) @ POSE
    assert key.likeness(FRAME, away, TOLERANCE) == 0.0
