"""Presence: what counts as found, as misplaced and as a false accept, whatever the threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storm_core.bop.dataset import Annotation
from storm_core.evidence.texture import is_textured
from storm_core.metrics.mask_ap import MaskMatches
from storm_core.report.mask_presence import Question, presence_figures, questions
from storm_core.report.mask_table import JudgedImage
from storm_core.report.mask_targets import half_visible, mask_intervals, right_poses
from test.synthetic import bracket, pose, textured_box


def judged(number: int, scores: list[float], ious: list[list[float]], hidden: tuple[bool, ...] = (False,),
           visible: tuple[float, ...] = (1.0,)) -> JudgedImage:
    there = len(hidden)
    table = np.array(ious, float).reshape(len(scores), there)
    return JudgedImage(
        key=(1, number), obj_id=1, ious=tuple(table.max(0, initial=0)), targets=tuple(range(there)), visible=visible,
        matches=MaskMatches(scores=np.array(scores, float), ious=table, ignored=np.array(hidden, bool)),
        accepted=sum(s >= 0.5 for s in scores), annotated=there > 0)


def test_questions_follow_the_best_mask() -> None:
    asked = questions([judged(0, [0.9, 0.6], [[0.2], [0.9]]), judged(1, [0.8], [[0.75]]), judged(2, [], []),
                       judged(3, [0.7], [[]], (), ()), judged(4, [], [], (), ()), judged(5, [0.9], [[0.9]], (True,))])
    assert [(q.present, q.right) for q in asked] == [(True, False), (True, True), (True, False), (False, False),
                                                     (False, False)], "who is almost hidden is neither there nor not"
    assert [q.score for q in asked] == [0.9, 0.8, -np.inf, 0.7, -np.inf]
    figures = presence_figures(asked, 0.5, {1: True}, 0)
    assert set(figures) == {"all", "textured"}
    found = figures["all"]
    assert (found["present"], found["absent"]) == (3, 2)
    assert found["recall"] == found["misplaced"] == pytest.approx(1 / 3) and found["false_accept"] == 0.5
    # Right 0.8 against absent 0.7 and nothing: the right one is above both, the others tie with nothing or lose.
    assert found["auroc"] == pytest.approx((2 + 2 * 0.5) / 6)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 1)), min_size=1, max_size=30), st.floats(0, 1))
def test_the_curve_passes_through_every_threshold(rows: list[tuple[bool, bool, float]], accept: float) -> None:
    asked = [Question(key=(1, k), obj_id=1, present=there, score=score, right=right and there)
             for k, (there, right, score) in enumerate(rows)]
    figures = presence_figures(asked, accept, {1: False}, 0)["untextured"]
    curve = figures["roc"]
    assert all(np.diff(curve[key]).min(initial=0) >= 0 for key in ("recall", "false_accept"))
    here = int(np.sum(np.array(curve["probability"]) >= accept)) - 1
    for key in ("recall", "false_accept"):
        if figures[key] is not None:
            assert figures[key] == pytest.approx(curve[key][here] if here >= 0 else 0.0)


def test_what_is_less_than_half_visible_need_not_be_found() -> None:
    rows = [judged(0, [0.9], [[0.8]]), judged(1, [], [], visible=(0.4,)), judged(2, [0.9], [[0.6]]),
            judged(3, [0.9], [[0.9]], visible=(float("nan"),))]
    half = half_visible(rows, [True, False, True, False], 0)
    assert half["n"] == 3 and half["iou_75"] == half["adds_01d"] == pytest.approx(2 / 3)
    low, high = half["ci95"]["iou_75"]
    assert low <= 2 / 3 <= high
    bounds = mask_intervals(rows, 0)
    assert bounds["iou_mean"][0] <= np.mean([0.8, 0, 0.6, 0.9]) <= bounds["iou_mean"][1] and "ap_bop" in bounds
    assert mask_intervals(rows[:1], 0) == {}


def test_a_right_pose_is_near_its_own_instance() -> None:
    model, truth = textured_box("1"), pose((0.1, 0.2, 0.3), (0.0, 0.0, 0.6))
    near, far = truth.copy(), truth.copy()
    near[0, 3] += 0.05 * model.diameter
    far[0, 3] += 0.5 * model.diameter
    record = {"scene_id": 1, "object": "1", "found": True}
    records = [record | {"im_id": 0, "cam_from_obj": near.tolist()},
               record | {"im_id": 1, "cam_from_obj": far.tolist()},
               record | {"im_id": 2, "cam_from_obj": near.tolist(), "found": False}]
    annotations = {1: {k: (Annotation(obj_id=1, cam_from_obj=truth),) for k in range(3)}}
    rows = [judged(k, [0.9], [[0.9]]) for k in range(3)]
    assert right_poses(rows, records, annotations, {"1": model}) == [True, False, False]


def test_texture_is_contrast_of_the_surface() -> None:
    box = textured_box()
    assert is_textured(box) and not is_textured(bracket())
    plain = type(box)(**{name: getattr(box, name) for name in box.__dataclass_fields__}
                      | {"colors": np.full_like(box.colors, 90)})
    assert not is_textured(plain)
