"""Colour or depth fail: what is left keeps the track, and the track says what failed."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from storm_core.config import MonitorConfig, TrackingConfig
from storm_core.geometry.mesh import ObjectModel
from storm_core.monitor.monitor import EvidenceMonitor
from storm_core.tracking.modalities import colorless
from storm_core.tracking.optimise import center_of
from storm_core.tracking.tracker import RegionDepthTracker
from storm_core.types import Frame, Reason, Track, Verdict
from test.unit.tracking.scenes import STEP_NS, background, observe, registered, swing
from test.unit.tracking.test_tracker import MODEL, errors

POSES = swing(16)


def no_depth(frame: Frame) -> Frame:
    return replace(frame, depth=np.zeros_like(frame.depth))


def white(frame: Frame) -> Frame:
    return replace(frame, rgb=np.full_like(frame.rgb, 255))


def black(frame: Frame) -> Frame:
    return replace(frame, rgb=frame.rgb // 64)


def neither(frame: Frame) -> Frame:
    return no_depth(white(frame))


def brighter(frame: Frame) -> Frame:
    """The camera opens its shutter at once: colours never seen, but colours."""
    return replace(frame, rgb=(255 * (frame.rgb / 255.0) ** 0.4).astype(np.uint8))


def followed(fault: Callable[[Frame], Frame], span: range) -> list[Track]:
    rng = np.random.default_rng(0)
    backdrop = background(rng)
    tracker = RegionDepthTracker({MODEL.name: MODEL}, TrackingConfig())
    tracks = []
    for i, pose in enumerate(POSES):
        frame = observe(MODEL, pose, i * STEP_NS, backdrop, rng)
        if i == 0:
            tracker.start(frame, registered(MODEL.name, pose, 0))
            continue
        track = tracker.track(fault(frame) if i in span else frame)[MODEL.name]
        assert isinstance(track, Track)
        tracks.append(track)
    return tracks


@pytest.mark.parametrize(
    ("fault", "missing", "limit"),
    [
        (no_depth, (Reason.NO_DEPTH,), 0.012),
        (white, (Reason.NO_COLOR,), 0.004),
        (black, (Reason.NO_COLOR,), 0.004),
        (neither, (Reason.NO_DEPTH, Reason.NO_COLOR), 0.012),
    ],
)
def test_what_is_left_keeps_the_track_and_the_track_says_what_is_missing(
    fault: Callable[[Frame], Frame], missing: tuple[Reason, ...], limit: float
) -> None:
    span = range(5, 11)
    for i, (track, pose) in enumerate(zip(followed(fault, span), POSES[1:], strict=True), start=1):
        assert track.missing == (missing if i in span else ())
        assert track.coasting == (i in span and len(missing) == 2)
        assert errors(track.cam_from_obj, pose)[0] < (limit if i in span else 0.004)


def test_a_sudden_change_of_exposure_is_no_loss() -> None:
    tracks = followed(brighter, range(6, 20))
    assert all(errors(track.cam_from_obj, pose)[0] < 0.004 for track, pose in zip(tracks, POSES[1:], strict=True))
    assert not any(track.coasting for track in tracks)
    assert tracks[-1].missing == ()


def test_only_black_and_overexposed_surroundings_are_colorless() -> None:
    rng = np.random.default_rng(0)
    pose = POSES[0]
    frame = observe(MODEL, pose, 0, background(rng), rng)
    center = center_of(MODEL, pose)
    assert not colorless(frame, center, MODEL.diameter)
    assert colorless(white(frame), center, MODEL.diameter) and colorless(black(frame), center, MODEL.diameter)
    # A black wall far from the object is none of its business; an object outside the image has no surroundings.
    elsewhere = frame.rgb.copy()
    elsewhere[:, :60] = 0
    assert not colorless(replace(frame, rgb=elsewhere), center, MODEL.diameter)
    assert not colorless(white(frame), np.array([5.0, 0.0, 0.5]), MODEL.diameter)


def test_the_monitor_calls_a_pose_without_colour_degraded_and_not_lost() -> None:
    rng = np.random.default_rng(0)
    pose = POSES[0]
    frame = observe(MODEL, pose, 0, background(rng), rng)
    track = Track(object_name=MODEL.name, stamp_ns=0, cam_from_obj=pose, covariance=np.eye(6) * 1e-6, innovation=0.0)
    for fault, verdict, reason in (
        (lambda f: f, Verdict.HEALTHY, Reason.CONFIRMED),
        (white, Verdict.DEGRADED, Reason.NO_COLOR),
        (black, Verdict.DEGRADED, Reason.NO_COLOR),
    ):
        judgement = EvidenceMonitor({MODEL.name: MODEL}, MonitorConfig()).judge(fault(frame), track)
        assert (judgement.verdict, judgement.reason) == (verdict, reason)
        assert judgement.probability > 0.85, "what is not seen does not contradict"


@pytest.mark.parametrize("model", [MODEL, replace(MODEL, colors=None, sha256="without colours")])
def test_where_neither_picture_nor_depth_shows_anything_no_pose_is_trusted_or_called_lost(model: ObjectModel) -> None:
    rng = np.random.default_rng(0)
    frame = observe(MODEL, POSES[0], 0, background(rng), rng)
    monitor = EvidenceMonitor({model.name: model}, MonitorConfig(freeze_frames=50))
    track = Track(object_name=model.name, stamp_ns=0, cam_from_obj=POSES[0], covariance=np.eye(6) * 1e-6,
                  innovation=0.0)
    before = monitor.judge(frame, track)
    assert before.verdict is Verdict.HEALTHY
    covered = monitor.judge(neither(frame), track)
    assert (covered.verdict, covered.reason) == (Verdict.OCCLUDED, Reason.NO_DEPTH)
    assert np.isnan(covered.probability), "nothing can be said"
    assert monitor.judge(frame, track).probability >= before.probability, "what was known is still known"
