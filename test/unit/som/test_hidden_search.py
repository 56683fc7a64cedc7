"""The search where depth is missing looks only for what can be in view, and only for models whose colours tell."""

from dataclasses import replace

import numpy as np
import pytest

from storm_core.config import OnboardingConfig, SomConfig
from storm_core.evidence.compare import compare, to_evidence
from storm_core.evidence.features import frame_features
from storm_core.geometry.mesh import ObjectModel
from storm_core.onboarding.onboard import Onboarded, onboard
from storm_core.registration.judge import Judge
from storm_core.rendering.raster import NumbaRenderer
from storm_core.som.blind import blind_candidates
from storm_core.som.detect import GeometricLocalizer
from storm_core.som.scan import SEEN, scan_image
from storm_core.types import Frame, Hint
from test.synthetic import frame_of, pose, textured_box

BOX = textured_box()
BOARD = textured_box("board", (0.3, 0.4, 0.02), seed=3)
BEFORE = pose((0.0, 0.0, 0.0), (-0.12, 0.0, 0.4))
BESIDE = pose((0.4, 0.5, 0.2), (0.12, 0.0, 0.6))
BEHIND = pose((0.4, 0.5, 0.2), (-0.15, 0.0, 0.6))


@pytest.fixture(scope="module")
def onboarding(tmp_path_factory: pytest.TempPathFactory) -> OnboardingConfig:
    return OnboardingConfig(cache=str(tmp_path_factory.mktemp("cache")), rotations=300)


@pytest.fixture(scope="module")
def onboarded(onboarding: OnboardingConfig) -> Onboarded:
    return onboard(BOX, onboarding)


SHADOW = 70
"""Pixels."""


def shadowed(objects: list[tuple[ObjectModel, np.ndarray]]) -> Frame:
    """A frame in which nothing is measured in a shadow to the right of the board that stands before everything."""
    frame = frame_of([*objects, (BOARD, BEFORE)], noise=0.001)
    board = NumbaRenderer().render(BOARD, BEFORE[None], frame.camera).mask[0]
    right = np.flatnonzero(board.any(0)).max()
    depth = frame.depth.copy()
    depth[:, right + 1:right + 1 + SHADOW] = 0
    return replace(frame, depth=depth)


def candidates(frame: Frame, onboarded: Onboarded) -> np.ndarray:
    judge = Judge(frame_features(frame), onboarded.model)
    return blind_candidates(judge, onboarded, scan_image(judge.features, 0.1, 10.0, 4))


def in_view(frame: Frame, cam_from_objs: np.ndarray) -> np.ndarray:
    e = to_evidence(compare(frame_features(frame), BOX, cam_from_objs, side=40).T)
    return e.inside * (1 - e.occluded)


def test_a_pose_behind_something_ranks_last_only_where_it_must_be_seen() -> None:
    features = frame_features(shadowed([(BOX, BESIDE)]))
    poses = np.stack([BESIDE, BEHIND])
    anything, odds = Judge(features, BOX).judge(poses, 40)
    seen, same = Judge(features, BOX, least_seen=SEEN).judge(poses, 40)
    assert np.isfinite(anything).all() and np.isneginf(seen[1])
    assert seen[0] == anything[0] and (same == odds).all()


def test_no_candidate_is_hidden_whether_the_object_is_there_or_not(onboarded: Onboarded) -> None:
    for objects in ([], [(BOX, BESIDE)]):
        frame = shadowed(objects)
        found = candidates(frame, onboarded)
        assert len(found) == 0 or in_view(frame, found).min() >= SEEN


def test_a_model_of_one_colour_is_not_searched_where_depth_is_missing(onboarding: OnboardingConfig) -> None:
    plain = replace(BOX, colors=np.full_like(BOX.colors, 120))
    frame = shadowed([(plain, BESIDE)])
    localizer = GeometricLocalizer({"box": plain}, SomConfig(), onboarding)
    assert len(localizer.hidden_candidates(frame_features(frame), onboard(plain, onboarding), Hint())) == 0


def test_nothing_is_searched_beyond_the_largest_distance(onboarded: Onboarded, onboarding: OnboardingConfig) -> None:
    frame = shadowed([(BOX, BESIDE)])
    features = frame_features(frame)

    def distances(nearest: float, farthest: float) -> np.ndarray:
        localizer = GeometricLocalizer({"box": BOX}, SomConfig(min_depth=nearest, max_depth=farthest), onboarding)
        found = localizer.hidden_candidates(features, onboarded, Hint())
        return (found[:, :3, :3] @ BOX.center + found[:, :3, 3])[:, 2]

    assert np.abs(distances(0.15, 2.0) - BESIDE[2, 3]).min() < 0.1 * BOX.diameter
    near, far = distances(0.15, 0.45), distances(0.75, 2.0)
    assert (near < 0.45 + 0.6 * BOX.diameter).all() and (far > 0.75 - 0.1 * BOX.diameter).all()
