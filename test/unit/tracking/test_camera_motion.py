"""Where the camera's own motion is known, an object that stands still is exactly where it is expected."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from storm_core.config import TrackingConfig
from storm_core.geometry.pose import inverse, se3_exp
from storm_core.tracking.following import expected
from storm_core.tracking.reseed import Seen
from storm_core.tracking.tracker import RegionDepthTracker
from storm_core.types import Frame, Track
from test.unit.tracking.scenes import STEP_NS, background, observe, registered, swing, wedge

MODEL = wedge()
START = swing(1, 1.0)[0]
TWISTS = arrays(float, 6, elements=st.floats(-1.0, 1.0))


def seen_from(fixed_from_cams: list[np.ndarray]) -> list[Frame]:
    """Pictures of an object that stands still, in front of a wall that tells nothing."""
    rng = np.random.default_rng(0)
    backdrop = background(rng)
    fixed_from_obj = fixed_from_cams[0] @ START
    return [replace(observe(MODEL, inverse(camera) @ fixed_from_obj, i * STEP_NS, backdrop, rng), fixed_from_cam=camera)
            for i, camera in enumerate(fixed_from_cams)]


FRAME = seen_from([np.eye(4)])[0]


def followed(frames: list[Frame]) -> list[Track]:
    tracker = RegionDepthTracker({MODEL.name: MODEL}, TrackingConfig())
    tracker.start(frames[0], registered(MODEL.name, START, frames[0].stamp_ns))
    return [tracker.track(frame)[MODEL.name] for frame in frames[1:]]


@settings(max_examples=30, deadline=None)
@given(TWISTS, TWISTS, TWISTS)
def test_an_object_that_stands_still_is_expected_exactly(first: np.ndarray, second: np.ndarray,
                                                         third: np.ndarray) -> None:
    tracker = RegionDepthTracker({MODEL.name: MODEL}, TrackingConfig())
    cameras = [se3_exp(twist) for twist in (first, second, third)]
    frames = [replace(FRAME, fixed_from_cam=camera) for camera in cameras]
    tracker.start(frames[0], registered(MODEL.name, START, 0))
    state = tracker._states[MODEL.name]
    sizes = np.linalg.eigvalsh(state.covariance)
    for before, frame, camera in zip(frames, frames[1:], cameras[1:], strict=False):
        state.see_from(frame.camera_motion(before))
        truth = inverse(camera) @ cameras[0] @ START
        assert np.abs(expected(state, STEP_NS * 1e-9, TrackingConfig()) - truth).max() < 1e-9
    assert np.abs(Seen(frames[0], START).expected(frames[-1]) - truth).max() < 1e-9
    assert np.allclose(np.linalg.eigvalsh(state.covariance), sizes), "belief is as sharp as before, only turned"


@pytest.mark.parametrize("known", [True, False])
def test_a_camera_that_jumps_takes_nothing_by_surprise(known: bool) -> None:
    jump = se3_exp(np.array([0.07, -0.03, 0.02, 0.1, -0.1, 0.4]))
    frames = seen_from([np.eye(4)] * 3 + [jump] * 2)
    if not known:
        frames = [replace(frame, fixed_from_cam=None) for frame in frames]
    tracks = followed(frames)
    surprises = [track.innovation if isinstance(track, Track) else np.inf for track in tracks]
    if not known:
        assert max(surprises[2:]) > 0.3
        return
    assert max(surprises) < 0.05
    truth = inverse(jump) @ START
    assert np.abs(tracks[-1].cam_from_obj - truth).max() < 0.03


def test_nothing_is_known_without_both_places() -> None:
    bare = replace(FRAME, fixed_from_cam=None)
    assert FRAME.camera_motion(bare) is None and bare.camera_motion(FRAME) is None
    assert np.array_equal(FRAME.camera_motion(FRAME), np.eye(4))
