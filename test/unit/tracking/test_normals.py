"""Normals of the whole picture, and of a part of it only."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from storm_core.evidence.features import features_around, frame_features
from storm_core.geometry.camera import PinholeCamera
from storm_core.types import Frame

CAMERA = PinholeCamera(160, 120, 150.0, 140.0, 83.3, 57.1)


def plane(normal: np.ndarray, distance: float) -> Frame:
    """normal . X = distance, filling the picture."""
    v, u = np.mgrid[:CAMERA.height, :CAMERA.width]
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], -1)
    depth = (distance / (rays @ normal)).astype(np.float32)
    return Frame(rgb=np.zeros((*u.shape, 3), np.uint8), depth=depth, camera=CAMERA, stamp_ns=1)


TILTED = np.array([0.3, -0.2, 1.0]) / np.linalg.norm([0.3, -0.2, 1.0])
FRAME = plane(TILTED, 0.8)


def test_the_normal_of_a_plane():
    normal = frame_features(FRAME).normal
    assert normal.shape == (60, 80, 3)
    np.testing.assert_allclose(normal[5:-5, 5:-5], np.broadcast_to(-TILTED, (50, 70, 3)), atol=1e-3)


@given(st.tuples(st.floats(-0.5, 0.5), st.floats(-0.4, 0.4), st.floats(0.3, 1.2)), st.floats(0.01, 0.4),
       st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_whatever_shows_a_point_of_the_ball_has_its_normal(center, radius, seed):
    whole, part = frame_features(FRAME).normal, features_around(FRAME, np.array(center), radius).normal
    known = part.any(axis=2)
    assert np.array_equal(part[known], whole[known])
    directions = np.random.default_rng(seed).normal(size=(200, 3))
    points = np.array(center) + radius * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    points = points[points[:, 2] > 1e-6]
    u = np.floor(CAMERA.fx * points[:, 0] / points[:, 2] + CAMERA.cx + 0.5)
    v = np.floor(CAMERA.fy * points[:, 1] / points[:, 2] + CAMERA.cy + 0.5)
    seen = (u >= 0) & (u < CAMERA.width) & (v >= 0) & (v < CAMERA.height)
    at = v[seen].astype(int) // 2, u[seen].astype(int) // 2
    assert np.array_equal(part[at], whole[at])


def test_a_small_ball_costs_little():
    assert features_around(FRAME, np.array([0.0, 0.0, 0.8]), 0.05).normal.any(axis=2).mean() < 0.05
