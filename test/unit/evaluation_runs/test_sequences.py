"""Long sequences: what counts as a frame, as right and as inside, by hand; figures of scenes put together."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storm_core.bop.dataset import Annotation
from storm_core.cli.main import main
from storm_core.cli.sequence_table import sequence_tables
from storm_core.evaluation.dataset import open_dataset
from storm_core.evaluation.sequences import SHARES, SceneRows, figures, scene_rows, sequence_figures
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import from_rotation_translation, se3_exp, so3_exp
from storm_core.geometry.symmetry import symmetry_group
from storm_core.types import Evidence, ObjectOutput, Reason, StepOutput
from test.synthetic import pose, textured_box
from test.unit.evaluation_runs.tiny_dataset import FAST, write_dataset

BOX = textured_box("1")
TRUTH = pose((0.4, 0.3, 0.1), (0.0, 0.02, 0.6))
SPUN = replace(BOX, symmetries=symmetry_group({"symmetries_continuous": [{"axis": [0, 0, 1]}]}, 1e-3))


def moved(distance: float) -> np.ndarray:
    shift = np.eye(4)
    shift[0, 3] = distance
    return shift @ TRUTH


def output(k: int, cam_from_obj: np.ndarray | None, *, trusted: bool = True) -> StepOutput:
    there = cam_from_obj is not None
    return StepOutput(stamp_ns=k, transitions=(), stage_ms={}, objects=(ObjectOutput(
        object_name="1", stamp_ns=k, state="TRACKING" if there else "SEARCHING", reason=Reason.VERIFIED,
        cam_from_obj=cam_from_obj, covariance=1e-6 * np.eye(6) if there else None, probability=0.9,
        trusted=there and trusted, coasting=there and not trusted, evidence=Evidence()),))


def rows_of(poses: list[tuple[np.ndarray | None, bool]], visible: list[float] | None = None,
            model: ObjectModel = BOX) -> SceneRows:
    outputs = [output(k, p, trusted=trusted) for k, (p, trusted) in enumerate(poses)]
    shares = visible or [1.0] * len(poses)
    truths = {k: (Annotation(obj_id=1, cam_from_obj=TRUTH, visible=v),) for k, v in enumerate(shares)}
    return scene_rows(1, "1", outputs, truths, range(len(poses)), model)


def test_every_visible_frame_counts_once_and_only_trusted_poses_are_right() -> None:
    far = 0.3 * BOX.diameter
    rows = rows_of([(moved(0.001), True), (moved(far), True), (moved(0.001), False), (None, True), (None, True)],
                   visible=[1.0, 1.0, 0.5, 1.0, 0.05])
    f = figures([rows], seed=0)
    assert (f["scenes"], f["frames"]) == (1, 4), "the frame in which it is hidden does not count"
    assert f["add_01d"] == pytest.approx(1 / 4) and f["published_01d"] == pytest.approx(2 / 4)
    assert f["coverage"] == pytest.approx(2 / 4) and f["confidently_wrong"] == pytest.approx(1 / 2)
    assert f["add_auc"] == pytest.approx((1 - 0.001 / 0.1 + max(0.0, 1 - far / 0.1)) / 4)
    assert f["inside_95"] == pytest.approx(1 / 2), "a millimetre is inside 1 mm in six dimensions, the far one is not"
    assert f["coasting_inside_95"] == 1.0


def test_add_is_taken_against_the_nearest_equivalent_pose_also_between_the_steps_of_a_continuous_axis() -> None:
    spun = TRUTH @ from_rotation_translation(so3_exp(np.array([0, 0, 1.0436])), np.zeros(3))
    free, fixed = (figures([rows_of([(spun, True)] * 3, model=model)], seed=0) for model in (SPUN, BOX))
    assert free["add_auc"] == pytest.approx(1.0, abs=1e-6) and free["add_01d"] == 1.0 and free["inside_95"] == 1.0
    assert fixed["add_01d"] == 0.0 and fixed["inside_95"] == 0.0


def test_a_jump_to_a_twin_is_a_flip_although_the_pose_is_right() -> None:
    twin = TRUTH @ SPUN.symmetries[20]
    found = figures([rows_of([(TRUTH, True), (TRUTH, True), (twin, True), (twin, True)], model=SPUN)], seed=0)
    assert found["flips"] == {"symmetric": 1, "turned": 0} and found["add_01d"] == 1.0


def test_errors_as_the_covariance_says_are_inside_95_percent() -> None:
    rng = np.random.default_rng(5)
    errors = rng.normal(0, 1e-3, (2000, 6))
    inside = figures([rows_of([(np.linalg.inv(se3_exp(e)) @ TRUTH, True) for e in errors])], seed=0)
    assert inside["inside_95"] == pytest.approx(0.95, abs=0.015)
    assert inside["level"]["p50"] == pytest.approx(0.5, abs=0.04)


def scene(number: int, right: int, frames: int) -> SceneRows:
    return SceneRows(scene=number, obj_id=1, sums={key: (float(right), float(frames)) for key in SHARES},
                     levels=np.full(frames, 0.5), flips_symmetric=0, flips_turned=1, frames=frames)


def test_frames_weigh_the_same_and_intervals_come_from_whole_scenes() -> None:
    found = figures([scene(1, 10, 10), scene(2, 0, 30)], seed=3)
    assert found["add_01d"] == 0.25 and found["flips"]["turned"] == 2 and found["frames"] == 40
    assert found["ci95"]["add_01d"] == [0.0, 1.0], "two scenes leave everything possible"
    many = figures([scene(k, 9 + k % 2, 10) for k in range(40)], seed=3)
    low, high = many["ci95"]["add_01d"]
    assert low < many["add_01d"] < high and high - low < 0.05
    assert not figures([scene(1, 5, 10)], seed=0)["ci95"], "one scene says nothing of others"


def test_objects_and_the_table() -> None:
    found = sequence_figures([scene(1, 10, 10), replace(scene(2, 0, 30), obj_id=7)], None, 0)
    assert found["objects"]["7"]["add_01d"] == 0 and found["objects"]["1"]["add_01d"] == 1 and "strata" not in found
    text = sequence_tables({"4": found})
    assert text.splitlines()[1].split()[:3] == ["4", "2", "40"] and "95 % intervals, stride 4" in text


def test_every_nth_frame_keeps_its_stamp(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path / "data", scenes=2, images=5))
    thin = dataset.every(2)
    assert [i.im_id for i in thin.images] == [0, 2, 4, 0, 2, 4] and {t[1] for t in thin.targets} == {0, 2, 4}
    assert thin.images[1].stamp_ns == dataset.images[2].stamp_ns


def test_the_command_runs_several_strides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = write_dataset(tmp_path / "data", scenes=1, images=4), tmp_path / "out"
    arguments = ["evaluate", "system", "--bop-dir", str(data), "--objects", "2", "--workers", "1", "--out", str(out),
                 "--set", "som.max_candidates=8", *FAST]
    assert main([*arguments, "--stride", "2", "3"]) == 0
    results = json.loads((out / "results.json").read_text())
    assert list(results["sequences"]) == ["2", "3"] and results["stride"] == 2 and results["input"]["frames"] == 2
    assert results["sequences"]["3"]["all"]["frames"] == 2 and results["workers"]["parts"] == 2
    assert "stride" in capsys.readouterr().out
    assert main([*arguments, "--stride", "0"]) == 1
    assert "--stride must be at least 1, got 0" in capsys.readouterr().err
