"""The renderer against analytic shapes."""

import numpy as np
import pytest
import trimesh

from storm_core.geometry.camera import PinholeCamera
from storm_core.rendering.raster import NumbaRenderer
from test.synthetic import model_of, pose, textured_box

CAMERA = PinholeCamera(160, 120, 300.0, 310.0, 80.2, 58.7)


def _rays() -> np.ndarray:
    v, u = np.indices((CAMERA.height, CAMERA.width))
    return np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], -1)


def test_sphere_depth_and_normals_are_analytic() -> None:
    radius, center = 0.05, np.array([0.01, -0.02, 0.5])
    mesh = trimesh.creation.icosphere(subdivisions=5, radius=radius)
    r = NumbaRenderer().render(model_of(mesh, "sphere", None), pose((0.3, 0.2, 0.1), tuple(center))[None], CAMERA)
    d = _rays()
    a, b, c = (d**2).sum(-1), -2 * d @ center, center @ center - radius**2
    disc = b * b - 4 * a * c
    z = np.where(disc > 0, (-b - np.sqrt(np.maximum(disc, 0))) / (2 * a), 0)
    both = r.mask[0] & (z > 0)
    assert abs(int(both.sum()) - int((z > 0).sum())) < 0.01 * both.sum()
    normal = (d * z[..., None] - center) / radius
    facing = both & (-(normal * d).sum(-1) / np.linalg.norm(d, axis=-1) > 0.3)
    assert np.abs(r.depth[0] - z)[facing].max() < 2e-4
    assert ((normal * r.normal[0]).sum(-1))[facing].min() > 0.995


def test_plane_depth_is_exact_at_pixel_centres() -> None:
    """A large tilted square: z = d / (n . ray) at integer pixel centres, so a half-pixel shift cannot hide."""
    v = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float)
    mesh = trimesh.Trimesh(v, [[0, 1, 2], [0, 2, 3]], process=False)
    p = pose((0.5, -0.4, 0.2), (0, 0, 1.0))
    depth, face = NumbaRenderer().depth(model_of(mesh, "plane", None), p[None], CAMERA)
    n = p[:3, 2]
    z = (n @ p[:3, 3]) / (_rays() @ n)
    hit = face[0] >= 0
    assert hit.mean() > 0.5
    np.testing.assert_allclose(depth[0][hit], z[hit], rtol=2e-5)


def test_colors_follow_the_vertices() -> None:
    v = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float) * 0.2
    colors = np.array([[0, 0, 0], [200, 0, 0], [200, 100, 0], [0, 100, 0]], np.uint8)
    model = model_of(trimesh.Trimesh(v, [[0, 1, 2], [0, 2, 3]], process=False), "quad", colors)
    p = pose((0, 0, 0), (0, 0, 1.0))
    r = NumbaRenderer().render(model, p[None], CAMERA)
    hit = r.mask[0]
    xy = _rays()[..., :2]
    expected = np.stack([(xy[..., 0] / 0.4 + 0.5) * 200, (xy[..., 1] / 0.4 + 0.5) * 100], -1)
    assert np.abs(r.color[0][..., :2] - expected)[hit].max() <= 1.0


@pytest.mark.parametrize("n", [1, 5])
def test_batch_equals_single(n: int) -> None:
    model = textured_box()
    rng = np.random.default_rng(n)
    poses = np.stack([pose(tuple(rng.normal(0, 1, 3)), (0, 0, 0.4 + 0.1 * i)) for i in range(n)])
    batch = NumbaRenderer().render(model, poses, CAMERA)
    for i in range(n):
        single = NumbaRenderer().render(model, poses[i : i + 1], CAMERA)
        np.testing.assert_array_equal(batch.depth[i], single.depth[0])
        np.testing.assert_array_equal(batch.color[i], single.color[0])


def test_behind_the_camera_draws_nothing() -> None:
    depth, _ = NumbaRenderer().depth(textured_box(), pose((0, 0, 0), (0, 0, -0.5))[None], CAMERA)
    assert not depth.any()
