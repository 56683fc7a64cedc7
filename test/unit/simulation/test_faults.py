"""Faults hit exactly the frames they are told to hit."""

import numpy as np
import pytest

from storm_core.geometry.camera import PinholeCamera
from storm_core.simulation import faults
from storm_core.types import Frame

CAMERA = PinholeCamera(64, 48, 60.0, 60.0, 31.5, 23.5)


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    return [Frame(rgb=rng.integers(0, 255, (48, 64, 3), np.uint8), depth=np.full((48, 64), 1 + 0.01 * k, np.float32),
                  camera=CAMERA, stamp_ns=k * 33_000_000) for k in range(10)]


def same(a, b):
    return np.array_equal(a.rgb, b.rgb) and np.array_equal(a.depth, b.depth)


@pytest.mark.parametrize("fault", [
    lambda f, s: faults.occlude(f, s, box=(10, 10, 30, 30), distance=0.4),
    lambda f, s: faults.freeze(f, s),
    lambda f, s: faults.lose_depth(f, s, share=0.3),
    lambda f, s: faults.blur(f, s, length=7),
    lambda f, s: faults.delay_depth(f, s, by=2),
])
def test_only_the_span_changes(frames, fault):
    out = list(fault(iter(frames), range(4, 7)))
    assert [o.stamp_ns for o in out] == [f.stamp_ns for f in frames]
    assert [same(o, f) for o, f in zip(out, frames, strict=True)] == [not 4 <= k < 7 for k in range(10)]


def test_occluder_is_in_front_only(frames):
    out = list(faults.occlude(frames, range(0, 1), box=(10, 5, 20, 15), distance=0.5))[0]
    assert (out.depth[5:15, 10:20] == 0.5).all()
    behind = list(faults.occlude(frames, range(0, 1), box=(10, 5, 20, 15), distance=2.0))[0]
    assert same(behind, frames[0])


def test_frozen_stream_repeats_the_last_good_frame(frames):
    out = list(faults.freeze(frames, range(3, 6)))
    assert all(same(o, frames[2]) for o in out[3:6])


def test_share_of_lost_depth(frames):
    out = list(faults.lose_depth(frames, range(0, 10), share=0.4))
    assert np.mean([(o.depth == 0).mean() for o in out]) == pytest.approx(0.4, abs=0.01)


def test_blur_keeps_brightness_and_removes_detail(frames):
    out = list(faults.blur(frames, range(0, 1), length=9))[0]
    assert out.rgb.mean() == pytest.approx(frames[0].rgb.mean(), abs=1.0)
    assert out.rgb.std() < 0.6 * frames[0].rgb.std()


def test_blur_direction(frames):
    """A horizontal blur leaves vertical stripes' contrast low and horizontal stripes' contrast high."""
    rows = np.zeros((48, 64, 3), np.uint8)
    rows[::2] = 200
    striped = Frame(rgb=rows, depth=frames[0].depth, camera=CAMERA, stamp_ns=0)
    along = next(faults.blur([striped], range(1), length=7, angle=0.0))
    across = next(faults.blur([striped], range(1), length=7, angle=np.pi / 2))
    assert np.array_equal(along.rgb, rows)
    assert across.rgb.std() < 0.5 * rows.std()


def test_skip_and_clock_jump(frames):
    left = [f.stamp_ns for k, f in enumerate(frames) if not 2 <= k < 5]
    assert [f.stamp_ns for f in faults.skip(frames, range(2, 5))] == left
    moved = list(faults.shift_stamps(frames, range(5, 10), by_ns=-10**9))
    assert moved[5].stamp_ns == frames[5].stamp_ns - 10**9 and moved[4].stamp_ns == frames[4].stamp_ns


def test_delayed_depth_is_that_of_an_earlier_frame(frames):
    out = list(faults.delay_depth(frames, range(4, 10), by=2))
    assert np.array_equal(out[6].depth, frames[4].depth) and np.array_equal(out[6].rgb, frames[6].rgb)
