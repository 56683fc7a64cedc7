"""The analytic score: twin, derivative of its own log-likelihood, direction."""

import numpy as np
import pytest

from storm_core.score_model.sampler import center_of, moved, tangent
from storm_core.score_model.score import CORRELATION, CUT, DepthScore
from storm_core.types import Frame
from test.unit.tracking.scenes import CAMERA, background, disturbed, observe, swing, wedge

MODEL = wedge()
POSE = swing(1)[0]


@pytest.fixture(scope="module")
def frame() -> Frame:
    rng = np.random.default_rng(7)
    return observe(MODEL, POSE, 0, background(rng), rng)


def poses(count: int = 3) -> np.ndarray:
    rng = np.random.default_rng(2)
    return np.stack(
        [disturbed(POSE, rng.normal(0, 0.003, 3), rng.normal(0, 0.04, 3), MODEL.center) for _ in range(count)]
    )


def twin(
    frame: Frame, points: np.ndarray, normals: np.ndarray, pose: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Score, curvature and log-likelihood of one pose in plain NumPy."""
    x, n = points @ pose[:3, :3].T + pose[:3, 3], normals @ pose[:3, :3].T
    u, v = np.floor(CAMERA.project(x) + 0.5).astype(int).T
    seen = frame.depth[v, u] > 0
    x, n, u, v = x[seen], n[seen], u[seen], v[seen]
    measured = CAMERA.back_project(np.stack([u, v], 1), frame.depth[v, u])
    facing = np.sum(n * measured, 1) / measured[:, 2] <= -0.1
    x, n, measured = x[facing], n[facing], measured[facing]
    reach = CUT * width
    e = np.sum(n * (measured - x), 1)
    near = (np.abs(e) < reach) & (np.abs(measured[:, 2] - x[:, 2]) <= 2 * reach)
    inside = np.where(near, 1 - (e / reach) ** 2, 0.0)
    scale = 1 / (width**2 * CORRELATION)
    j = np.concatenate([n, np.cross(x - center_of(MODEL, pose[None]), n)], 1)
    w = inside**2 * scale
    return (j * (w * e)[:, None]).sum(0), (j * w[:, None]).T @ j, float(-(reach**2) * scale / 6 * np.sum(1 - inside**3))


@pytest.mark.parametrize("width", [0.002, 0.01])
def test_kernel_agrees_with_its_slow_twin(frame: Frame, width: float) -> None:
    score = DepthScore(frame, MODEL)
    batch = poses()
    score.render(batch)
    points, normals, numbers = score._visible
    scores, curvature, log_likelihood = score(batch, width)
    for k, pose in enumerate(batch):
        s, h, ll = twin(frame, points[k, : numbers[k]], normals[k, : numbers[k]], pose, width)
        np.testing.assert_allclose(scores[k], s, rtol=1e-6, atol=1e-6 * np.abs(s).max())
        np.testing.assert_allclose(curvature[k], h, rtol=1e-6, atol=1e-6 * np.abs(h).max())
        assert log_likelihood[k] == pytest.approx(ll, rel=1e-6)


def test_score_is_the_gradient_of_the_log_likelihood_on_a_plane() -> None:
    """On a fronto-parallel plane pixel rounding does not matter: the analytic score equals the numerical gradient."""
    depth = np.full((CAMERA.height, CAMERA.width), POSE[2, 3], np.float32)
    plane = Frame(rgb=np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), depth=depth, camera=CAMERA, stamp_ns=0)
    score = DepthScore(plane, MODEL)
    pose = POSE[None].copy()
    score.render(pose)
    points, normals, numbers = score._visible
    # Points on one plane of the object that faces the camera.
    flat = np.random.default_rng(0).uniform(-0.03, 0.03, (60, 3))
    flat[:, 2] = 0.001
    inverse_turn = POSE[:3, :3].T
    score._visible = ((flat @ inverse_turn.T)[None], np.tile(inverse_turn @ [0, 0, -1.0], (1, 60, 1)), np.array([60]))
    analytic, _, _ = score(pose, 0.01)
    numeric = np.zeros(6)
    for axis in range(3):
        xi = np.zeros((1, 6))
        xi[0, axis] = 1e-6
        numeric[axis] = (score(moved(MODEL, pose, xi), 0.01)[2][0] - score(moved(MODEL, pose, -xi), 0.01)[2][0]) / 2e-6
    np.testing.assert_allclose(analytic[0, :3], numeric[:3], rtol=1e-3, atol=1e-3 * np.abs(numeric).max())
    assert len(points) == 1 and numbers[0] > 50


def test_score_points_uphill(frame: Frame) -> None:
    score = DepthScore(frame, MODEL)
    batch = poses(8)
    score.render(batch)
    scores, curvature, before = score(batch, 0.01)
    step = np.linalg.solve(curvature + 1e-3 * np.trace(curvature[0]) * np.eye(6), scores[..., None])[..., 0]
    after = score(moved(MODEL, batch, 0.3 * step), 0.01)[2]
    assert np.sum(after > before) >= 7  # looking depth up at the nearest pixel makes the likelihood slightly rough
    assert np.mean(after) > np.mean(before)


def test_moved_and_tangent_are_inverse() -> None:
    xi = np.random.default_rng(0).normal(0, 0.1, (5, 6))
    out = moved(MODEL, np.repeat(POSE[None], 5, 0), xi)
    np.testing.assert_allclose(tangent(MODEL, POSE, out), xi, atol=1e-10)
