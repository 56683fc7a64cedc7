"""What a contender is told and what its answer is worth."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storm_core.bags.recording import open_recording
from storm_core.bags.true_poses import TruthPose
from storm_core.benchmarks.clip import DEPTH_UNIT_M, Clip, Plan, plan_clip
from storm_core.benchmarks.figures import pooled_median, stride_figures
from storm_core.benchmarks.objects import mask_hints
from storm_core.benchmarks.protocol import Answer, asked, pose_line, read_answer, read_task, stage_line, write_clip
from storm_core.errors import DatasetError
from storm_core.geometry.pose import from_rotation_translation, so3_exp
from storm_core.rendering.raster import NumbaRenderer
from test.unit.benchmarks.tiny import MODEL, POSES, N

ANYWHERE = from_rotation_translation(so3_exp(np.array([0.3, -0.2, 0.5])), np.array([0.1, -0.2, 0.7]))


@given(st.integers(1, 200), st.integers(1, 40))
def test_everybody_is_asked_for_the_same_frames_and_never_for_the_given_one(frames: int, stride: int) -> None:
    wanted = list(asked(frames, stride))
    assert 0 not in wanted and all(0 < k < frames and k % stride == 0 for k in wanted)
    assert len(wanted) == (frames - 1) // stride
    assert set(wanted) <= set(asked(frames, 1))


def test_a_contender_reads_the_frames_that_were_recorded(clip: Clip, tmp_path: Path) -> None:
    write_clip(tmp_path, clip, [1, 3], 2)
    task = read_task(tmp_path)
    assert task.strides == (1, 3) and task.repeats == 2 and len(task) == N == len(clip)
    assert task.stamps_ns == clip.stamps_ns and task.camera == clip.camera
    np.testing.assert_array_equal(task.start, clip.start)
    np.testing.assert_array_equal(task.rgb, clip.rgb)
    np.testing.assert_array_equal(task.depth, clip.depth)
    assert {"model.obj", "model.ply"} <= {file.name for file in tmp_path.iterdir()}


def test_the_clip_is_the_recording(clip: Clip, scene: Path) -> None:
    for k, frame in enumerate(open_recording(scene).frames()):
        np.testing.assert_array_equal(clip.rgb[k], frame.rgb)
        assert np.abs(clip.frame(k).depth - frame.depth).max() <= 0.51 * DEPTH_UNIT_M
        assert clip.stamps_ns[k] == frame.stamp_ns
    np.testing.assert_allclose(clip.start, POSES[0], atol=1e-9)


def test_a_clip_begins_where_one_instance_is_known_well(clip: Clip, scene: Path) -> None:
    recording = open_recording(scene)
    poor, good = TruthPose(cam_from_obj=POSES[0], good=False), TruthPose(cam_from_obj=POSES[2])
    hidden = TruthPose(cam_from_obj=POSES[1], visible=0.02)
    later = plan_clip("x", recording, clip.model, [(poor,), (hidden,), (good,), (good, good), (), None])
    assert isinstance(later, Plan)
    later = later.read()
    assert len(later) == N - 2 and later.stamps_ns == clip.stamps_ns[2:]
    np.testing.assert_array_equal(later.start, POSES[2])
    assert "no frame" in str(plan_clip("x", recording, clip.model, [(poor,), (good, good), (), None, (hidden,), ()]))
    assert "one frame is left" in str(plan_clip("x", recording, clip.model, [None] * (N - 1) + [(good,)]))
    short = plan_clip("x", recording, clip.model, clip.truths, max_frames=3)
    assert isinstance(short, Plan) and len(short.read()) == 3


def answered(tmp_path: Path, lines: list[str]) -> Answer:
    (tmp_path / "a.txt").write_text("".join(lines))
    return read_answer(tmp_path / "a.txt", N, [1, 2])


def test_an_answer_is_read_back(tmp_path: Path) -> None:
    a = answered(tmp_path, [
        "onboarding 12.5 1000\n", pose_line(1, 0, 3, 2.5, ANYWHERE), stage_line(1, 0, 3, "track", 1.5),
        pose_line(1, 1, 3, 2.0, np.eye(4)), stage_line(1, 1, 3, "track", 1.75), pose_line(2, 0, 4, 9.0, None)])
    np.testing.assert_allclose(a.poses[1, 3], ANYWHERE, atol=1e-8)
    assert a.ms == {(1, 3): 2.0, (2, 4): 9.0}, "the shortest of the repeats counts"
    assert a.poses[2, 4] is None and a.stages["track"] == {(1, 3): 1.5} and a.onboarding == (12.5, 1000)


def test_numbers_that_are_no_pose_are_no_answer(tmp_path: Path) -> None:
    a = answered(tmp_path, [pose_line(1, 0, 1, 1.0, np.full((4, 4), math.nan)), pose_line(1, 0, 2, 1.0, 2 * np.eye(4))])
    assert a.poses == {(1, 1): None, (1, 2): None}


@pytest.mark.parametrize("line", ["pose 1 0 0 1.0 none", "pose 1 0 6 1.0 none", "pose 2 0 3 1.0 none",
                                  "pose 4 0 4 1.0 none", "pose 1 0 1 1.0 1 2 3", "pose 1 0 x 1.0 none", "hello",
                                  "onboarding 1"])
def test_a_malformed_answer_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(DatasetError, match="line 1 is no answer"):
        answered(tmp_path, [line + "\n"])


def told(clip: Clip, poses: dict[int, np.ndarray | None], stride: int = 1) -> Answer:
    return Answer(poses={(stride, k): p for k, p in poses.items()}, ms={(stride, k): 1.0 + k for k in poses})


def test_the_truth_is_perfect_and_silence_is_failure(clip: Clip) -> None:
    right = stride_figures(clip, told(clip, {k: POSES[k] for k in range(1, N)}), 1)
    assert right["add_auc"] > 0.999 and right["add_01d"] == 1 and right["answered"] == 1 and right["frames"] == N - 1
    assert right["mssd_mm"]["p95"] < 1e-3 and right["ms"] == {"p50": 4.0, "p95": 6.0, "n": N - 1}
    silent = stride_figures(clip, Answer(), 1)
    assert silent["add_auc"] == silent["adds_auc"] == silent["add_01d"] == silent["answered"] == 0
    assert math.isinf(silent["mssd_mm"]["p50"]) and silent["frames"] == N - 1 and silent["ms"]["n"] == 0


@given(st.sets(st.integers(1, N - 1)))
def test_each_frame_without_a_pose_costs_its_share(clip: Clip, kept: set[int]) -> None:
    """Whether the tracker says `none` or nothing at all."""
    saying = told(clip, {k: POSES[k] if k in kept else None for k in range(1, N)})
    leaving = told(clip, {k: POSES[k] for k in kept})
    for answer in (saying, leaving):
        figures = stride_figures(clip, answer, 1)
        assert figures["add_01d"] == figures["answered"] == pytest.approx(len(kept) / (N - 1))
        assert figures["add_auc"] == pytest.approx(len(kept) / (N - 1), abs=1e-6)
        assert figures["frames"] == N - 1


def test_frames_with_poor_truth_do_not_count_for_anybody(clip: Clip) -> None:
    poor = (TruthPose(cam_from_obj=POSES[1], good=False),)
    partly = replace(clip, truths=(clip.truths[0], poor, *clip.truths[2:]))
    wrong = told(partly, {k: np.eye(4) if k == 1 else POSES[k] for k in range(1, N)})
    assert stride_figures(partly, wrong, 1)["frames"] == N - 2
    assert stride_figures(partly, wrong, 1)["add_01d"] == 1


def test_medians_are_over_the_frames_of_all_clips() -> None:
    a, b = Answer(ms={(1, 1): 1.0, (1, 2): 2.0, (2, 2): 99.0}), Answer(ms={(1, 1): 9.0})
    assert pooled_median([a, b], 1) == 2.0


def test_masks_for_registration_leave_out_what_hides_the_object(clip: Clip) -> None:
    frames, masks = mask_hints(clip)
    assert masks.shape == (len(frames), clip.camera.height, clip.camera.width) and set(frames) <= set(range(N))
    drawn = NumbaRenderer().depth(MODEL, POSES[0][None], clip.camera)[0][0] > 0
    assert (masks[0] & drawn).sum() > 0.9 * drawn.sum()
    hand = clip.depth.copy()
    hand[0, :, :160] = round(0.1 / DEPTH_UNIT_M)
    assert not mask_hints(replace(clip, depth=hand))[1][0][:, :160].any()
