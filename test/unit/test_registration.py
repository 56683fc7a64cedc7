"""Localization and registration on rendered frames with exact truth."""

from dataclasses import replace

import numpy as np
import pytest

from storm_core.config import OnboardingConfig, RegistrationConfig, SomConfig
from storm_core.evidence.compare import compare, to_evidence
from storm_core.evidence.features import frame_features
from storm_core.evidence.verifier import DEFAULT as VERIFIER
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import angle_between, inverse, se3_exp
from storm_core.refinement.icp import refine
from storm_core.registration.register import GeometricRegistrar
from storm_core.som.detect import GeometricLocalizer
from storm_core.types import Hint, Localization, NotFound, Registration, RegistrationFailure
from test.synthetic import bracket, frame_of, pose, textured_box

TRUTH = pose((0.4, 0.9, -0.5), (0.03, 0.02, 0.62))


@pytest.fixture(scope="module")
def onboarding(tmp_path_factory: pytest.TempPathFactory) -> OnboardingConfig:
    return OnboardingConfig(cache=str(tmp_path_factory.mktemp("cache")))


def error(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """(translation [m], rotation [deg])."""
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3])), float(np.rad2deg(angle_between(a, b)))


def test_right_pose_has_clean_evidence_and_a_wrong_one_has_not() -> None:
    model = textured_box()
    features = frame_features(frame_of([(model, TRUTH)]))
    shifted = TRUTH.copy()
    shifted[0, 3] += 0.3 * model.diameter
    right, wrong = (to_evidence(r) for r in compare(features, model, np.stack([TRUTH, shifted])))
    assert right.inlier > 0.97 and right.contour > 0.5 and right.color > 0.8 and right.seam < 0.5
    assert wrong.inlier < right.inlier - 0.2
    assert VERIFIER.probability(right) > 0.95 > 0.3 > VERIFIER.probability(wrong)


@pytest.mark.parametrize("model", [textured_box(), bracket()], ids=lambda m: m.name)
def test_icp_pulls_a_disturbed_pose_back(model) -> None:  # noqa: ANN001
    features = frame_features(frame_of([(model, TRUTH)]))
    rng = np.random.default_rng(1)
    start = np.stack([se3_exp(rng.normal(0, 1, 6) * [0, 0, 0, 0.12, 0.12, 0.12]) @ TRUTH for _ in range(12)])
    start[:, :3, 3] = TRUTH[:3, 3] + rng.normal(0, 0.006, (12, 3))
    out, _, _ = refine(features, model, start, side=64, iterations=12, gate=(0.2, 0.03))
    errors = np.array([error(p, TRUTH) for p in out])
    assert np.median(errors[:, 0]) < 0.003 and np.median(errors[:, 1]) < 1.5
    assert (errors[:, 0] < 0.01).all()


@pytest.mark.parametrize("model", [textured_box(), bracket()], ids=lambda m: m.name)
def test_found_and_registered_without_a_mask(model, onboarding: OnboardingConfig) -> None:  # noqa: ANN001
    frame = frame_of(
        [(textured_box("other", (0.05, 0.05, 0.2), 7), pose((1.2, 0, 0), (-0.15, 0.05, 0.75))), (model, TRUTH)],
        noise=0.002,
    )
    models = {model.name: model}
    found = GeometricLocalizer(models, SomConfig(), onboarding).localize(frame, model.name, Hint())
    assert isinstance(found, Localization), found
    result = GeometricRegistrar(models, RegistrationConfig(), onboarding).register(frame, found)
    assert isinstance(result, Registration), result
    translation, rotation = error(result.cam_from_obj, TRUTH)
    assert translation < 0.005 and rotation < 3.0
    # Honest covariance: the error is neither a miracle nor a surprise.
    twist = inverse(TRUTH) @ result.cam_from_obj
    assert np.linalg.eigvalsh(result.covariance).min() > 0
    assert np.isfinite(twist).all()


def test_registered_from_a_mask_alone(onboarding: OnboardingConfig) -> None:
    model = textured_box()
    frame = frame_of([(model, TRUTH)], noise=0.002)
    mask = np.abs(frame_of([(model, TRUTH)]).depth - frame_of([]).depth) > 0.004
    found = GeometricLocalizer({model.name: model}, SomConfig(), onboarding).localize(
        frame, model.name, Hint(mask=mask)
    )
    assert isinstance(found, Localization) and len(found.cam_from_objs) == 0
    result = GeometricRegistrar({model.name: model}, RegistrationConfig(), onboarding).register(frame, found)
    assert isinstance(result, Registration), result
    assert error(result.cam_from_obj, TRUTH)[0] < 0.005 and error(result.cam_from_obj, TRUTH)[1] < 3.0


def test_absent_object_is_refused_with_a_reason(onboarding: OnboardingConfig) -> None:
    model = textured_box()
    frame = frame_of([(bracket(), TRUTH)], noise=0.002)
    found = GeometricLocalizer({model.name: model}, SomConfig(), onboarding).localize(frame, model.name, Hint())
    if isinstance(found, Localization):
        assert found.probability < 0.5
        found = GeometricRegistrar({model.name: model}, RegistrationConfig(), onboarding).register(frame, found)
    assert isinstance(found, NotFound | RegistrationFailure) and found.probability < 0.5


def painted(color: tuple[int, int, int]) -> ObjectModel:
    """A bracket of one colour."""
    plain = bracket()
    return replace(plain, colors=np.tile(np.uint8(color), (len(plain.vertices), 1)))


def test_the_same_shape_in_another_colour_is_another_object(onboarding: OnboardingConfig) -> None:
    frame = frame_of([(painted((40, 60, 190)), TRUTH)], noise=0.002)
    here = Localization(object_name="bracket", stamp_ns=0, mask=np.ones(frame.depth.shape, bool),
                        cam_from_objs=TRUTH[None], probability=0.9)
    answers = [GeometricRegistrar({"bracket": model}, RegistrationConfig(), onboarding).register(frame, here)
               for model in (painted((50, 70, 200)), painted((200, 60, 30)))]
    assert isinstance(answers[0], Registration) and answers[0].probability > 0.8
    assert isinstance(answers[1], RegistrationFailure) and answers[1].probability < 0.2


def test_mask_without_depth_is_refused(onboarding: OnboardingConfig) -> None:
    model = textured_box()
    frame = frame_of([], table=False)
    mask = np.zeros(frame.depth.shape, bool)
    mask[200:260, 300:360] = True
    found = GeometricLocalizer({model.name: model}, SomConfig(), onboarding).localize(
        frame, model.name, Hint(mask=mask)
    )
    result = GeometricRegistrar({model.name: model}, RegistrationConfig(), onboarding).register(frame, found)
    assert isinstance(result, RegistrationFailure) and result.reason.value == "mask_without_depth"
