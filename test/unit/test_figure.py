"""A plain object shows where its colour ends: what counts as a figure, for whom, and how much."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storm_core.evidence.features import frame_features
from storm_core.geometry.mesh import ObjectModel
from storm_core.registration.figure import ENOUGH, WEIGHT, figure_bonus, separation
from storm_core.types import Evidence, Frame
from test.synthetic import frame_of, pose, textured_box

BOX = textured_box()
RED = replace(BOX, colors=np.full_like(BOX.colors, (200, 40, 40)))
GREY = replace(BOX, colors=np.full_like(BOX.colors, 95))
BOARD = textured_box("board", (0.3, 0.4, 0.02), seed=3)
HERE = pose((0.4, 0.5, 0.2), (0.0, 0.0, 0.6))
HALF_BEHIND = pose((0.0, 0.0, 0.0), (-0.10, 0.0, 0.3))
PLAIN = Evidence(hue=0.95, contrast=0.0)


def shift(dx: float) -> np.ndarray:
    out = HERE.copy()
    out[0, 3] += dx * BOX.diameter
    return out


def separated(frame: Frame, model: ObjectModel, cam_from_obj: np.ndarray = HERE) -> float:
    return separation(frame_features(frame), model, cam_from_obj)


@pytest.fixture(scope="module")
def red() -> Frame:
    return frame_of([(RED, HERE)], noise=0.001)


def test_a_figure_is_what_differs_from_its_surroundings(red: Frame) -> None:
    assert separated(red, RED) > 3.0
    assert abs(separated(frame_of([(GREY, HERE)], noise=0.001), GREY)) < 1.0


def test_the_figure_is_lost_beside_the_object(red: Frame) -> None:
    blind = replace(red, depth=np.zeros_like(red.depth))
    assert separated(blind, RED) > 3.0
    assert separated(blind, RED, shift(0.4)) < separated(blind, RED) - 1.0
    assert separated(blind, RED, shift(2.0)) < 1.0
    assert np.isnan(separated(red, RED, shift(2.0)))  # the table behind it contradicts: nothing of it is shown


def test_what_stands_before_the_object_is_no_surroundings() -> None:
    hidden = frame_of([(RED, HERE), (replace(RED, name="other"), HALF_BEHIND)], noise=0.001)
    share = (hidden.depth != frame_of([(RED, HERE)], noise=0.001).depth).mean()
    assert share > 0.01 and separated(hidden, RED) > 2.5


def test_a_pose_out_of_view_has_no_figure(red: Frame) -> None:
    assert np.isnan(separated(red, RED, pose((0.4, 0.5, 0.2), (2.0, 0.0, 0.6))))


@given(st.floats(-6.0, 6.0))
def test_a_figure_lifts_a_doubted_pose_but_never_makes_it_certain(red: Frame, odds: float) -> None:
    bonus = figure_bonus(frame_features(red), RED, HERE, PLAIN, odds)
    assert 0.0 <= bonus <= WEIGHT and odds + bonus <= max(odds, ENOUGH)
    assert bonus == pytest.approx(min(WEIGHT, max(0.0, ENOUGH - odds)))


@pytest.mark.parametrize("evidence", [Evidence(hue=0.95, contrast=0.5), Evidence(hue=0.7, contrast=0.0),
                                      Evidence(hue=float("nan"), contrast=0.0)],
                         ids=["print", "other hue", "no colour"])
def test_a_figure_says_nothing_of_prints_and_of_other_colours(red: Frame, evidence: Evidence) -> None:
    assert figure_bonus(frame_features(red), RED, HERE, evidence, -1.0) == 0.0
