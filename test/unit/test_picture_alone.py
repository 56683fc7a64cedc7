"""A correlation over a few pixels proves little: laws of the bound, and what it makes of slivers without depth."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storm_core.config import OnboardingConfig, RegistrationConfig
from storm_core.evidence.compare import compare
from storm_core.evidence.features import frame_features
from storm_core.geometry.mesh import ObjectModel
from storm_core.onboarding.onboard import onboard
from storm_core.registration.picture_alone import BLOCK, lower_bound, picture_doubt
from storm_core.registration.register import best_candidate
from storm_core.types import Frame
from test.synthetic import CAMERA, frame_of, pose, textured_box

BOX = textured_box()
PLATE = textured_box("plate", (0.2, 0.1, 0.006), seed=2)
FACING = pose((0.5, 0.4, 0.2), (0.02, 0.0, 0.5))
EDGE_ON = pose((np.pi / 2, 0.0, 0.0), (0.02, 0.0, 1.6))
ASIDE = pose((0.5, 0.4, 0.2), (2.0, 0.0, 0.5))
CORRELATION, PIXELS = st.floats(-0.99, 0.99), st.floats(1.0, 1e6)


def without_depth(frame: Frame) -> Frame:
    return replace(frame, depth=np.zeros_like(frame.depth))


def doubted(frame: Frame, model: ObjectModel, cam_from_obj: np.ndarray) -> float:
    row = compare(frame_features(frame), model, cam_from_obj[None], side=96)[0]
    return picture_doubt(frame, model, cam_from_obj, row, 96)


@given(CORRELATION, PIXELS, st.floats(1.0, 100.0))
def test_the_bound_is_lower_and_rises_with_pixels_and_correlation(r: float, pixels: float, more: float) -> None:
    assert lower_bound(r, pixels) < r
    assert lower_bound(r, pixels) <= lower_bound(r, more * pixels)
    assert lower_bound(r, pixels) <= lower_bound(min(r + 0.005 * more / 100, 0.995), pixels)
    assert np.isnan(lower_bound(float("nan"), pixels))


def test_the_bound_holds_for_19_of_20_samples() -> None:
    true, samples = 0.6, 40
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 4000, samples))
    b = true * a + np.sqrt(1 - true**2) * b
    measured = [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)]
    held = np.mean([lower_bound(r, BLOCK * samples) < true for r in measured])
    assert held == pytest.approx(0.95, abs=0.015)


def test_where_depth_is_measured_nothing_is_doubted() -> None:
    assert doubted(frame_of([(BOX, FACING)]), BOX, FACING) == 0.0


def test_a_sliver_without_depth_is_doubted_much_more_than_a_face() -> None:
    face = doubted(without_depth(frame_of([(BOX, FACING)])), BOX, FACING)
    sliver = doubted(without_depth(frame_of([(PLATE, EDGE_ON)])), PLATE, EDGE_ON)
    assert sliver < -2.0 < -0.5 < face <= 0.0


def test_a_pose_outside_the_picture_is_no_pose(tmp_path_factory: pytest.TempPathFactory) -> None:
    frame = frame_of([(BOX, FACING)])
    assert (CAMERA.fx * ASIDE[0, 3] / ASIDE[2, 3] + CAMERA.cx) > CAMERA.width + 300
    assert doubted(frame, BOX, ASIDE) == -np.inf
    onboarded = onboard(BOX, OnboardingConfig(cache=str(tmp_path_factory.mktemp("cache")), rotations=100))
    best = best_candidate(frame_features(without_depth(frame)), onboarded, ASIDE[None], RegistrationConfig())
    assert best is not None and best.probability < 1e-6
