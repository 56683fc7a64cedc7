"""The decision: pure, monotone in its terms, and told apart by cause."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storm_core.config import MonitorConfig
from storm_core.evidence.verifier import FEATURES
from storm_core.monitor.decision import DOUBTS, PRIOR_LOG_ODDS, SURPRISE, TERMS, Decision, Measured, Word
from storm_core.monitor.twin_watch import LIMIT
from storm_core.types import Evidence, Reason, Verdict

GOOD = Evidence(inside=1.0, inlier=0.97, occluded=0.0, behind=0.01, missing=0.02, residual=0.004, fit=0.9, normal=0.95,
                contour=0.97, edge=0.9, seam=0.1, color=0.85, picture=0.85, contrast=0.5, hue=0.9, innovation=0.01,
                learned=5.0, twin=0.0)
BAD = replace(GOOD, inlier=0.3, behind=0.5, fit=0.4, contour=0.3, edge=0.2, seam=3.0, color=0.1, picture=0.1, hue=0.4,
              learned=-5.0)


def seen(evidence: Evidence, *, blind: bool = False, frozen: bool = False) -> Measured:
    return Measured(evidence=evidence, blind=blind, frozen=frozen)


def judged(*evidences: Evidence, config: MonitorConfig | None = None, without: str = "") -> list[Word]:
    decision = Decision(config or MonitorConfig(), without)
    return [decision.judge(seen(evidence)) for evidence in evidences]


def test_right_and_wrong_are_told_apart_with_a_reason() -> None:
    assert judged(GOOD)[0].verdict is Verdict.HEALTHY
    word = judged(BAD)[0]
    assert word.verdict is Verdict.LOST and word.probability < 0.1 and word.reason in DOUBTS


def test_one_bad_frame_does_not_end_a_track_and_its_memory_fades() -> None:
    blurred = replace(GOOD, contour=0.75, edge=0.3, color=0.2, picture=0.2, learned=0.0)
    words = judged(GOOD, GOOD, blurred, GOOD)
    assert [word.verdict for word in words] == [Verdict.HEALTHY] * 4
    assert judged(GOOD, GOOD, GOOD, BAD, BAD)[-1].verdict is Verdict.LOST


@pytest.mark.parametrize("learned", [-1.5, -0.5, 0.5, 1.0])
def test_the_same_word_again_is_no_second_witness(learned: float) -> None:
    """The error of a tracked pose stays for many frames: what repeats itself gains the prior and nothing else."""
    uncertain = replace(GOOD, inlier=0.75, behind=0.08, missing=0.1, fit=0.7, contour=0.8, edge=0.6, seam=1.5,
                        color=0.5, picture=0.5, hue=0.6, learned=learned)
    words = judged(*[uncertain] * 12)
    first, last = (np.log(word.probability / (1.0 - word.probability)) for word in (words[0], words[-1]))
    assert last == pytest.approx(first + PRIOR_LOG_ODDS, abs=0.01)


def test_a_reset_forgets() -> None:
    decision = Decision(MonitorConfig())
    first = decision.judge(seen(GOOD))
    decision.judge(seen(BAD))
    decision.reset()
    assert decision.judge(seen(GOOD)) == first


def test_what_is_no_failure_has_a_verdict_of_its_own() -> None:
    decision = Decision(MonitorConfig())
    assert decision.judge(seen(GOOD, frozen=True)).verdict is Verdict.FROZEN_INPUT
    assert np.isnan(decision.judge(seen(GOOD, frozen=True)).probability)
    blind = replace(GOOD, edge=np.nan, color=np.nan, hue=np.nan, learned=np.nan)
    assert decision.judge(seen(blind, blind=True)).reason is Reason.NO_COLOR
    assert Decision(MonitorConfig()).judge(seen(Evidence(inside=0.0))).reason is Reason.OUT_OF_VIEW
    hidden = replace(GOOD, inlier=0.05, occluded=0.93)
    assert Decision(MonitorConfig()).judge(seen(hidden)).verdict is Verdict.OCCLUDED


def test_a_better_twin_ends_trust() -> None:
    word = judged(replace(GOOD, twin=LIMIT + 0.1))[0]
    assert (word.verdict, word.reason) == (Verdict.LOST, Reason.AMBIGUOUS) and word.probability < 0.5
    assert judged(replace(GOOD, twin=LIMIT + 0.1), without="twin")[0].verdict is Verdict.HEALTHY


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(("fit", "contour", "edge", "hue", "learned", "similarity")), st.floats(0.0, 0.9),
       st.floats(0.01, 0.5))
def test_more_agreement_is_never_less_probable(name: str, low: float, more: float) -> None:
    less, better = (judged(replace(GOOD, **{name: value}))[0].probability for value in (low, low + more))
    assert better >= less


@pytest.mark.parametrize("without", TERMS)
def test_every_term_can_be_left_out(without: str) -> None:
    doubtful = replace(GOOD, inlier=0.75, behind=0.08, occluded=0.05, missing=0.1, fit=0.7, contour=0.8, edge=0.6,
                       seam=1.5, color=0.5, picture=0.5, hue=0.6, learned=-0.5, similarity=-1.0, twin=0.2, region=0.6)
    sequence = (GOOD, replace(doubtful, innovation=2.0 * SURPRISE), doubtful)
    assert judged(*sequence)[2].probability != judged(*sequence, without=without)[2].probability


def test_terms_of_the_decision_are_those_of_its_reasons() -> None:
    known = {name for names in DOUBTS.values() for name in names}
    assert known == set(TERMS) - {"twin", "region", "memory", "innovation"} and set(FEATURES) <= known


def test_the_published_rule_waits_for_as_many_frames_as_it_is_told() -> None:
    words = judged(GOOD, BAD, BAD, BAD, GOOD, config=MonitorConfig(consecutive=3))
    assert [word.verdict is Verdict.LOST for word in words] == [False, False, False, True, False]


def test_what_hides_an_object_is_told_by_the_pixels_that_have_depth() -> None:
    """An occluder's shadow has no depth: the little that is measured is the occluder, so the pose is not lost."""
    shadow = replace(GOOD, inlier=0.01, occluded=0.2, behind=0.0, missing=0.79, contour=np.nan, color=np.nan,
                     hue=np.nan, picture=np.nan, learned=-4.0, twin=np.nan)
    assert judged(shadow)[0].verdict is Verdict.OCCLUDED
    assert judged(replace(shadow, occluded=0.02, behind=0.18))[0].verdict is Verdict.LOST, "the camera sees through it"
    unmeasured = replace(shadow, occluded=0.01, missing=0.98)
    assert judged(unmeasured)[0].verdict is Verdict.LOST, "too little to tell by, and the picture contradicts"


def test_what_depth_said_last_counts_while_it_says_nothing() -> None:
    """With nearly all depth lost, single frames measure by turns a little and nothing; the verdict does not change."""
    shadow = replace(GOOD, inlier=0.0, occluded=0.08, behind=0.0, missing=0.92, contour=np.nan, color=np.nan,
                     hue=np.nan, picture=np.nan, learned=-4.0, twin=np.nan)
    unmeasured = replace(shadow, occluded=0.02, missing=0.98)
    words = judged(shadow, unmeasured, unmeasured, shadow, unmeasured)
    assert {word.verdict for word in words} == {Verdict.OCCLUDED}
    elsewhere = replace(unmeasured, innovation=2 * SURPRISE, occluded=0.0)
    assert judged(shadow, elsewhere)[1].verdict is Verdict.LOST, "another pose: what hid the old one says nothing"
    assert judged(shadow, *[replace(unmeasured, occluded=0.0, behind=0.02)] * 3)[-1].verdict is Verdict.LOST


def test_a_certain_twin_is_no_overflow() -> None:
    with np.errstate(over="raise"):
        assert judged(replace(GOOD, twin=1e4))[0].probability < 1e-6


def test_an_outline_that_the_trackers_colours_do_not_see_is_a_doubt_and_silence_is_none() -> None:
    silent, clear, unclear = (judged(replace(GOOD, region=region))[0].probability for region in (np.nan, 0.97, 0.3))
    assert silent == clear > unclear > 0.5, "one term alone does not end a track"
    assert judged(replace(GOOD, region=0.3), without="region")[0].probability == silent
