"""Registration where depth is missing, given masks, decoys, several instances: on rendered frames with exact truth."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storm_core.config import OnboardingConfig, RegistrationConfig, SomConfig
from storm_core.evidence.columns import COLUMNS, PICTURE
from storm_core.evidence.compare import CROP_DIAMETERS, compare, crop_camera, precision, to_evidence
from storm_core.evidence.explained import without
from storm_core.evidence.features import frame_features
from storm_core.evidence.silhouette import modal_mask
from storm_core.evidence.verifier import DEFAULT as VERIFIER
from storm_core.evidence.verifier import feature_vector, supported_share
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import so3_exp
from storm_core.registration.decoys import DIFFERENT, EXPECTED_MARGIN, GLANCE, decoy_margin, decoys, doubt, print_lead
from storm_core.registration.given_mask import mask_agreement, mask_log_odds
from storm_core.registration.judge import Judge
from storm_core.registration.polish import perturbed, polish
from storm_core.registration.register import Candidate, GeometricRegistrar, distinct, rejection
from storm_core.registration.twins import declared_distance
from storm_core.rendering.raster import NumbaRenderer
from storm_core.som.detect import HIDDEN_EVERY, GeometricLocalizer
from storm_core.types import Evidence, Frame, Hint, Localization, Reason, Registration
from test.synthetic import bracket, frame_of, pose, textured_box

TRUTH = pose((0.4, 0.9, -0.5), (0.03, 0.02, 0.62))


@pytest.fixture(scope="module")
def onboarding(tmp_path_factory: pytest.TempPathFactory) -> OnboardingConfig:
    return OnboardingConfig(cache=str(tmp_path_factory.mktemp("cache")))


def blinded(frame: Frame, mask: np.ndarray, share: float = 1.0) -> Frame:
    """The frame without depth in the right `share` of the mask's columns, as if in the shadow of something."""
    columns = np.flatnonzero(mask.any(0))
    depth = frame.depth.copy()
    depth[:, columns[int((1 - share) * len(columns))] - (10 if share == 1.0 else 0) : columns.max() + 11] = 0
    return replace(frame, depth=depth)


def mask_of(model: ObjectModel) -> np.ndarray:
    return modal_mask(frame_of([(model, TRUTH)]), model, TRUTH)


def shifted(x: float, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    out = TRUTH.copy()
    out[:3, 3] += x, y, z
    return out


def test_correlation_over_the_picture_agrees_with_a_slow_twin() -> None:
    model = textured_box()
    frame = frame_of([(model, TRUTH)], noise=0.002)
    frame = blinded(frame, mask_of(model))
    side = 64
    table = compare(frame_features(frame), model, TRUTH[None], side=side)
    crop = crop_camera(TRUTH, model.center, model.diameter, frame.camera.vector, side)
    drawn = NumbaRenderer().render(model, TRUTH[None], PinholeCamera(side, side, *crop[:4]))
    v, u = np.nonzero(drawn.mask[0])
    x, y = np.floor(crop[4] + crop[6] * u + 0.5).astype(int), np.floor(crop[5] + crop[6] * v + 0.5).astype(int)
    a = np.log(drawn.color[0, v, u].astype(float) + 16)
    b = np.log(frame.rgb[y, x].astype(float) + 16)
    a, b = a - a.mean(0), b - b.mean(0)
    assert table[0, PICTURE] == pytest.approx((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()), abs=0.01)
    evidence = to_evidence(table[0])
    assert evidence.missing == 1.0 and evidence.picture > 0.7 and np.isnan(evidence.color)
    assert np.isnan(evidence.contour), "no depth on either side of the contour says nothing of the background"


def test_a_table_is_judged_as_its_rows_are() -> None:
    model = textured_box()
    poses = np.stack([TRUTH, shifted(0.02), shifted(0.5), shifted(0, 0, 0.03)])
    table = compare(frame_features(frame_of([(model, TRUTH)])), model, poses, side=64)
    assert VERIFIER.table_log_odds(table) == pytest.approx([VERIFIER.log_odds(to_evidence(row)) for row in table])
    assert precision(table)[0] == precision(table)[[0, 1, 3]].max()
    assert VERIFIER.ranking(table) == pytest.approx([VERIFIER.ranking(row[None])[0] for row in table])


def test_whatever_is_unknown_a_single_pose_is_judged_as_among_many() -> None:
    rng = np.random.default_rng(0)
    names = [f.name for f in fields(Evidence)]
    values = np.where(rng.random((200, len(names))) < 0.3, np.nan, rng.uniform(0.0, 1.0, (200, len(names))))
    many = feature_vector(Evidence(**dict(zip(names, values.T, strict=True))))
    alone = [VERIFIER.log_odds(Evidence(**dict(zip(names, row, strict=True)))) for row in values.tolist()]
    assert np.isfinite(alone).all()
    np.testing.assert_allclose(VERIFIER.log_odds_of(many), alone, rtol=1e-9, atol=1e-9)


def test_holes_in_the_depth_contradict_nothing() -> None:
    """Half of the pose agrees: whether the rest has depth that agrees as well, or none, is the sensor's affair."""
    whole = Evidence(inside=1.0, inlier=1.0, occluded=0.0, behind=0.0, missing=0.0, fit=0.9, contour=0.9,
                     edge=0.9, seam=0.2)
    torn = replace(whole, inlier=0.5, missing=0.5)
    assert VERIFIER.log_odds(torn) == pytest.approx(VERIFIER.log_odds(whole))
    nowhere = replace(torn, inlier=0.1, missing=0.9)
    assert VERIFIER.log_odds(nowhere) < VERIFIER.log_odds(torn), "a pose seen nowhere is no pose"


def test_without_depth_the_picture_decides() -> None:
    model, other = textured_box(), textured_box("other", seed=5)
    frame = blinded(frame_of([(model, TRUTH)], noise=0.002), mask_of(model))
    judged = [VERIFIER.probability(to_evidence(compare(frame_features(frame), m, TRUTH[None], side=96)[0]))
              for m in (model, other)]
    assert judged[0] > 0.5 > 0.2 > judged[1]


def test_polish_finds_what_icp_cannot_see() -> None:
    model = textured_box()
    frame = blinded(frame_of([(model, TRUTH)], noise=0.002), mask_of(model))
    judge = Judge(frame_features(frame), model)
    starts = perturbed(np.repeat(TRUTH[None], 2, 0), model.center,
                       np.array([[0.008, -0.006, 0.01, 0.06, 0.05, -0.08], [-0.006, 0.008, -0.01, -0.08, 0.06, 0.05]]))
    before, _ = judge.judge(starts, 64)
    out, rank = polish(judge, starts, side=64, rounds=6, samples=48, shift=0.05, turn_deg=5.0)
    assert (rank >= before).all()
    away = [declared_distance(model, p, TRUTH) / model.diameter for p in (*starts, *out)]
    assert min(away[2:]) < 0.1 and max(away[2:]) < max(away[:2])


def test_registered_from_a_mask_half_of_which_has_no_depth(onboarding: OnboardingConfig) -> None:
    model = textured_box()
    mask = mask_of(model)
    frame = blinded(frame_of([(model, TRUTH)], noise=0.002), mask, 0.5)
    models = {model.name: model}
    found = GeometricLocalizer(models, SomConfig(), onboarding).localize(frame, model.name, Hint(mask=mask))
    result = GeometricRegistrar(models, RegistrationConfig(), onboarding).register(frame, found)
    assert isinstance(result, Registration), result
    assert declared_distance(model, result.cam_from_obj, TRUTH) < 0.1 * model.diameter
    assert np.linalg.eigvalsh(result.covariance).min() > 0


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.floats(-0.04, 0.04)] * 2))
def test_mask_agreement_is_largest_at_the_pose_of_the_mask(by: tuple[float, float]) -> None:
    model = bracket()
    mask = mask_of(model)
    frame = frame_of([(model, TRUTH)])
    poses = np.stack([TRUTH, shifted(*by)])
    table = compare(frame_features(frame), model, poses, side=64, mask=mask)
    agreement = mask_agreement(table, poses, model, frame.camera, mask, 64)
    assert agreement[0] > 0.9 and 0 <= agreement[1] <= 1.0
    # Up to the grid of the crop, whose step is this many diameters.
    if np.hypot(*by) > 3 * CROP_DIAMETERS / 64 * model.diameter:
        assert mask_log_odds(agreement)[1] < mask_log_odds(agreement)[0]


def test_decoys_differ_by_more_than_any_symmetry() -> None:
    half_turn = np.eye(4)
    half_turn[:3, :3] = so3_exp([0, 0, np.pi])
    model = replace(textured_box(), symmetries=np.stack([np.eye(4), half_turn]))
    plain, symmetric = (decoys(m, TRUTH, np.eye(4)[None]) for m in (textured_box(), model))
    assert len(symmetric) < len(plain)
    assert min(declared_distance(model, TRUTH, other) for other in symmetric) > DIFFERENT * model.diameter
    assert len(decoys(textured_box(), TRUTH, model.symmetries)) == len(symmetric)


def test_a_right_pose_stands_out_from_its_decoys_and_a_lone_wrong_one_does_not() -> None:
    model = textured_box()
    frame = frame_of([(model, TRUTH)], noise=0.002)
    judge = Judge(frame_features(frame), model)
    assert decoy_margin(judge, TRUTH, np.eye(4)[None], 0.5) > 2.0
    on_the_table = pose((2.2, 0.0, 0.0), (-0.2, 0.1, 0.66))
    assert decoy_margin(judge, on_the_table, np.eye(4)[None], 0.5) < 1.0


def test_a_faint_print_says_surely_how_a_box_is_turned_where_depth_has_placed_it() -> None:
    box = textured_box()
    faint = replace(box, colors=(150.0 + 0.12 * (box.colors.astype(float) - box.colors.mean(0))).astype(np.uint8))
    frame = frame_of([(faint, TRUTH)], noise=0.002)
    half_turn = np.eye(4)
    half_turn[:3, :3] = so3_exp([0, 0, np.pi])
    poses = np.stack([TRUTH, TRUTH @ half_turn])
    table = Judge(frame_features(frame), faint).table(poses, GLANCE)
    assert print_lead(table, 1.0)[0] > 1.0
    assert print_lead(table[::-1], 1.0)[0] < 0.2
    blind = replace(frame, depth=np.zeros_like(frame.depth))
    assert print_lead(Judge(frame_features(blind), faint).table(poses, GLANCE), 1.0) == pytest.approx(0.0)


def test_poses_equal_by_declared_symmetry_are_followed_once() -> None:
    half_turn = np.eye(4)
    half_turn[:3, :3] = so3_exp([0, 0, np.pi])
    model = replace(textured_box(), symmetries=np.stack([np.eye(4), half_turn]))
    poses = np.stack([TRUTH, TRUTH @ half_turn, shifted(0.1)])
    assert len(distinct(poses, model, 9, 0.05, 10.0)) == 2
    assert len(distinct(poses, textured_box(), 9, 0.05, 10.0)) == 3


def test_what_was_found_is_out_of_the_way_of_the_next_search(onboarding: OnboardingConfig) -> None:
    model = textured_box()
    places = [pose((0.4, 0.9, -0.5), (0.11, 0.02, 0.62)), pose((0.1, -0.7, 0.9), (-0.12, 0.03, 0.66))]
    frame = frame_of([(model, place) for place in places], noise=0.002)
    localizer = GeometricLocalizer({model.name: model}, SomConfig(), onboarding)
    registrar = GeometricRegistrar({model.name: model}, RegistrationConfig(), onboarding)
    found = []
    for _ in places:
        where = localizer.localize(frame, model.name, Hint())
        assert isinstance(where, Localization), where
        result = registrar.register(frame, where)
        assert isinstance(result, Registration), result
        found.append(result.cam_from_obj)
        frame = without(frame, modal_mask(frame, model, result.cam_from_obj))
    for place in places:
        assert min(declared_distance(model, place, p) for p in found) < 0.1 * model.diameter
    assert not isinstance(localizer.localize(frame, model.name, Hint()), Localization)


def test_the_lead_over_decoys_only_ever_counts_against_a_pose() -> None:
    assert doubt(EXPECTED_MARGIN + 5) == doubt(EXPECTED_MARGIN) == doubt(float("nan")) == 0.0
    assert doubt(EXPECTED_MARGIN - 1.0) == pytest.approx(-1.0)


def test_a_pose_that_turns_alike_is_named_ambiguous_unless_no_colour_could_tell() -> None:
    evidence = replace(to_evidence(np.ones(COLUMNS)), margin=-2.0)
    assert rejection(Candidate(TRUTH, 0.3, evidence, doubts=-3.5), 0.5) is Reason.AMBIGUOUS
    assert rejection(Candidate(TRUTH, 0.3, evidence, doubts=0.0), 0.5) is Reason.VERIFIER_REJECTED
    model = replace(textured_box(), colors=None)
    judge = Judge(frame_features(frame_of([(model, TRUTH)])), model)
    turns = np.tile(np.eye(4), (4, 1, 1))
    turns[1:, :3, :3] = so3_exp(np.pi * np.eye(3))
    assert decoy_margin(judge, TRUTH, turns, float("nan")) > 1.0
    # Where colours could tell, the same turns are decoys; here they look as good as the pose.
    assert decoy_margin(judge, TRUTH, turns, 1.0) < 0.1


def test_a_pose_mostly_outside_the_image_is_less_supported() -> None:
    inside = to_evidence(np.ones(COLUMNS))
    whole, part = (replace(inside, inside=share, inlier=0.9, missing=0.0) for share in (1.0, 0.4))
    assert supported_share(whole) > 2 * supported_share(part)


def test_live_searches_look_around_the_last_pose_first_and_share_the_rest(
    onboarding: OnboardingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = textured_box()
    localizer = GeometricLocalizer({model.name: model}, SomConfig(), onboarding)
    done: list[str] = []
    for kind in ("live_candidates", "hidden_candidates"):
        search = getattr(GeometricLocalizer, kind)
        monkeypatch.setattr(GeometricLocalizer, kind,
                            lambda *a, kind=kind, search=search: (done.append(kind), search(*a))[1])
    hint = Hint(cam_from_obj=shifted(0.01))
    frame = frame_of([(model, TRUTH)], noise=0.002)
    assert isinstance(localizer.localize(frame, model.name, hint), Localization)
    assert done == [], "where it was last seen"
    empty = frame_of([(model, shifted(0.0, 0.0, 5.0))], noise=0.002)
    for _ in range(2 * HIDDEN_EVERY):
        assert not isinstance(localizer.localize(empty, model.name, hint), Localization)
    one_round = ["live_candidates"] * HIDDEN_EVERY + ["hidden_candidates"]
    assert done == 2 * one_round
