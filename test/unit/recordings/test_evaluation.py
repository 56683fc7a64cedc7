"""From published outputs to figures and files: counting rules, and files that read back."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storm_core.bags.truth import Truth, TruthPose
from storm_core.bop.dataset import Annotation, object_ids, parse_pose, read_annotations, read_targets
from storm_core.bop.results import PoseEstimate, read_predictions, write_csv, write_scene_pred
from storm_core.errors import DatasetError
from storm_core.geometry.pose import se3_exp
from storm_core.report.attempts import Attempt, judge
from storm_core.report.evaluate import evaluate, object_errors, object_items
from storm_core.report.html import html_report
from storm_core.report.jsonl import read_jsonl, write_jsonl
from storm_core.report.overlay import TRUSTED, OverlayPainter, contact_sheet
from storm_core.report.pose_table import find_targets, judge_poses, object_figures
from storm_core.report.results import results_head, stage_times, to_json, write_json
from storm_core.report.video import VideoWriter, key_frames
from storm_core.types import Evidence, ObjectOutput, Reason, StepOutput, Transition
from test.synthetic import CAMERA, frame_of, pose, textured_box

BOX = textured_box()
MODELS = {"box": BOX}
POSE = pose((0.4, 0.3, 0.1), (0.0, 0.02, 0.6))
N = 12


def output(k: int, estimate: np.ndarray | None, *, trusted: bool = True, state: str = "TRACKING",
           transitions: tuple[Transition, ...] = ()) -> StepOutput:
    item = ObjectOutput(object_name="box", stamp_ns=k * 100_000_000, state=state, reason=Reason.VERIFIED,
                        cam_from_obj=estimate, covariance=None if estimate is None else np.eye(6), probability=0.8,
                        trusted=trusted and estimate is not None, coasting=not trusted and estimate is not None,
                        evidence=Evidence(inlier=0.7))
    return StepOutput(stamp_ns=k * 100_000_000, objects=(item,), transitions=transitions,
                      stage_ms={"track": 2.0, "total": 10.0})


def truth(poses: list[TruthPose | None] | None = None) -> Truth:
    items = [TruthPose(cam_from_obj=POSE, visible=1.0)] * N if poses is None else poses
    return Truth(frames={"box": [() if t is None else (t,) for t in items]}, source="test")


def figures(outputs: list[StepOutput], known: Truth | None) -> dict:
    return evaluate(outputs, known, MODELS)["box"]


def test_the_truth_as_prediction_scores_one() -> None:
    f = figures([output(k, POSE) for k in range(N)], truth())
    assert f["add_auc"] == f["add_01d"] == f["coverage"] == 1.0 and f["adds_auc"] == pytest.approx(1.0)
    assert f["confidently_wrong"] == 0 and f["mssd_mm"]["p99"] < 1e-9 and f["jumps"] == 0


@pytest.mark.parametrize("k", [1, 5, N])
def test_deleted_frames_fail_everywhere(k: int) -> None:
    f = figures([output(i, None if i < k else POSE) for i in range(N)], truth())
    for key in ("add_auc", "add_01d", "adds_01d", "coverage"):
        assert f[key] == pytest.approx((N - k) / N)
    assert f["first_pose_frame"] == (None if k == N else k)
    assert f["first_pose_s"] == (None if k == N else pytest.approx(0.01 * (k + 1)))


def test_coasting_poses_are_not_predictions() -> None:
    f = figures([output(k, POSE, trusted=k % 2 == 0) for k in range(N)], truth())
    assert f["add_auc"] == f["coverage"] == 0.5


def test_invisible_and_coarse_frames_do_not_count_for_accuracy() -> None:
    known = [TruthPose(cam_from_obj=POSE, visible=0.05), TruthPose(cam_from_obj=POSE, visible=1.0, good=False)]
    f = figures([output(0, None), output(1, None), *[output(k, POSE) for k in range(2, N)]],
                truth(known + [TruthPose(cam_from_obj=POSE)] * (N - 2)))
    assert f["add_auc"] == 1.0 and (f["frames_visible"], f["frames_accurate"]) == (N - 1, N - 2)
    assert f["coverage"] == pytest.approx((N - 2) / (N - 1)), "coverage counts visible frames with coarse truth too"


def test_trusted_poses_that_are_off_or_of_an_absent_object_are_confidently_wrong() -> None:
    off = se3_exp([0.25 * BOX.diameter, 0, 0, 0, 0, 0]) @ POSE
    outputs = [output(0, off), output(1, POSE), *[output(k, None) for k in range(2, N)]]
    f = figures(outputs, truth([TruthPose(cam_from_obj=POSE), None, *[None] * (N - 2)]))
    assert f["confidently_wrong"] == 1.0
    coarse = truth([TruthPose(cam_from_obj=POSE, good=False)] * N)
    assert np.isnan(figures(outputs, coarse)["confidently_wrong"]), "coarse truth cannot convict, nor acquit"


def test_unknown_frames_are_left_out() -> None:
    known = Truth(frames={"box": [None] * 4 + [(TruthPose(cam_from_obj=POSE),)] * (N - 4)}, source="topic")
    f = figures([output(k, None if k < 4 else POSE) for k in range(N)], known)
    assert f["add_auc"] == f["coverage"] == 1.0 and f["frames_visible"] == N - 4


def test_the_nearest_of_several_instances_counts() -> None:
    other = se3_exp([0.3, 0, 0, 0, 0, 0]) @ POSE
    known = Truth(frames={"box": [(TruthPose(cam_from_obj=other), TruthPose(cam_from_obj=POSE))] * N}, source="t")
    assert figures([output(k, POSE) for k in range(N)], known)["add_auc"] == 1.0


def test_recovery_events_registrations_and_losses() -> None:
    share = [1, 1, 0, 0, 0.5, 1, 1, 1, 1, 1, 1, 1]
    known = truth([TruthPose(cam_from_obj=POSE, visible=s) for s in share])

    def change(k: int, before: str, after: str) -> Transition:
        return Transition(object_name="box", stamp_ns=k, before=before, after=after, reason=Reason.FOUND)

    changes = {0: (change(0, "REGISTERING", "VERIFYING"), change(0, "VERIFYING", "TRACKING")),
               2: (change(2, "SUSPECT", "LOST"),),
               6: (change(6, "REGISTERING", "VERIFYING"), change(6, "VERIFYING", "TRACKING"))}
    f = figures([output(k, None if 2 <= k < 6 else POSE, transitions=changes.get(k, ())) for k in range(N)], known)
    assert (f["registrations"], f["recoveries"], f["losses"]) == (2, 1, 1)
    assert f["recovery"]["recovered"] == 1 and f["recovery"]["missed"] == 0
    assert f["recovery"]["time_s_p50"] == pytest.approx(0.2) and f["recovery"]["trusted_while_hidden"] == 0


def test_without_truth_only_the_run_speaks() -> None:
    f = figures([output(k, POSE) for k in range(N)], None)
    assert f["trusted_share"] == 1.0 and "add_auc" not in f


def test_a_frame_nobody_answered_has_no_pose() -> None:
    silent = replace(output(1, POSE), objects=())
    items = object_items([output(0, POSE), silent], "box")
    assert [i.trusted for i in items] == [True, False] and items[1].cam_from_obj is None


def test_jsonl_round_trip(tmp_path: Path) -> None:
    change = Transition(object_name="box", stamp_ns=0, before="LOST", after="SEARCHING", reason=Reason.OCCLUDED)
    outputs = [output(0, POSE, transitions=(change,)), output(1, None, state="LOST")]
    write_jsonl(tmp_path / "p.jsonl", [(1, 5), (1, 6)], outputs)
    read = read_jsonl(tmp_path / "p.jsonl")
    assert read.ids == ((1, 5), (1, 6))
    first, second = read.outputs
    assert np.array_equal(first.objects[0].cam_from_obj, POSE) and second.objects[0].cam_from_obj is None
    assert first.transitions == (change,) and first.stage_ms == {"track": 2.0, "total": 10.0}
    assert first.objects[0].evidence.inlier == 0.7 and np.isnan(first.objects[0].evidence.color)
    (tmp_path / "p.jsonl").write_text('{"scene_id": 1}\n')
    with pytest.raises(DatasetError, match="line 1"):
        read_jsonl(tmp_path / "p.jsonl")


def test_bop_files_round_trip_in_millimetres(tmp_path: Path) -> None:
    estimates = [PoseEstimate(scene_id=3, im_id=7, obj_id=2, score=0.25, cam_from_obj=POSE, time_s=0.5)]
    write_csv(tmp_path / "p.csv", estimates)
    assert f"{POSE[2, 3] * 1000:.4g}" in (tmp_path / "p.csv").read_text()
    write_scene_pred(tmp_path / "scene_pred.json", estimates)
    for read in (read_predictions(tmp_path / "p.csv"), read_predictions(tmp_path / "scene_pred.json", 3)):
        assert (read[0].scene_id, read[0].im_id, read[0].obj_id, read[0].score) == (3, 7, 2, 0.25)
        assert np.abs(read[0].cam_from_obj - POSE).max() < 1e-8
    (tmp_path / "p.csv").write_text("scene_id,im_id,obj_id,score,R,t,time\n1,2,3,0.5,1 0 0,1 2 3,0\n")
    with pytest.raises(DatasetError, match="line 2 is not a BOP result"):
        read_predictions(tmp_path / "p.csv")


def test_annotations(tmp_path: Path) -> None:
    r, t = POSE[:3, :3].round(4).reshape(9).tolist(), (POSE[:3, 3] * 1e3).tolist()
    (tmp_path / "scene_gt.json").write_text(json.dumps({"4": [{"obj_id": 2, "cam_R_m2c": r, "cam_t_m2c": t}]}))
    plain = read_annotations(tmp_path)[4][0]
    assert np.isnan(plain.visible) and plain.good
    (tmp_path / "scene_gt_info.json").write_text(json.dumps({"4": [{"px_count_all": 200, "px_count_visib": 50}]}))
    (tmp_path / "gt_quality.json").write_text(json.dumps({"4": {"gt_quality": "low"}}))
    a = read_annotations(tmp_path)[4][0]
    assert a.visible == 0.25 and not a.good and np.abs(a.cam_from_obj - POSE).max() < 1e-3
    assert np.abs(a.cam_from_obj[:3, :3] @ a.cam_from_obj[:3, :3].T - np.eye(3)).max() < 1e-12
    with pytest.raises(DatasetError, match="no rotation"):
        parse_pose({"cam_R_m2c": [2] + r[1:], "cam_t_m2c": t}, "here")


def test_object_ids_and_targets(tmp_path: Path) -> None:
    (tmp_path / "models_info.json").write_text(json.dumps({"5": {"name": "mustard"}, "7": {}}))
    assert object_ids(tmp_path, ["5", "obj_000007", "mustard", "spot"]) == {"5": 5, "obj_000007": 7, "mustard": 5}
    (tmp_path / "test_targets_bop19.json").write_text(json.dumps(
        [{"scene_id": 1, "im_id": 2, "obj_id": 3, "inst_count": 2}]))
    assert read_targets(tmp_path) == [(1, 2, 3)] * 2


def test_pose_table_counts_every_target() -> None:
    model = {"3": replace(BOX, name="3")}
    far = se3_exp([0.3, 0, 0, 0, 0, 0]) @ POSE
    annotations = {1: {2: (Annotation(obj_id=3, cam_from_obj=POSE), Annotation(obj_id=3, cam_from_obj=far),
                           Annotation(obj_id=3, cam_from_obj=far, visible=0.01)), 4: ()}}
    targets = find_targets(annotations, [])
    assert targets == [(1, 2, 3)] * 2, "a hardly visible instance is no target"

    def estimate(p: np.ndarray, score: float) -> PoseEstimate:
        return PoseEstimate(scene_id=1, im_id=2, obj_id=3, score=score, cam_from_obj=p)

    def recalled(*estimates: PoseEstimate) -> float:
        judged = judge_poses(annotations, targets, estimates, model)[3]
        return object_figures(judged, model["3"].diameter)["add_01d"]

    assert recalled() == 0.0
    assert recalled(estimate(POSE, 0.9)) == 0.5
    assert recalled(estimate(far, 0.9), estimate(POSE, 0.8)) == 1.0
    wild = [estimate(se3_exp([0, 0.4 + k, 0, 0, 0, 0]) @ POSE, 0.95) for k in range(2)]
    assert recalled(estimate(POSE, 0.9), *wild) == 0.0, "only as many estimates as targets count, by score"


@pytest.mark.parametrize(("found", "annotated", "ignored", "kind"), [
    (POSE, True, False, "correct"), (se3_exp([0.1, 0, 0, 0, 0, 0]) @ POSE, True, False, "wrong"),
    (None, True, False, "missed"), (None, False, False, "rejected"), (POSE, False, False, "false_accept"),
    (POSE, False, True, "unknown")])
def test_verdicts_of_single_pictures(found: np.ndarray | None, annotated: bool, ignored: bool, kind: str) -> None:
    attempt = Attempt(key=(1, 2), object_name="box", found=found is not None, reason="registered", detail="",
                      probability=0.9, cam_from_obj=found, mask=None, stage_ms={})
    known = Truth(frames={"box": [(TruthPose(cam_from_obj=POSE),) if annotated else ()]}, source="t")
    assert judge(attempt, known, 0, BOX, {((1, 2), "box")} if ignored else set()).kind == kind
    assert judge(attempt, None, 0, BOX, set()).kind == "unknown"


def test_json_has_no_nan(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "r.json"
    write_json(file, {"a": float("nan"), "b": [np.float64(np.inf), np.int64(3)], "c": np.eye(2)})
    assert json.loads(file.read_text()) == {"a": None, "b": [None, 3], "c": [[1, 0], [0, 1]]}


def test_stage_times_follow_the_order_of_the_pipeline() -> None:
    times = stage_times([{"total": 5.0, "track": 1.0}, {"total": 7.0, "localize": 3.0}])
    assert list(times) == ["localize", "track", "total"]
    assert times["total"] == {"p50": 5.0, "p95": 7.0, "p99": 7.0, "n": 2}


def test_overlay_draws_the_silhouette_where_the_object_is() -> None:
    frame = frame_of([(BOX, POSE)])
    image = OverlayPainter(MODELS).paint(frame.rgb, frame.camera, output(0, POSE).objects, "frame 0")
    assert image.shape == frame.rgb.shape and not np.shares_memory(image, frame.rgb)
    green = (image == TRUSTED).all(-1)
    green[:40] = False  # the label
    u, v = CAMERA.project(POSE[:3, 3])
    rows, columns = np.nonzero(green)
    assert abs(columns.mean() - u) < 15 and abs(rows.mean() - v) < 15 and green.sum() > 100
    assert contact_sheet([image] * 4, columns=3, width=120).shape == (180, 360, 3)


def test_video_and_gif(tmp_path: Path) -> None:
    import cv2
    from PIL import Image

    with VideoWriter(tmp_path / "v.mp4", rate_hz=30, gif=tmp_path / "v.gif", frames=20, gif_frames=5) as video:
        for k in range(20):
            video.add(np.full((48, 64, 3), 12 * k, np.uint8))
    capture = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 20
    assert Image.open(tmp_path / "v.gif").n_frames == 5


def test_key_frames_prefer_what_happened() -> None:
    assert key_frames([False] * 100, 5) == [0, 25, 50, 74, 99]
    flags = [k in (10, 11, 60) for k in range(100)]
    assert {10, 11, 60} <= set(key_frames(flags, 5)) and len(key_frames(flags, 5)) == 5
    assert len(key_frames([True] * 100, 5)) == 5


def test_report_is_one_complete_file() -> None:
    outputs = [output(k, POSE) for k in range(N)]
    results = results_head("replay", "1", path="<scene>", sha256="abc", frames=N, seed=0)
    results |= {"objects": evaluate(outputs, truth(), MODELS), "stages_ms": stage_times([o.stage_ms for o in outputs])}
    errors = {"box": object_errors(object_items(outputs, "box"), truth().frames["box"], BOX)}
    page = html_report(results, outputs, errors, [("frame 0", np.zeros((8, 8, 3), np.uint8))])
    assert "&lt;scene&gt;" in page and "<scene>" not in page
    assert page.count("data:image/") == 1 and "<svg" in page and "http:" not in page and "https:" not in page
    assert "add_auc" in page and json.loads(to_json(results))["objects"]["box"]["add_auc"] == 1.0
