"""`storm replay` in virtual real time, without truth, and with the motion of the camera; with a stand-in pipeline."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from storm_core.cli.main import main
from storm_core.geometry.pose import inverse, se3_exp
from storm_core.pipeline import arrival, build, warmup
from storm_core.types import Evidence, Frame, ObjectOutput, Reason, StepOutput
from test.real_data import real_data
from test.unit.recordings.small_bags import START, N, frames, images, poses, tf, track, write_rosbag2

WORLD_FROM_CAM = {s: se3_exp([0.002 * k * k, 0, 0, 0, 0.01 * k, 0]) for k, s in enumerate(track())}
STILL = se3_exp([0.0, 0.0, 0.6, 0.3, 0, 0])


class Standing:
    """Publishes the true pose of an object that stands still in the world. Its clock says that a step takes 80 ms."""

    now = 0.0

    def step(self, frame: Frame) -> StepOutput:
        Standing.now += 0.08
        pose = inverse(WORLD_FROM_CAM[frame.stamp_ns]) @ STILL
        item = ObjectOutput(object_name="1", stamp_ns=frame.stamp_ns, state="TRACKING", reason=Reason.VERIFIED,
                            cam_from_obj=pose, covariance=np.eye(6) * 1e-6, probability=0.9, trusted=True,
                            coasting=False, evidence=Evidence())
        return StepOutput(stamp_ns=frame.stamp_ns, objects=(item,), transitions=(), stage_ms={"total": 80.0})


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(build, "build_pipeline", lambda config, models=None: Standing())
    monkeypatch.setattr(warmup, "compile_kernels", lambda: None)
    monkeypatch.setattr(arrival.in_real_time, "__kwdefaults__", {"speed": 1.0, "clock": lambda: Standing.now})
    (tmp_path / "models").mkdir()
    trimesh.creation.box(extents=(0.08, 0.12, 0.05)).export(tmp_path / "models" / "1.ply")
    truth = {s: inverse(w) @ STILL for s, w in WORLD_FROM_CAM.items()}
    write_rosbag2(tmp_path / "bag", [*images(frames()), *poses("/ground_truth/obj_1", truth),
                                     *(tf(s, "map", {"cam": p}) for s, p in WORLD_FROM_CAM.items())])
    return tmp_path


def replay(source: Path, *more: str) -> tuple[int, dict]:
    code = main(["replay", str(source / "bag"), "--models", str(source / "models"), "--mesh-unit", "m", "--no-video",
                 "--out", str(source / "out"), *more])
    file = source / "out" / "results.json"
    return code, json.loads(file.read_text()) if file.exists() else {}


def test_real_time_drops_what_comes_while_busy(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, results = replay(source, "--realtime")
    assert code == 0 and results["command"] == "replay --realtime" and results["realtime"]["speed"] == 1.0
    # 80 ms for each of six frames 33 ms apart: the third waits for 13 ms, the fifth for 26 ms, the last until 240 ms.
    lines = [json.loads(line) for line in (source / "out" / "timing.jsonl").read_text().splitlines()]
    late = [line["stage_ms"].get("end_to_end") for line in lines]
    assert late == pytest.approx([80, None, 93.333, None, 106.667, 153.333], abs=0.01)
    assert results["latency"]["drops"] == 2 and results["latency"]["clock"] == "end_to_end"
    assert results["latency"]["deadline_misses"] == 1.0 and results["objects"]["1"]["coverage"] == pytest.approx(4 / N)
    assert results["objects"]["1"]["first_pose_s"] == pytest.approx(0.08)
    assert "2 frames dropped" in capsys.readouterr().out


def test_slower_than_recorded_nothing_is_dropped(source: Path) -> None:
    _, results = replay(source, "--realtime", "0.25")
    assert results["latency"]["drops"] == 0 and results["objects"]["1"]["coverage"] == 1.0
    assert results["latency"]["period_ms"] == pytest.approx(4 * 33.333, rel=1e-3)


def test_without_truth_the_spread_in_the_world_is_measured(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, results = replay(source, "--truth", "none", "--world-frame", "map")
    figures = results["objects"]["1"]["self_consistency"]
    assert figures["static"]["n"] == N and figures["static"]["position_p95_mm"] < 1e-3
    assert figures["jump_p95_mm"] > 1.0, "the camera accelerates, so the object does in its frame"
    printed = capsys.readouterr().out
    assert "no ground truth" in printed and "spread p95 [mm]" in printed and "ADD" not in printed


@pytest.mark.parametrize(("args", "words"), [
    (("--realtime", "-1"), "not negative"),
    (("--realtime", "--ros"), "--ros is in real time already"),
    (("--world-frame", "moon"), "no frame 'moon'"),
    (("--gt-tf", "cup:=x"), "'cup' is not one of the objects 1"),
    (("--gt-tf", "moon"), "no frame 'moon'"),
    (("--gt-tum", "1:=/nowhere.tum"), "/nowhere.tum"),
])
def test_options_that_do_not_fit(source: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...],
                                 words: str) -> None:
    code, results = replay(source, *args)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("storm: error: ")]
    assert code == 1 and results == {} and len(errors) == 1 and words in errors[0]


def test_truth_from_tf_is_that_of_the_topic(source: Path) -> None:
    (source / "bag").rename(source / "old")
    write_rosbag2(source / "bag", [*images(frames()), tf(START, "map", {"part": STILL}, "/tf_static"),
                                   *(tf(s, "map", {"cam": p}) for s, p in WORLD_FROM_CAM.items())])
    _, results = replay(source, "--gt-tf", "part")
    assert results["truth"] == "tf cam -> part" and results["objects"]["1"]["add_auc"] > 0.9999


def test_a_real_recording(tmp_path: Path) -> None:
    """The real pipeline, sqlite3 with a compressed file: the truth of its topic, and its output read as another's."""
    bag, models = real_data("rosbag_visp_rbt/rbt_10f"), real_data("visp_rbt/models")
    given = [str(bag), "--models", str(models), "--objects", "1", "--gt-topic", "/ground_truth/cube", "--no-video"]
    assert main(["replay", *given, "--out", str(tmp_path / "run")]) == 0
    assert main(["evaluate", "tracking", *given, "--pred", str(tmp_path / "run" / "output"), "--out",
                 str(tmp_path / "read")]) == 0
    own, read = (json.loads((tmp_path / x / "results.json").read_text())["objects"]["1"] for x in ("run", "read"))
    assert own["coverage"] == 1.0 and own["add_auc"] > 0.9 and own["confidently_wrong"] == 0.0
    assert read["add_auc"] == pytest.approx(own["add_auc"], abs=1e-6)
    assert read["nees"]["mean"] == pytest.approx(own["nees"]["mean"], rel=1e-4)
