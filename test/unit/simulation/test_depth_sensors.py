"""Each kind of depth camera against the laws that its docstring claims."""

import numpy as np
import pytest

from storm_core.errors import ConfigError
from storm_core.geometry.camera import PinholeCamera
from storm_core.simulation.depth_sensors import (
    DEPTH_CAMERAS,
    PassiveStereo,
    StructuredLight,
    TimeOfFlight,
    depth_camera,
)

CAMERA = PinholeCamera(320, 240, 580.0, 580.0, 159.5, 119.5)


def wall(z):
    return np.full((240, 320), z, np.float32)


def textured(level=0.5):
    light = np.random.default_rng(1).uniform(0.4, 1.6, (240, 320, 1)).astype(np.float32)
    return np.repeat(level * light, 3, 2)


def measured(camera, depth, light=None, seed=0):
    return camera.measure(depth, CAMERA, np.random.default_rng(seed), textured() if light is None else light)


def spread(image, z):
    error = image[image > 0] - z
    return float(np.std(error[np.abs(error) < 0.3 * z]))


@pytest.mark.parametrize("name", DEPTH_CAMERAS)
def test_every_camera_measures_a_wall_where_it_is(name):
    image = measured(depth_camera(name), wall(0.8))
    assert image.dtype == np.float32 and image.shape == (240, 320)
    assert (image > 0).mean() > 0.9
    assert np.median(image[image > 0]) == pytest.approx(0.8, abs=0.004)
    again = measured(depth_camera(name), wall(0.8))
    assert np.array_equal(image, again)
    assert (measured(depth_camera(name), wall(0.0)) == 0).all()


def test_unknown_cameras_are_named():
    with pytest.raises(ConfigError, match="sonar.*active_stereo, structured_light, stereo, tof, ideal"):
        depth_camera("sonar")


def test_the_ideal_camera_is_exact_to_a_millimetre():
    depth = np.linspace(0.3, 6.0, 240 * 320, dtype=np.float32).reshape(240, 320)
    assert np.abs(measured(depth_camera("ideal"), depth) - depth).max() <= 0.00051


@pytest.mark.parametrize("camera", [StructuredLight(), PassiveStereo()])
def test_triangulating_cameras_err_with_the_square_of_distance(camera):
    near, far = (spread(measured(camera, wall(z)), z) for z in (0.75, 3.0))
    assert far / near == pytest.approx(16, rel=0.35)


def test_structured_light_has_the_steps_of_the_first_kinect():
    """2.85 mm at 1 m: neighbouring disparities of an eighth of a pixel."""
    values = np.unique(measured(StructuredLight(), wall(2.0)))
    steps = np.diff(values[values > 1.9])
    assert np.median(steps) == pytest.approx(0.00285 * 4, abs=0.0012)


def test_structured_light_loses_dark_and_glaring_surfaces():
    light = textured()
    light[:, :100] *= 0.01
    light[100:110, 250:280] = 5.0
    lost = measured(StructuredLight(), wall(0.8), light) == 0
    assert lost[:, :90].mean() > 0.5
    assert lost[101:109, 251:279].all()
    assert lost[:, 110:240].mean() < 0.05


def test_structured_light_has_a_shadow_on_one_side():
    depth = wall(1.0)
    depth[60:180, 140:200] = 0.6
    lost = measured(StructuredLight(edge_loss=0.0), depth) == 0
    shift = 580 * 0.075 * (1 / 0.6 - 1)
    assert lost[100:140, 80:140].sum(1).mean() == pytest.approx(shift, abs=3)
    assert lost[100:140, 206:280].mean() < 0.02


def test_stereo_sees_nothing_without_texture():
    light = textured()
    light[:, :150] = 0.5
    image = measured(PassiveStereo(wrong=0.0), wall(0.8), light)
    assert (image[:, :140] > 0).mean() < 0.02
    assert (image[:, 160:] > 0).mean() > 0.95


def test_stereo_widens_the_foreground():
    depth = wall(1.2)
    depth[60:180, 140:200] = 0.6
    image = measured(PassiveStereo(), depth)
    near = (image > 0.5) & (image < 0.7)
    width = near[80:160, 150:230].sum(1).mean() + 10
    assert 61 < width < 66


def test_time_of_flight_noise_grows_as_the_return_falls():
    bright, dark = textured(), textured()
    dark[:, :200] *= 0.1
    camera = TimeOfFlight(wiggle=0.0)
    faint, strong = measured(camera, wall(0.8), dark)[:, :180], measured(camera, wall(0.8), bright)
    assert spread(faint, 0.8) > 2 * spread(strong, 0.8)
    ratio = spread(measured(camera, wall(2.0)), 2.0) / spread(measured(camera, wall(1.0)), 1.0)
    assert ratio == pytest.approx(2.0, rel=0.15)


def test_time_of_flight_flies_between_the_surfaces_of_an_outline():
    depth = wall(1.2)
    depth[:, 160:] = 0.6
    image = measured(TimeOfFlight(), depth)
    between = (image > 0.65) & (image < 1.1)
    assert between[:, 158:162].mean() > 0.1
    assert between[:, :150].sum() + between[:, 170:].sum() == 0


def test_time_of_flight_pushes_inner_corners_away():
    """A valley between two slopes reads too far, a ridge does not."""
    ramp = np.abs(np.arange(320) - 160) / 580.0
    valley = np.broadcast_to(1.2 - ramp, (240, 320)).astype(np.float32)
    ridge = np.broadcast_to(1.0 + ramp, (240, 320)).astype(np.float32)
    camera = TimeOfFlight(wiggle=0.0, noise=1e-6)
    middle = slice(158, 163)
    inner = np.median(measured(camera, valley)[:, middle] - valley[:, middle])
    outer = np.median(measured(camera, ridge)[:, middle] - ridge[:, middle])
    assert inner > 0.0009 and abs(outer) < 0.0006
