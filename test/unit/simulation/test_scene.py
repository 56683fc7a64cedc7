"""Rendered scenes against geometry known in closed form."""

import numpy as np
import pytest

from storm_core.geometry.camera import PinholeCamera
from storm_core.rendering.raster import NumbaRenderer
from storm_core.simulation.objects import make_object
from storm_core.simulation.scene import Body, Plane, Scene, SceneRenderer, look_at, stand

CAMERA = PinholeCamera(160, 120, 150.0, 150.0, 79.5, 59.5)
EYE = np.array([0.05, -0.5, 0.4])


def table(value=0.5):
    return Plane(centre=(0, 0, 0), right=(1, 0, 0), down=(0, 1, 0), half=(2.0, 2.0),
                 picture=np.full((64, 64, 3), value, np.float32), gloss=0.0)


def points_of(view, where, world_from_cam):
    """World points of the chosen pixels."""
    v, u = np.nonzero(where)
    points = CAMERA.back_project(np.stack([u, v], 1), view.depth[v, u])
    return points @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]


def scene_of(*bodies, **changes):
    return Scene(bodies=bodies, planes=(table(),), **changes)


def test_table_depth_is_that_of_the_plane():
    box = make_object("cereal_box")
    scene = scene_of(Body(model=box, world_from_obj=stand(box, 0, 0, 0.3)))
    world_from_cam = look_at(EYE, np.zeros(3))
    view = SceneRenderer(scene, CAMERA).view(world_from_cam, np.stack([scene.bodies[0].world_from_obj]), oversample=0)
    points = points_of(view, (view.body < 0) & (view.depth > 0), world_from_cam)
    assert len(points) > 5000
    assert np.abs(points[:, 2]).max() < 1e-5


def test_object_depth_and_mask_are_those_of_the_renderer():
    box = make_object("cereal_box")
    pose = stand(box, 0.02, 0.03, 0.5)
    scene = scene_of(Body(model=box, world_from_obj=pose))
    renderer = SceneRenderer(scene, CAMERA)
    view = renderer.view(look_at(EYE, np.zeros(3)), pose[None], oversample=0)
    expected = NumbaRenderer(two_sided=False).render(box, view.cam_from_bodies, CAMERA)
    mask = view.body == 0
    # The scene draws single-precision camera-frame vertices: a pixel centre on an edge may fall to either side.
    assert (mask ^ expected.mask[0]).sum() <= 4
    both = mask & expected.mask[0]
    assert both.sum() > 300
    assert np.abs(view.depth - expected.depth[0])[both].max() < 1e-4
    assert np.array_equal(mask, renderer.silhouette(0, view.cam_from_bodies[0]))


def test_standing_objects_touch_the_table():
    for name in ("mug", "bracket", "bumpy_blob"):
        model = make_object(name)
        pose = stand(model, 0.1, -0.2, 1.1, tilt=(0.4, 0.2))
        assert (model.vertices @ pose[:3, :3].T + pose[:3, 3])[:, 2].min() == pytest.approx(0, abs=1e-6)


def test_lambert_law_under_the_lamp():
    """A matt plane, no ambient light: radiance = reflectance * power / r^2 * cos."""
    far = np.eye(4)
    far[:3, 3] = 0, 1.5, 0.2
    box = make_object("tea_tin")
    scene = scene_of(Body(model=box, world_from_obj=far), ambient=0.0, lamp=(0.3, -0.2, 1.0), power=2.0)
    world_from_cam = look_at(EYE, np.zeros(3))
    view = SceneRenderer(scene, CAMERA).view(world_from_cam, far[None], oversample=1)
    u, v = 80, 60
    point = CAMERA.back_project(np.array([u, v]), view.depth[v, u]) @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
    to_lamp = np.array(scene.lamp) - point
    r = np.linalg.norm(to_lamp)
    assert view.light[v, u] == pytest.approx(np.full(3, 0.5**2.2 * 2.0 / r**2 * to_lamp[2] / r), rel=2e-3)


def test_objects_cast_shadows_away_from_the_lamp():
    box = make_object("cereal_box")
    pose = stand(box, 0, 0, 0)
    lamp = (-1.0, -0.3, 1.0)
    empty = np.eye(4)
    empty[:3, 3] = 0, 0, -5
    renderer = SceneRenderer(scene_of(Body(model=box, world_from_obj=pose, moving=True), lamp=lamp), CAMERA)
    world_from_cam = look_at(EYE, np.zeros(3))
    with_box = renderer.view(world_from_cam, pose[None])
    without = renderer.view(world_from_cam, empty[None])
    ground = with_box.body < 0
    darker = ground & (with_box.light[..., 0] < 0.75 * without.light[..., 0])
    assert darker.sum() > 50
    points = points_of(with_box, darker, world_from_cam)
    # Pixels on the box's border are mixed; the shadow proper lies opposite to the lamp.
    assert np.median(points[:, 0]) > 0.05


def test_look_at_keeps_the_horizon_level():
    pose = look_at(EYE, np.array([0.1, 0.2, 0.0]))
    assert pose[2, 0] == pytest.approx(0, abs=1e-12)
    assert pose[2, 1] < 0
    assert pose[:3, :3] @ pose[:3, :3].T == pytest.approx(np.eye(3), abs=1e-12)
