"""Statistics of the simulated camera against the laws it claims."""

import numpy as np
import pytest

from storm_core.geometry.camera import PinholeCamera
from storm_core.simulation.sensor import ColorSensor, DepthSensor

CAMERA = PinholeCamera(320, 240, 300.0, 300.0, 159.5, 119.5)


def wall(z):
    return np.full((240, 320), z, np.float32)


def measured(depth, seed=0, **changes):
    return DepthSensor(**changes).measure(depth, CAMERA, np.random.default_rng(seed))


def test_noise_grows_with_the_square_of_distance():
    sigma = []
    for z in (0.5, 1.0, 2.0):
        error = measured(wall(z), bias=0.0, unit=1e-5) - z
        sigma.append(np.std(error[np.abs(error) < 0.5 * z]))
    assert sigma[1] / sigma[0] == pytest.approx(4, rel=0.15)
    assert sigma[2] / sigma[1] == pytest.approx(4, rel=0.15)
    # dz = z^2 / (f B) * disparity error: noise and rounding.
    expected = 1.0 / (300.0 * 0.05) * np.hypot(0.07, (1 / 32) / np.sqrt(12))
    assert sigma[1] == pytest.approx(expected, rel=0.1)


def test_values_are_whole_millimetres_and_unbiased():
    depth = measured(wall(0.6), bias=0.0)
    hit = depth[depth > 0]
    assert np.abs(hit * 1000 - np.round(hit * 1000)).max() < 1e-3
    assert np.median(hit) == pytest.approx(0.6, abs=0.0015)
    assert 0.001 < (depth == 0).mean() < 0.03


def test_depth_is_lost_left_of_a_near_object():
    """The second imager sits to the right: the strip next to the left border of a near thing is hidden from it."""
    depth = wall(1.0)
    depth[60:180, 120:200] = 0.5
    lost = measured(depth, speckle=0.0, edge_loss=0.0) == 0
    shift = 300.0 * 0.05 * (1 / 0.5 - 1 / 1.0)
    strip = lost[100:140, 60:120].sum(1)
    assert strip.mean() == pytest.approx(shift, abs=2.5)
    assert lost[100:140, 205:280].mean() < 0.01


def test_steep_surfaces_fade():
    """A floor seen at 87 degrees gives nothing, one at 40 degrees all."""
    v = np.arange(240)[:, None] - CAMERA.cy

    def floor(angle):
        # Plane through (0, 0, 1) whose normal makes `angle` with the central ray.
        slope = np.tan(angle)
        return np.broadcast_to(1.0 / (1.0 - slope * v / CAMERA.fy), (240, 320)).astype(np.float32)

    rows = slice(115, 125)
    assert (measured(floor(np.radians(-40)))[rows] == 0).mean() < 0.05
    assert (measured(floor(np.radians(-87)))[rows] == 0).mean() > 0.9


def test_depth_steps_bleed():
    depth = wall(1.0)
    depth[:, 160:] = 0.6
    image = measured(depth, speckle=0.0, edge_loss=0.0)
    near_edge = image[:, 156:165]
    between = (near_edge > 0.65) & (near_edge < 0.95)
    assert 0.001 < between.mean() < 0.2
    far_from = image[:, 200:300]
    assert ((far_from > 0.65) & (far_from < 0.95)).sum() == 0


def test_nothing_beyond_the_range():
    assert (measured(wall(6.0)) == 0).all()
    assert (measured(wall(0.1)) == 0).all()
    assert (measured(wall(0.0)) == 0).all()


def test_color_noise_and_drift():
    light = np.full((120, 160, 3), 0.2, np.float32)
    sensor = ColorSensor(vignette=0.0)
    one, two = (sensor.expose(light, 0.5, np.random.default_rng(s)).astype(float) for s in (1, 2))
    assert 0.5 < (one - two).std() / np.sqrt(2) < 8
    later = sensor.expose(light, 2.2, np.random.default_rng(3)).astype(float)
    assert 1 < np.abs(later.mean((0, 1)) - one.mean((0, 1))).max() < 20
    brighter = sensor.expose(1.5 * light, 0.5, np.random.default_rng(1)).astype(float)
    assert brighter.mean() > one.mean() + 10


def test_corners_are_darker_than_the_middle():
    light = np.full((120, 160, 3), 0.2, np.float32)
    image = ColorSensor().expose(light, 0.0, np.random.default_rng(0)).astype(float)
    assert image[50:70, 70:90].mean() > image[:10, :10].mean() + 5
