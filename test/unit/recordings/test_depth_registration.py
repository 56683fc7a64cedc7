"""Depth registration against surfaces whose depth in both cameras is known in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storm_core.errors import InputError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.depth import register_depth
from storm_core.geometry.pose import se3_exp

DEPTH_CAMERA = PinholeCamera(160, 120, 150.0, 151.0, 80.3, 59.2)
COLOR_CAMERA = PinholeCamera(200, 150, 210.0, 208.0, 98.7, 75.4)


def _plane_depth(camera: PinholeCamera, normal: np.ndarray, distance: float) -> np.ndarray:
    """z-depth (H, W) of the plane normal . X = distance."""
    v, u = np.indices((camera.height, camera.width))
    return distance / (camera.back_project(np.stack([u, v], -1), np.ones(u.shape)) @ normal)


@given(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(0.4, 2.0), st.floats(-0.06, 0.06), st.floats(-0.05, 0.05))
def test_a_plane_stays_that_plane(a: float, b: float, distance: float, baseline: float, tilt: float) -> None:
    normal = np.array([a, b, 1.0])
    color_from_depth = se3_exp([baseline, 0.01, -0.01, tilt, 0.02, 0.03])
    depth = _plane_depth(DEPTH_CAMERA, normal, distance).astype(np.float32)
    out = register_depth(depth, DEPTH_CAMERA, color_from_depth, COLOR_CAMERA)
    moved = color_from_depth[:3, :3] @ normal
    expected = _plane_depth(COLOR_CAMERA, moved, distance + moved @ color_from_depth[:3, 3])
    seen = out > 0
    inner = np.zeros_like(seen)
    inner[2:-2, 2:-2] = seen[2:-2, 2:-2] & seen[:-4, 2:-2] & seen[4:, 2:-2] & seen[2:-2, :-4] & seen[2:-2, 4:]
    assert seen.mean() > 0.3
    # Inside the seen area interpolation is exact up to float32 input; its border takes single measurements.
    assert np.abs(out / expected - 1)[inner].max() < 2e-6
    assert np.abs(out / expected - 1)[seen].max() < 0.02


def test_identity_returns_the_measurements() -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.5, 0.52, (DEPTH_CAMERA.height, DEPTH_CAMERA.width)).astype(np.float32)
    depth[40:60, 30:50] = 0
    out = register_depth(depth, DEPTH_CAMERA, np.eye(4), DEPTH_CAMERA)
    assert np.array_equal(out > 0, depth > 0)
    assert np.allclose(out, depth, rtol=1e-6)


def test_the_nearer_surface_hides_the_farther_one() -> None:
    """A box edge 0.3 m before a wall, seen 50 mm from the side: no pixel lies between the two surfaces."""
    depth = np.full((120, 160), 0.9, np.float32)
    depth[30:90, 60:100] = 0.6
    out = register_depth(depth, DEPTH_CAMERA, se3_exp([-0.05, 0, 0, 0, 0, 0]), DEPTH_CAMERA)
    near, far = np.isclose(out, 0.6, atol=1e-5), np.isclose(out, 0.9, atol=1e-5)
    assert (near | far | (out == 0)).all()
    shift = 150.0 * 0.05 / 0.6
    columns = np.flatnonzero(near[60])
    assert columns.min() == pytest.approx(60 - shift, abs=1) and columns.max() == pytest.approx(99 - shift, abs=1)
    # The wall that the box hid from the depth camera stays unknown instead of being invented.
    assert (out[60, columns.max() + 2:columns.max() + 3] == 0).all()


def test_no_holes_when_the_colour_image_is_twice_as_fine() -> None:
    fine = DEPTH_CAMERA.resized(320, 240)
    depth = _plane_depth(DEPTH_CAMERA, np.array([0.1, -0.2, 1.0]), 0.8).astype(np.float32)
    out = register_depth(depth, DEPTH_CAMERA, np.eye(4), fine)
    assert (out[2:-2, 2:-2] > 0).all()


def test_intrinsics_of_another_size_are_refused() -> None:
    with pytest.raises(InputError, match="160x120"):
        register_depth(np.ones((60, 80), np.float32), DEPTH_CAMERA, np.eye(4), COLOR_CAMERA)
