"""`storm replay`, `evaluate`, `register` and `segment` as a user calls them, with a stand-in for the slow pipeline."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from storm_core.bags.write import BagWriter, write_recording
from storm_core.bop.mask_results import read_mask_results
from storm_core.bop.results import read_predictions
from storm_core.cli.main import main
from storm_core.cli.replay import node_stage_times
from storm_core.cli.truth_options import named
from storm_core.config import StormConfig
from storm_core.errors import ConfigError
from storm_core.pipeline import build
from storm_core.report.file_names import file_stems
from storm_core.types import (
    Evidence,
    Frame,
    Hint,
    Localization,
    ObjectOutput,
    Reason,
    Registration,
    StepOutput,
)
from test.real_data import ROOT
from test.synthetic import frame_of, pose, textured_box

BOX = textured_box("1")
POSE = pose((0.4, 0.3, 0.1), (0.0, 0.02, 0.6))
COUNT = 4


class FixedPipeline:
    """Publishes the same pose in every frame."""

    name = "1"

    def step(self, frame: Frame) -> StepOutput:
        item = ObjectOutput(object_name=self.name, stamp_ns=frame.stamp_ns, state="TRACKING", reason=Reason.VERIFIED,
                            cam_from_obj=POSE, covariance=np.eye(6) * 1e-6, probability=0.9, trusted=True,
                            coasting=False, evidence=Evidence())
        return StepOutput(stamp_ns=frame.stamp_ns, objects=(item,), transitions=(), stage_ms={"total": 1.0})


class FixedStages:
    """Finds the object always at the same place."""

    def localize(self, frame: Frame, object_name: str, hint: Hint) -> Localization:
        mask = np.zeros(frame.depth.shape, bool)
        mask[200:260, 290:350] = True
        return Localization(object_name=object_name, stamp_ns=frame.stamp_ns, mask=mask, cam_from_objs=POSE[None],
                            probability=0.9)

    def register(self, frame: Frame, localization: Localization) -> Registration:
        return Registration(object_name="1", stamp_ns=frame.stamp_ns, cam_from_obj=POSE, covariance=np.eye(6),
                            probability=0.9, evidence=Evidence())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of one scene and one mesh: <source>/test/000001, <source>/models."""
    root = tmp_path_factory.mktemp("dataset")
    (root / "models").mkdir()
    box = trimesh.creation.box(extents=(80, 120, 50))
    box.export(root / "models" / "obj_000001.ply")
    (root / "models" / "models_info.json").write_text(json.dumps({"1": {"diameter": 152.6}}))
    scene = root / "test" / "000001"
    for part in ("rgb", "depth", "mask_visib"):
        (scene / part).mkdir(parents=True)
    frame = frame_of([(BOX, POSE)])
    for k in range(COUNT):
        cv2.imwrite(str(scene / "rgb" / f"{k:06d}.png"), frame.rgb[..., ::-1])
        cv2.imwrite(str(scene / "depth" / f"{k:06d}.png"), np.round(frame.depth * 1e4).astype(np.uint16))
        mask = np.zeros(frame.depth.shape, np.uint8)
        mask[200:260, 290:320] = 255
        cv2.imwrite(str(scene / "mask_visib" / f"{k:06d}_000000.png"), mask)
    camera = {"cam_K": frame.camera.matrix.reshape(9).tolist(), "depth_scale": 0.1}
    (scene / "scene_camera.json").write_text(json.dumps({str(k): camera for k in range(COUNT)}))
    truth = {"obj_id": 1, "cam_R_m2c": POSE[:3, :3].reshape(9).tolist(), "cam_t_m2c": (POSE[:3, 3] * 1e3).tolist()}
    (scene / "scene_gt.json").write_text(json.dumps({str(k): [truth] for k in range(COUNT)}))
    return root


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "build_pipeline", lambda config, models=None: FixedPipeline())
    monkeypatch.setattr(build, "build_localizer", lambda config, models: FixedStages())
    monkeypatch.setattr(build, "build_registrar", lambda config, models: FixedStages())


def replay(source: Path, out: Path, *more: str, recording: Path | None = None) -> int:
    return main(["replay", str(recording or source / "test" / "000001"), "--models", str(source / "models"),
                 "--objects", "1", "--out", str(out), *more])


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("storm:")]
    assert len(lines) == 1 and lines[0].startswith("storm: error: "), lines
    return lines[0]


def test_replay_writes_everything_and_prints_a_table(source: Path, tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "out"
    assert replay(source, out, "--json", str(tmp_path / "r.json")) == 0
    assert {p.name for p in out.iterdir()} == {"results.json", "predictions.jsonl", "timing.jsonl", "1.tum", "1_gt.tum",
                                               "poses.csv", "errors.csv", "output", "config.yaml",
                                               "report.html", "overlay.mp4", "overlay.gif", "overlay.png"}
    results = json.loads((tmp_path / "r.json").read_text())
    assert results == json.loads((out / "results.json").read_text())
    assert {"command", "version", "input", "machine", "seed", "objects", "stages_ms"} <= set(results)
    assert results["input"]["frames"] == COUNT and len(results["input"]["sha256"]) == 64
    figures = results["objects"]["1"]
    assert figures["add_auc"] > 0.999 and figures["coverage"] == 1.0 and figures["confidently_wrong"] == 0.0
    assert {"add_auc", "adds_auc", "add_01d", "adds_01d", "mssd_mm", "coverage", "confidently_wrong", "first_pose_s",
            "registrations", "recoveries"} <= set(figures)
    printed = capsys.readouterr().out
    assert "ADD AUC" in printed and str(out / "report.html") in printed
    assert len((out / "poses.csv").read_text().splitlines()) == COUNT + 1
    assert len((out / "1.tum").read_text().splitlines()) == COUNT + 1


def test_replay_options(source: Path, tmp_path: Path) -> None:
    assert replay(source, tmp_path / "o", "--no-video", "--max-frames", "2", "--truth", "none", "--seed", "7",
                  "--set", "monitor.healthy=0.7") == 0
    assert not (tmp_path / "o" / "overlay.mp4").exists()
    results = json.loads((tmp_path / "o" / "results.json").read_text())
    assert results["input"]["frames"] == 2 and "add_auc" not in results["objects"]["1"]
    assert results["seed"] == 7
    assert "healthy: 0.7" in (tmp_path / "o" / "config.yaml").read_text()


def test_predictions_do_not_change_without_ground_truth_files(source: Path, tmp_path: Path) -> None:
    """Truth is opened after predicting, so deleting it beforehand changes nothing but the figures."""
    bare = tmp_path / "bare"
    shutil.copytree(source / "test" / "000001", bare / "000001")
    for file in ("scene_gt.json", "mask_visib"):
        path = bare / "000001" / file
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert replay(source, tmp_path / "a", "--no-video", recording=bare / "000001") == 0
    assert replay(source, tmp_path / "b", "--no-video") == 0
    a, b = ((tmp_path / x / "predictions.jsonl").read_text() for x in "ab")
    assert a == b
    assert json.loads((tmp_path / "a" / "results.json").read_text())["truth"] is None


def test_evaluate_agrees_with_replay(source: Path, tmp_path: Path) -> None:
    replay(source, tmp_path / "o", "--no-video")
    scene, models = str(source / "test" / "000001"), str(source / "models")
    assert main(["evaluate", "tracking", scene, "--pred", str(tmp_path / "o" / "predictions.jsonl"), "--models", models,
                 "--json", str(tmp_path / "t.json")]) == 0
    assert main(["evaluate", "poses", "--bop-dir", str(source), "--pred", str(tmp_path / "o" / "poses.csv"),
                 "--json", str(tmp_path / "p.json")]) == 0
    own = json.loads((tmp_path / "o" / "results.json").read_text())["objects"]["1"]
    tracking = json.loads((tmp_path / "t.json").read_text())["objects"]["1"]
    poses = json.loads((tmp_path / "p.json").read_text())["objects"]["1"]
    assert tracking == own
    assert poses["targets"] == COUNT and poses["add_auc"] == pytest.approx(own["add_auc"], abs=1e-6)


def test_evaluate_refuses_what_does_not_belong_together(source: Path, tmp_path: Path,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    replay(source, tmp_path / "o", "--no-video")
    lines = (tmp_path / "o" / "predictions.jsonl").read_text().replace('"im_id": 0', '"im_id": 77')
    (tmp_path / "other.jsonl").write_text(lines)
    capsys.readouterr()
    assert main(["evaluate", "tracking", str(source / "test" / "000001"), "--pred", str(tmp_path / "other.jsonl"),
                 "--models", str(source / "models")]) == 1
    assert "was not made from" in complaint(capsys)
    assert main(["evaluate", "poses", "--bop-dir", str(source), "--pred", str(tmp_path / "none.csv")]) == 1
    assert "none.csv" in complaint(capsys)


def test_bag_and_its_ground_truth_topic(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [frame_of([(BOX, POSE)], stamp_ns=10**18 + k * 33_000_000) for k in range(3)]
    write_recording(tmp_path / "bag", frames, {"thing": {f.stamp_ns: POSE for f in frames}})
    assert replay(source, tmp_path / "o", "--no-video", recording=tmp_path / "bag") == 0
    results = json.loads((tmp_path / "o" / "results.json").read_text())
    assert results["truth"] == "/ground_truth/thing" and results["objects"]["1"]["add_auc"] > 0.999
    capsys.readouterr()
    assert replay(source, tmp_path / "p", "--gt-topic", "/nope", recording=tmp_path / "bag") == 1
    assert "/ground_truth/thing" in complaint(capsys)
    assert not (tmp_path / "p").exists()


def test_register_judges_each_picture(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = [str(source), "--models", str(source / "models"), "--objects", "1", "--images", "0", "2"]
    assert main(["register", *args, "--out", str(tmp_path / "o"), "--json", str(tmp_path / "r.json")]) == 0
    results = json.loads((tmp_path / "r.json").read_text())
    assert results["summary"]["correct"] == 2 and results["objects"]["1"]["add_01d"] == 1.0
    assert [a["im_id"] for a in results["attempts"]] == [0, 2]
    assert {"000001_000000.png", "000001_000002.png", "poses.csv"} <= {p.name for p in (tmp_path / "o").iterdir()}
    assert "2 right, 0 wrong, 0 missed" in capsys.readouterr().out
    assert main(["register", *args[:-3], "--images", "9", "--out", str(tmp_path / "q")]) == 1
    assert "image 9 is not in" in complaint(capsys)
    assert main(["register", *args, "--ignore", "x", "--out", str(tmp_path / "q")]) == 1
    assert "IMAGE:OBJECT" in complaint(capsys) and not (tmp_path / "q").exists()


def test_segment_measures_masks(source: Path, tmp_path: Path) -> None:
    assert main(["segment", str(source), "--models", str(source / "models"), "--objects", "1", "--images", "0",
                 "--out", str(tmp_path / "o")]) == 0
    results = json.loads((tmp_path / "o" / "results.json").read_text())
    assert results["masks"] == {"iou_mean": 0.5, "n": 1}
    mask = cv2.imread(str(tmp_path / "o" / "000001_000000_1.png"), cv2.IMREAD_GRAYSCALE)
    assert set(np.unique(mask)) == {0, 255} and (mask > 0).sum() == 3600
    estimate, = read_mask_results(tmp_path / "o" / "masks.json")
    assert estimate.obj_id == 1 and (estimate.mask() == (mask > 0)).all()


def test_only_the_chosen_pictures_are_decoded(source: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(source, tmp_path / "data"))
    (data / "test" / "000001" / "rgb" / "000003.png").write_bytes(b"text")
    args = [str(data), "--models", str(data / "models"), "--objects", "1", "--images", "0"]
    for command in ("register", "segment"):
        assert main([command, *args, "--out", str(tmp_path / command)]) == 0
        assert (tmp_path / command / "000001_000000.png").exists()


def test_objects_without_a_bop_id_are_numbered_apart(source: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for name in ("cup", "mug"):
        shutil.copy(source / "models" / "obj_000001.ply", models / f"{name}.ply")
    assert main(["register", str(source), "--models", str(models), "--mesh-unit", "mm", "--images", "0", "--truth",
                 "none", "--out", str(tmp_path / "o")]) == 0
    assert [e.obj_id for e in read_predictions(tmp_path / "o" / "poses.csv")] == [1, 2]


def test_a_name_with_a_slash_makes_no_folder(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FixedPipeline, "name", "master/chef")
    models = Path(shutil.copytree(source / "models", tmp_path / "models"))
    (models / "models_info.json").write_text(json.dumps({"1": {"diameter": 152.6, "name": "master/chef"}}))
    scene = str(source / "test" / "000001")
    for command in (["replay", scene, "--no-video"], ["segment", scene, "--images", "0"]):
        assert main([*command, "--models", str(models), "--objects", "master/chef", "--out",
                     str(tmp_path / command[0])]) == 0
    assert (tmp_path / "replay" / "master_chef.tum").exists()
    assert (tmp_path / "replay" / "master_chef_gt.tum").exists()
    assert (tmp_path / "segment" / "000001_000000_master_chef.png").exists()


def test_file_names_are_names_wherever_they_can_be() -> None:
    assert file_stems(["1", "Käse würfel", "obj_000002"]) == {n: n for n in ("1", "Käse würfel", "obj_000002")}
    assert file_stems(["a/b", "a_b", "a\\b", "../x", ""]) == {
        "a/b": "a_b_2", "a_b": "a_b", "a\\b": "a_b_3", "../x": "_._x", "": "_"}


@pytest.mark.parametrize("option", ["--gt-tum", "--gt-bop", "--gt-topic", "--gt-tf", "--world-frame"])
def test_a_truth_that_is_not_there_is_known_at_once(
        source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
        option: str) -> None:
    monkeypatch.setattr(FixedPipeline, "step", lambda self, frame: pytest.fail("worked for nothing"))
    assert replay(source, tmp_path / "out", option, str(tmp_path / "none")) == 1
    complaint(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["replay", "register", "segment"])
def test_a_damaged_truth_costs_the_figures_but_not_the_run(
        source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    scene = Path(shutil.copytree(source / "test" / "000001", tmp_path / "000001"))
    (scene / "scene_gt.json").write_text("{")
    out = tmp_path / "out"
    more = {"replay": ["--no-video"], "register": ["--images", "0"], "segment": ["--images", "0"]}[command]
    assert main([command, str(scene), "--models", str(source / "models"), "--objects", "1", "--out", str(out),
                 *more]) == 1
    said = complaint(capsys)
    assert f"what was predicted is in {out}, but without figures of accuracy" in said and "scene_gt.json" in said
    results = json.loads((out / "results.json").read_text())
    assert (results["attempts"][0]["found"] if command != "replay" else results["truth"] is None)
    assert {"replay": "predictions.jsonl", "register": "poses.csv", "segment": "masks.json"}[command] in os.listdir(out)


Change = Callable[[Path], None]


def _without(name: str) -> Change:
    def change(scene: Path) -> None:
        (scene / name).unlink()

    return change


def _wrong_k(scene: Path) -> None:
    entries = json.loads((scene / "scene_camera.json").read_text())
    for entry in entries.values():
        entry["cam_K"][2] = 900.0
    (scene / "scene_camera.json").write_text(json.dumps(entries))


def _small_depth(scene: Path) -> None:
    cv2.imwrite(str(scene / "depth" / "000000.png"), np.full((240, 320), 500, np.uint16))


@pytest.mark.parametrize(("change", "words"), [
    (_without("scene_camera.json"), "no scene_camera.json"),
    (_wrong_k, "another image size"),
    (_small_depth, "depth is 320x240 but colour is 640x480"),
    (_without("depth/000002.png"), "has no depth image"),
])
def test_bad_scenes(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Change,
                    words: str) -> None:
    shutil.copytree(source / "test" / "000001", tmp_path / "000001")
    change(tmp_path / "000001")
    assert replay(source, tmp_path / "out", "--json", str(tmp_path / "r.json"), recording=tmp_path / "000001") == 1
    assert words in complaint(capsys)
    assert [p.name for p in tmp_path.iterdir()] == ["000001"]


def test_bad_bags(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rosbags.typesys import Stores, get_typestore

    with BagWriter(tmp_path / "talk") as bag:
        bag.message("/chatter", 1, get_typestore(Stores.ROS2_HUMBLE).types["std_msgs/msg/String"]("hello"))
    assert replay(source, tmp_path / "out", recording=tmp_path / "talk") == 1
    assert "/chatter (std_msgs/msg/String)" in complaint(capsys)
    frames = [frame_of([(BOX, POSE)], stamp_ns=10**18 + k) for k in (0, 33_000_000)]
    write_recording(tmp_path / "cut", frames, {})
    with (tmp_path / "cut" / "cut.mcap").open("r+b") as stream:
        stream.truncate(100_000)
    assert replay(source, tmp_path / "out", recording=tmp_path / "cut") == 1
    assert "damaged or was not closed" in complaint(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("args", "words"), [
    (["--set", "monitor.helthy=1"], "unknown parameter monitor.helthy; did you mean monitor.healthy?"),
    (["--set", "monitor.healthy=7"], "monitor.healthy = 7.0 is outside [0.0, 1.0]"),
    (["--models", "/nowhere"], "/nowhere"),
    (["--objects", "99"], "99"),
    (["--rate", "0"], "--rate"),
    (["--rate", "nan"], "--rate"),
    (["--realtime", "nan"], "--realtime"),
    (["--config", "/nowhere.yaml"], "/nowhere.yaml"),
    (["--gt-tum", "/nowhere.tum"], "/nowhere.tum"),
    (["--depth-topic", "/depth"], "not a bag"),
])
def test_bad_arguments(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str],
                       words: str) -> None:
    assert replay(source, tmp_path / "out", *args) == 1
    assert words in complaint(capsys)
    assert list(tmp_path.iterdir()) == []


def test_unknown_parameter_in_yaml_names_the_dotted_path(source: Path, tmp_path: Path,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("/**:\n  ros__parameters:\n    tracking:\n      iterrations: 3\n")
    assert replay(source, tmp_path / "out", "--config", str(tmp_path / "c.yaml")) == 1
    assert "unknown parameter tracking.iterrations; did you mean tracking.iterations?" in complaint(capsys)


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_an_output_place_that_cannot_be_written_is_known_at_once(
        source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
        option: str) -> None:
    """Below a file nothing can be written, not even by root. It is said before any frame is computed."""
    monkeypatch.setattr(FixedPipeline, "step", lambda self, frame: pytest.fail("worked for nothing"))
    (tmp_path / "file").write_text("")
    bad = str(tmp_path / "file" / "x")
    assert replay(source, Path(bad if option == "--out" else tmp_path / "o"), "--json",
                  bad if option == "--json" else str(tmp_path / "r.json")) == 1
    assert "cannot write" in complaint(capsys)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


_SLOW_RUN = """
import sys, time
from storm_core.cli.main import main
from storm_core.pipeline import build
from test.unit.recordings.test_replay_cli import FixedPipeline

class Slow(FixedPipeline):
    def step(self, frame):
        print("working", flush=True)
        time.sleep(30)

build.build_pipeline = lambda config, models=None: Slow()
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_leaves_nothing_behind(source: Path, tmp_path: Path) -> None:
    """SIGINT to a real process in the middle of its work."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOW_RUN, "replay", str(source / "test" / "000001"), "--models", str(source / "models"),
         "--objects", "1", "--out", str(tmp_path / "out"), "--json", str(tmp_path / "r.json")],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    try:
        assert process.stdout is not None and "working" in process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 1
    assert [line for line in errors.splitlines() if line.startswith("storm: error: interrupted")]
    assert "Traceback" not in errors and list(tmp_path.iterdir()) == []


def test_ground_truth_topics_of_several_objects() -> None:
    assert named("--gt-topic", [], ["a"]) is None
    assert named("--gt-topic", ["/t"], ["a"]) == {"a": "/t"}
    assert named("--gt-topic", ["a:=/t", "b:=/u"], ["a", "b"]) == {"a": "/t", "b": "/u"}
    for bad in (["/t"], ["c:=/t"], ["a:=/t", "a:=/u"]):
        with pytest.raises(ConfigError, match="--gt-topic"):
            named("--gt-topic", bad, ["a", "b"])


def test_stage_times_from_diagnostics() -> None:
    values = {"som_node": {"localize_ms_p50": "12.5", "frames_hz": "30"}, "pose_node": {"track_ms_p99": "3"}}
    assert node_stage_times(values) == {"localize": {"p50": 12.5}, "track": {"p99": 3.0}}
    assert StormConfig().input.max_age == pytest.approx(0.1)
