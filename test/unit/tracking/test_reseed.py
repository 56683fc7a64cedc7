"""Where else an object may be."""

import numpy as np
import pytest

from storm_core.config import TrackingConfig
from storm_core.geometry.pose import angle_between, from_rotation_translation, so3_exp
from storm_core.tracking.histogram import ColorModel, count
from storm_core.tracking.modalities import UNDECIDED
from storm_core.tracking.optimise import center_of, tolerance
from storm_core.tracking.reseed import Look, Seen, fan, search, surprise
from storm_core.tracking.sparse_model import rendered_view
from storm_core.tracking.tracker import RegionDepthTracker
from storm_core.types import Track
from test.unit.tracking.scenes import CAMERA, background, observe, printed_can, registered, swing
from test.unit.tracking.test_tracker import MODEL, errors

BASE = swing(1)[0]
VIEW = rendered_view(MODEL, BASE, CAMERA)
BACKDROP = background(np.random.default_rng(0))


@pytest.mark.parametrize("seen_by", ["colour", "depth"])
@pytest.mark.parametrize("shift", [(0.10, 0.0, 0.0), (-0.06, 0.08, 0.03), (0.05, -0.07, -0.04)])
def test_the_search_finds_where_the_object_went(shift: tuple[float, float, float], seen_by: str) -> None:
    """Most of a diameter away; by its colours where depth is flat, by depth where colours are unknown."""
    rng = np.random.default_rng(1)
    before = observe(MODEL, BASE, 0, BACKDROP, rng)
    posterior = ColorModel(count(before, VIEW, tolerance(MODEL.diameter))).posterior
    there = BASE.copy()
    there[:3, 3] += shift
    frame = observe(MODEL, there, 1, BACKDROP, rng)
    look = Look(posterior if seen_by == "colour" else UNDECIDED, None)
    starts = search(frame, MODEL, look, VIEW, [BASE])
    nearest = min(np.linalg.norm(center_of(MODEL, start) - center_of(MODEL, there)) for start in starts)
    assert nearest < 0.15 * MODEL.diameter


def test_the_fan_is_even_around_its_base() -> None:
    starts = fan(MODEL, BASE)
    assert len(starts) == 12
    assert np.allclose(np.mean([center_of(MODEL, s) for s in starts], 0), center_of(MODEL, BASE))
    assert np.ptp([surprise(MODEL, BASE, s) for s in starts]) < 0.03
    assert surprise(MODEL, BASE, BASE) == 0.0


def test_landmarks_on_the_object_tell_its_motion_when_the_scene_stands_still() -> None:
    can = printed_can()
    rng = np.random.default_rng(2)
    pose = from_rotation_translation(so3_exp([2.0, 0, 0]) @ so3_exp([0, 0, 0.3]), [0.0, 0, 0.35])
    after = from_rotation_translation(so3_exp([2.0, 0, 0]) @ so3_exp([0, 0, 0.6]), [0.06, 0.02, 0.35])
    seen = Seen(observe(can, pose, 0, BACKDROP, rng), pose)
    found = seen.turned(observe(can, after, 1, BACKDROP, rng), can)
    assert found is not None
    assert np.linalg.norm(center_of(can, found) - center_of(can, after)) < 0.015
    assert angle_between(found, after) < 0.1


def test_a_jump_of_a_whole_diameter_between_two_slow_frames_is_followed() -> None:
    rng = np.random.default_rng(0)
    tracker = RegionDepthTracker({MODEL.name: MODEL}, TrackingConfig())
    tracker.start(observe(MODEL, BASE, 0, BACKDROP, rng), registered(MODEL.name, BASE, 0))
    there = BASE.copy()
    there[:3, 3] += [0.11, -0.03, 0.01]
    track = tracker.track(observe(MODEL, there, 500_000_000, BACKDROP, rng))[MODEL.name]
    assert isinstance(track, Track) and not track.coasting
    assert errors(track.cam_from_obj, there)[0] < 0.003


@pytest.mark.parametrize("seed", range(6))
def test_a_large_turn_about_any_axis_between_two_slow_frames_is_followed(seed: int) -> None:
    """Alignments from the expected pose end in another turn of the same outline; the picture knows better."""
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    turned = so3_exp(0.9 * axis / np.linalg.norm(axis)) @ BASE[:3, :3]
    center = center_of(MODEL, BASE) + 0.02 * rng.normal(size=3)
    there = from_rotation_translation(turned, center - turned @ MODEL.center)
    tracker = RegionDepthTracker({MODEL.name: MODEL}, TrackingConfig())
    tracker.start(observe(MODEL, BASE, 0, BACKDROP, rng), registered(MODEL.name, BASE, 0))
    track = tracker.track(observe(MODEL, there, 500_000_000, BACKDROP, rng))[MODEL.name]
    assert isinstance(track, Track) and not track.coasting
    assert errors(track.cam_from_obj, there)[0] < 0.01, "the next frame aligns the rest"
