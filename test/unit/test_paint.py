"""Another paint on the right shape is doubted; light, exposure and a shadow are not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storm_core.config import OnboardingConfig, RegistrationConfig
from storm_core.evidence.compare import compare, to_evidence
from storm_core.evidence.features import frame_features
from storm_core.geometry.mesh import ObjectModel
from storm_core.registration.paint import paint_doubt
from storm_core.registration.register import GeometricRegistrar
from storm_core.types import Frame, Localization, Reason, Registration, RegistrationFailure
from test.synthetic import bracket, frame_of, pose, textured_box

BOX = textured_box()
AT = pose((0.5, 0.4, 0.2), (0.02, 0.0, 0.5))


def painted(model: ObjectModel, rgb: tuple[int, int, int]) -> ObjectModel:
    return replace(model, colors=np.tile(np.uint8(rgb), (len(model.vertices), 1)))


def doubted(frame: Frame, model: ObjectModel) -> float:
    features = frame_features(frame)
    return paint_doubt(features, model, AT, to_evidence(compare(features, model, AT[None], side=96)[0]))


def lit(frame: Frame, gain: float) -> Frame:
    return replace(frame, rgb=np.clip(frame.rgb * gain, 0, 255).astype(np.uint8))


GREY, BLACK, WHITE = ((150, 150, 148), (25, 25, 25), (245, 245, 245))


@pytest.mark.parametrize("model", [BOX, painted(BOX, GREY), painted(BOX, (40, 90, 160))])
def test_its_own_paint_is_not_doubted_at_any_usual_exposure(model: ObjectModel) -> None:
    frame = frame_of([(model, AT)])
    for gain in (0.65, 0.8, 1.0, 1.25):
        assert doubted(lit(frame, gain), model) == 0.0


def test_a_black_or_white_thing_of_its_shape_is_doubted() -> None:
    for mine, theirs in ((GREY, BLACK), (BLACK, GREY), (WHITE, (90, 90, 90))):
        assert doubted(frame_of([(painted(BOX, theirs), AT)]), painted(BOX, mine)) < -1.5


def test_darkness_of_the_whole_picture_is_not_the_objects() -> None:
    frame = lit(frame_of([(painted(BOX, GREY), AT)]), 0.25)
    assert doubted(frame, painted(BOX, GREY)) > -1.0
    bright = frame.rgb.copy()
    bright[:, :120] = 200
    assert doubted(replace(frame, rgb=bright), painted(BOX, GREY)) < -2.0


def test_a_shadow_across_it_is_not_its_paint() -> None:
    frame = frame_of([(painted(BOX, GREY), AT)])
    shaded = frame.rgb.astype(float)
    shaded[:, :345] *= 0.3
    assert doubted(replace(frame, rgb=shaded.astype(np.uint8)), painted(BOX, GREY)) == 0.0


def test_another_hue_and_another_print_are_doubted() -> None:
    other = textured_box(seed=5)
    assert doubted(frame_of([(other, AT)]), BOX) < -2.0
    assert doubted(frame_of([(painted(BOX, (160, 60, 50)), AT)]), painted(BOX, (60, 100, 160))) < -4.0


def test_a_print_that_fits_vouches_for_hues_that_do_not() -> None:
    frame = frame_of([(BOX, AT)])
    tinted = replace(frame, rgb=np.clip(frame.rgb * [0.65, 1.0, 1.3], 0, 255).astype(np.uint8))
    evidence = to_evidence(compare(frame_features(tinted), BOX, AT[None], side=96)[0])
    assert evidence.hue < 0.8 < evidence.color
    assert doubted(tinted, BOX) == pytest.approx(0.0, abs=0.3)


def test_who_is_refused_for_its_paint_is_told_so(tmp_path: Path) -> None:
    grey = painted(bracket(), GREY)
    registrar = GeometricRegistrar({"bracket": grey}, RegistrationConfig(),
                                   OnboardingConfig(cache=str(tmp_path), rotations=100))
    answers = []
    for paint in (GREY, BLACK):
        frame = frame_of([(painted(bracket(), paint), AT)])
        seen = Localization(object_name="bracket", stamp_ns=0, mask=frame.depth > 0, cam_from_objs=AT[None],
                            probability=0.9)
        answers.append(registrar.register(frame, seen))
    assert isinstance(answers[0], Registration)
    assert isinstance(answers[1], RegistrationFailure) and answers[1].reason is Reason.VERIFIER_REJECTED
    assert "its shape fits, its paint does not" in answers[1].detail


def test_without_colours_nothing_is_known_of_the_paint() -> None:
    model = bracket()
    assert doubted(frame_of([(model, AT)]), model) == 0.0
