"""Gauss-Newton terms: derivatives against numerical ones, kernels against slow NumPy twins."""

import numpy as np
import pytest

from storm_core.geometry.pose import se3_exp, transform
from storm_core.tracking import region
from storm_core.tracking.histogram import LEARNING_RATE, PRIOR_COUNT, ColorModel, count
from storm_core.tracking.optimise import align, center_of, moved, tolerance
from storm_core.tracking.sparse_model import SparseView, rendered_view
from storm_core.types import Frame
from test.unit.tracking.scenes import CAMERA, background, disturbed, observe, swing, wedge
from test.unit.tracking.terms import add_depth, measure_lines

MODEL = wedge()
POSE = swing(1)[0]


@pytest.fixture(scope="module")
def frame() -> Frame:
    rng = np.random.default_rng(3)
    return observe(MODEL, POSE, 0, background(rng), rng)


@pytest.fixture(scope="module")
def view() -> SparseView:
    return rendered_view(MODEL, POSE, CAMERA)


def test_contour_points_project_onto_the_silhouette_border_with_outward_normals(view: SparseView) -> None:
    px = CAMERA.project(transform(POSE, view.contour_points))
    normals = (view.contour_normals @ POSE[:3, :3].T)[:, :2]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    from storm_core.rendering.raster import NumbaRenderer

    mask = NumbaRenderer().render(MODEL, POSE[None], CAMERA).mask[0]
    for offset, inside in ((-2.0, True), (2.0, False)):
        u, v = np.rint(px + offset * normals).astype(int).T
        assert np.mean(mask[v, u] == inside) > 0.93
    assert len(px) > 80


def test_surface_points_lie_on_the_mesh_and_face_the_camera(view: SparseView) -> None:
    points = transform(POSE, view.surface_points)
    normals = view.surface_normals @ POSE[:3, :3].T
    assert np.all(np.sum(points * normals, axis=1) < 0)
    from storm_core.rendering.raster import NumbaRenderer

    rendered, _ = NumbaRenderer().depth(MODEL, POSE[None], CAMERA)
    u, v = np.rint(CAMERA.project(points)).astype(int).T
    error = np.abs(rendered[0, v, u] - points[:, 2])
    # A pixel is 1.8 mm wide here: reading the render at the nearest pixel costs up to half of that on slanted faces.
    assert np.median(error) < 1e-3 and len(points) > 100


def numeric(function, pivot: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Derivative (N, 6) of residuals (N,) of a pose by a left increment at `pivot`."""
    columns = []
    for axis in range(6):
        values = []
        for sign in (1.0, -1.0):
            xi = np.zeros(6)
            xi[axis] = sign * step
            shift = np.eye(4)
            shift[:3, 3] = pivot
            back = np.eye(4)
            back[:3, 3] = -pivot
            values.append(function(shift @ se3_exp(xi) @ back @ POSE))
        columns.append((values[0] - values[1]) / (2 * step))
    return np.stack(columns, 1)


def test_region_terms_are_the_derivative_of_the_projected_contour(frame: Frame, view: SparseView) -> None:
    colors = ColorModel(count(frame, view, tolerance(MODEL.diameter)))
    table, geometry = measure_lines(frame, view, POSE, colors.posterior, 2, 0.02, 0.05)
    used = table[:, region.USED] > 0
    pivot = center_of(MODEL, POSE)
    hessian, gradient = np.zeros((6, 6)), np.zeros(6)
    region.accumulate_kernel(table, geometry, CAMERA.vector, pivot, 1.0, hessian, gradient)
    points, normals = view.contour_points[used], geometry[used, 2:4]
    jacobian = numeric(lambda pose: np.sum(CAMERA.project(transform(pose, points)) * normals, axis=1), pivot)
    weight = 1.0 / (table[used, region.VARIANCE] + 1.0)
    np.testing.assert_allclose(hessian, (jacobian * weight[:, None]).T @ jacobian, rtol=1e-4, atol=1e-4 * hessian.max())
    expected = (jacobian * (weight * table[used, region.DISTANCE])[:, None]).sum(0)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5 * np.abs(gradient).max())


def depth_twin(
    frame: Frame, view: SparseView, pose: np.ndarray, pivot: np.ndarray, sigma: float, gate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Hessian and gradient of the depth modality in plain NumPy."""
    x, n = transform(pose, view.surface_points), view.surface_normals @ pose[:3, :3].T
    u, v = np.floor(CAMERA.project(x) + 0.5).astype(int).T
    inside = (u >= 0) & (v >= 0) & (u < CAMERA.width) & (v < CAMERA.height)
    x, n, u, v = x[inside], n[inside], u[inside], v[inside]
    measured = CAMERA.back_project(np.stack([u, v], 1), frame.depth[v, u])
    rays = CAMERA.back_project(np.stack([u, v], 1), np.ones(len(u)))
    e = np.sum(n * (measured - x), 1)
    keep = (
        (frame.depth[v, u] > 0)
        & (np.abs(measured[:, 2] - x[:, 2]) <= gate)
        & (np.sum(n * rays, 1) <= -0.15)
        & (np.abs(e) < gate)
    )
    j = np.concatenate([n, np.cross(x - pivot, n)], 1)[keep]
    w = (1 - (e[keep] / gate) ** 2) ** 2 / sigma**2
    return (j * w[:, None]).T @ j, (j * (w * e[keep])[:, None]).sum(0)


def test_depth_kernel_agrees_with_its_slow_twin(frame: Frame, view: SparseView) -> None:
    pose = disturbed(POSE, np.array([0.002, -0.001, 0.003]), np.array([0.02, -0.03, 0.01]), MODEL.center)
    pivot = center_of(MODEL, pose)
    hessian, gradient = np.zeros((6, 6)), np.zeros(6)
    add_depth(frame, view, pose, pivot, 0.002, 0.02, 0.006, hessian, gradient)
    expected_h, expected_g = depth_twin(frame, view, pose, pivot, 0.002, 0.02)
    np.testing.assert_allclose(hessian, expected_h, rtol=1e-6, atol=1e-6 * np.abs(expected_h).max())
    np.testing.assert_allclose(gradient, expected_g, rtol=1e-6, atol=1e-6 * np.abs(expected_g).max())


def test_depth_gradient_points_back_to_the_truth(frame: Frame, view: SparseView) -> None:
    """The full step of a small disturbance undoes it: sign and scale of the Jacobian are right."""
    pose = disturbed(POSE, np.array([0.001, 0.001, -0.002]), np.array([0.01, 0.01, -0.01]), MODEL.center)
    pivot = center_of(MODEL, pose)
    hessian, gradient = np.zeros((6, 6)), np.zeros(6)
    add_depth(frame, view, pose, pivot, 0.002, 0.02, 0.006, hessian, gradient)
    before = np.linalg.norm(pose - POSE)
    after = moved(pose, pivot, np.linalg.solve(hessian + 1e-3 * np.diag(np.diag(hessian)), gradient))
    assert np.linalg.norm(after - POSE) < 0.5 * before


def segments_twin(
    frame: Frame, q: np.ndarray, inner: float, outer: float, odds: np.ndarray, scale: int, behind: float
) -> np.ndarray:
    """Foreground probability (SEGMENTS,) of one line in plain NumPy: every pixel of the line at once."""
    along = np.arange(region.SEGMENTS * scale) - 0.5 * (region.SEGMENTS * scale - 1)
    x, y = np.floor(q[:2, None] + along * q[2:4, None] + 0.5).astype(int)
    inside = (x >= 0) & (y >= 0) & (x < CAMERA.width) & (y < CAMERA.height)
    x, y = np.where(inside, x, 0), np.where(inside, y, 0)
    depth, near, far = frame.depth[y, x], np.float32(q[6]) - np.float32(behind), np.float32(q[6]) + np.float32(behind)
    votes = odds[(frame.rgb[y, x].astype(int) >> 4) @ np.array([256, 16, 1])]
    votes = np.where(depth > far, np.minimum(votes, 1 / 9), votes)
    votes = np.where(inside & ~((depth > 0) & (depth < near)), votes, 1.0)
    total = votes.reshape(region.SEGMENTS, scale).prod(1)
    middle = along.reshape(region.SEGMENTS, scale).mean(1)
    return np.where((middle < -inner) | (middle > outer), 0.5, total / (1 + total))


@pytest.mark.parametrize("scale", [1, 2, 5])
def test_the_walk_along_a_line_agrees_with_its_slow_twin(scale: int) -> None:
    """Any colours, depth in front, at, behind and missing; lines across the image border and short runs."""
    rng = np.random.default_rng(scale)
    size = (CAMERA.height, CAMERA.width)
    frame = Frame(rgb=rng.integers(0, 256, (*size, 3)).astype(np.uint8), camera=CAMERA, stamp_ns=0,
                  depth=rng.choice(np.array([0.0, 0.3, 0.5, 0.8], np.float32), size))
    odds = np.exp(rng.uniform(-4, 4, 4096)).astype(np.float32)
    cut, short = 0, 0
    for _ in range(200):
        turn = rng.uniform(0, 2 * np.pi)
        q = np.array([rng.uniform(3, CAMERA.width - 4), rng.uniform(3, CAMERA.height - 4), np.cos(turn), np.sin(turn),
                      0.0, 0.0, 0.5])
        inner, outer = rng.uniform(2.5 * scale, 15.0 * scale, 2)
        out = np.empty(region.SEGMENTS, np.float32)
        region.segment_probabilities(q, inner, outer, frame.rgb, frame.depth, odds, scale, 0.1, out)
        np.testing.assert_allclose(out, segments_twin(frame, q, inner, outer, odds, scale, 0.1), rtol=1e-5)
        reach = 0.5 * region.SEGMENTS * scale
        ends = q[:2] + np.outer([-reach, reach], q[2:4])
        cut += bool((ends < 0).any() or (ends > (CAMERA.width, CAMERA.height)).any())
        short += bool(min(inner, outer) < 0.4 * region.SEGMENTS * scale)
    assert 5 < cut < 200 and 20 < short < 200, "not every case came up"


def posterior_moments(p: np.ndarray) -> tuple[float, float]:
    return region.line_posterior(p.astype(np.float32), region.STEP, np.empty(region.DISTANCE_COUNT, np.float32))


def test_line_posterior_agrees_with_the_product_written_out() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        p = rng.uniform(0.02, 0.98, region.SEGMENTS)
        out = posterior_moments(p)
        likelihood = np.prod(region.STEP * p[:, None] + (1 - region.STEP) * (1 - p[:, None]), axis=0)
        likelihood /= likelihood.sum()
        d = np.arange(region.DISTANCE_COUNT) - (region.DISTANCE_COUNT - 1) / 2
        # The kernel multiplies in float32: two dozen factors cost about 1e-6.
        assert out[0] == pytest.approx(likelihood @ d, abs=1e-5)
        assert out[1] == pytest.approx(likelihood @ d**2 - (likelihood @ d) ** 2, abs=1e-5)


@pytest.mark.parametrize("border", [-3, 0, 2])
def test_a_clean_step_is_found_where_it_is(border: int) -> None:
    r = np.arange(region.SEGMENTS) - (region.SEGMENTS - 1) / 2
    out = posterior_moments(np.where(r < border, 0.95, 0.05))
    assert out[0] == pytest.approx(border, abs=0.6)
    assert out[1] < 1.0


def test_colors_never_seen_stay_undecided_and_known_ones_decide() -> None:
    counts = np.zeros((2, 4096))
    counts[0, 100], counts[1, 200] = 500, 800
    posterior = ColorModel(counts).posterior
    assert posterior[100] > 0.99 and posterior[200] < 0.01 and posterior[300] == pytest.approx(0.5)


def test_colors_are_learnt_at_their_rates_and_not_from_a_handful_of_pixels() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.poisson(0.2, (2, 2, 4096)).astype(float)
    few = np.zeros((2, 4096))
    few[:, :10] = 1.0
    colors = ColorModel(first)
    colors.learn(second, 0.5)
    wanted = first / first.sum(1, keepdims=True)
    rates = np.array([[0.5 * LEARNING_RATE], [LEARNING_RATE]])
    wanted += rates * (second / second.sum(1, keepdims=True) - wanted)
    fg, bg = wanted + PRIOR_COUNT
    np.testing.assert_allclose(colors.posterior, fg / (fg + bg), rtol=1e-6)
    learnt = colors.posterior.copy()
    colors.learn(few, 1.0)
    np.testing.assert_array_equal(colors.posterior, learnt)


def test_an_occluders_colors_are_not_learnt(view: SparseView) -> None:
    rng = np.random.default_rng(3)
    frame = observe(MODEL, POSE, 0, background(rng), rng, occluder=0.5)
    plate = ((70 >> 4) << 8) | ((70 >> 4) << 4) | (75 >> 4)
    counts = count(frame, view, tolerance(MODEL.diameter))
    assert counts[0, plate] < 0.1 * counts[0].sum()


@pytest.mark.parametrize("seed", range(4))
def test_alignment_undoes_a_disturbance(frame: Frame, seed: int) -> None:
    rng = np.random.default_rng(seed)
    view = rendered_view(MODEL, POSE, CAMERA)
    colors = ColorModel(count(frame, view, tolerance(MODEL.diameter)))
    start = disturbed(POSE, rng.uniform(-0.01, 0.01, 3), rng.uniform(-0.1, 0.1, 3), MODEL.center)
    fit = align(frame, MODEL, start, colors.posterior, 6)
    error = transform(fit.cam_from_obj, MODEL.eval_vertices) - transform(POSE, MODEL.eval_vertices)
    assert np.linalg.norm(error, axis=1).max() < 0.002
    assert fit.quality > 1.1
