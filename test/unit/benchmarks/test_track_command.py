"""`storm track` as a user calls it, and the parts of a recording it works on."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from storm_core.bags.pose_file import read_pose
from storm_core.bags.recording import open_recording
from storm_core.bags.selection import select
from storm_core.bags.true_poses import Truth
from storm_core.bags.truth import load_truth
from storm_core.cli.main import main
from storm_core.errors import ConfigError, DatasetError
from storm_core.geometry.pose import from_rotation_translation, so3_exp
from storm_core.interfaces import Monitor, Tracker
from storm_core.pipeline.follow import Follower, from_poses
from storm_core.types import (
    Evidence,
    Frame,
    Judgement,
    Reason,
    Registration,
    Track,
    TrackFailure,
    Verdict,
)
from test.unit.benchmarks.tiny import POSES, N


def track(scene: Path, out: Path, *options: object) -> tuple[int, dict]:
    """(exit status, results) of a run without video."""
    status = main(["track", str(scene), "--models", str(scene.parents[1] / "models"), "--objects", "1", "--no-video",
                   "--out", str(out), "--json", str(out.with_suffix(".json")), "--set",
                   f"onboarding.cache={out.parent / 'cache'}", *map(str, options)])
    file = out.with_suffix(".json")
    return status, json.loads(file.read_text()) if file.exists() else {}


def test_from_the_truth_to_the_end(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, results = track(scene, tmp_path / "run", "--init", "gt", "--fail-under", "add_auc=0.95")
    assert status == 0 and results["command"] == "track"
    figures = results["objects"]["1"]
    assert figures["coverage"] == 1 and figures["add_01d"] == 1 and figures["registrations"] <= 1
    assert {"track", "monitor", "total"} <= set(results["stages_ms"]) and "localize" not in results["stages_ms"]
    assert "started in frame 0, followed to the end" in capsys.readouterr().out
    for name in ("results.json", "report.html", "predictions.jsonl", "timing.jsonl", "poses.csv", "1.tum",
                 "errors.csv"):
        assert (tmp_path / "run" / name).exists(), name


def test_every_second_frame_of_a_range_with_its_own_stamps(scene: Path, tmp_path: Path) -> None:
    pose = tmp_path / "start.txt"
    pose.write_text("# frame 1\n" + "\n".join(" ".join(map(str, row)) for row in POSES[1]))
    status, results = track(scene, tmp_path / "run", "--init", f"1:={pose}", "--stride", 2, "--frames", "1:")
    assert status == 0 and results["input"]["frames"] == len(range(1, N, 2))
    assert results["track"]["events"][0]["frame"] == 1 and results["objects"]["1"]["coverage"] == 1
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert [line["im_id"] for line in lines] == list(range(1, N, 2))


def test_from_its_own_registration(scene: Path, tmp_path: Path) -> None:
    status, results = track(scene, tmp_path / "run")
    assert status == 0 and results["track"]["init"] == ["register"]
    assert {"localize", "register"} <= set(results["stages_ms"]) and results["objects"]["1"]["coverage"] > 0.5


def test_frames_before_the_start_are_failures(scene: Path, tmp_path: Path) -> None:
    blind = tmp_path / "late"
    blind.mkdir()
    for part in ("rgb", "depth", "scene_camera.json"):
        (blind / part).symlink_to(scene / part)
    truth = json.loads((scene / "scene_gt.json").read_text())
    (blind / "scene_gt.json").write_text(json.dumps({k: v for k, v in truth.items() if int(k) >= 2}))
    out = tmp_path / "run"
    assert main(["track", str(blind), "--models", str(scene.parents[1] / "models"), "--objects", "1", "--no-video",
                 "--init", "gt", "--out", str(out)]) == 0
    results = json.loads((out / "results.json").read_text())
    assert results["track"]["events"][0]["frame"] == 2 and results["objects"]["1"]["trusted_share"] == (N - 2) / N


def test_a_damaged_truth_costs_the_figures_but_not_the_run(scene: Path, tmp_path: Path,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    damaged, pose = tmp_path / "000001", tmp_path / "start.txt"
    damaged.mkdir()
    for part in ("rgb", "depth", "scene_camera.json"):
        (damaged / part).symlink_to(scene / part)
    (damaged / "scene_gt.json").write_text("{")
    pose.write_text("\n".join(" ".join(map(str, row)) for row in POSES[0]))
    command = ["track", str(damaged), "--models", str(scene.parents[1] / "models"), "--objects", "1", "--no-video",
               "--init", str(pose), "--frames", ":2", "--seed", "3", "--out", str(tmp_path / "run")]
    assert main(command) == 1 and "without figures of accuracy" in capsys.readouterr().err
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["truth"] is None and results["objects"]["1"]["trusted_share"] == 1.0 and results["seed"] == 3
    assert main([*command, "--out", str(tmp_path / "next"), "--gt-tum", str(tmp_path / "none.tum")]) == 1
    assert not (tmp_path / "next").exists()


@pytest.mark.parametrize(("options", "message"), [
    (("--init", "gt", "--truth", "none"), "--init gt"),
    (("--init", "gt", "--init", "x.txt"), "give it alone"),
    (("--init", "nothing.txt"), "cannot read a pose from nothing.txt"),
    (("--init", "2:=x.txt"), "not one of the objects"),
    (("--frames", "9:"), "holds no frame"),
    (("--frames", "3"), "--frames needs A:B"),
    (("--stride", "0"), "--stride must be at least 1"),
    (("--rate", "0"), "--rate must be positive"),
])
def test_wrong_use_is_named_and_leaves_nothing(scene: Path, tmp_path: Path, options: tuple[str, ...], message: str,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    status, results = track(scene, tmp_path / "run", *options)
    assert status == 1 and not results and message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@given(st.integers(0, N - 1), st.integers(1, N), st.integers(1, 4))
def test_a_selection_is_the_recording_at_its_indices(scene: Path, first: int, last: int, stride: int) -> None:
    whole = open_recording(scene)
    if first >= last:
        with pytest.raises(ConfigError, match="holds no frame"):
            select(whole, f"{first}:{last}", stride)
        return
    part = select(whole, f"{first}:{last}", stride)
    wanted = list(range(first, last, stride))
    assert part.stamps_ns == tuple(whole.stamps_ns[k] for k in wanted) and len(part) == len(wanted)
    assert part.ids == tuple(whole.ids[k] for k in wanted)
    assert [f.stamp_ns for f in part.frames()] == list(part.stamps_ns)
    assert [f.stamp_ns for f in part.frames([len(part) - 1, len(part) + 5])] == [part.stamps_ns[-1]]
    truth = load_truth(whole, {"1": 1}, ["1"])
    assert isinstance(truth, Truth)
    assert list(part.truth(truth).frames["1"]) == [truth.frames["1"][k] for k in wanted]


@given(st.lists(st.floats(-2, 2), min_size=6, max_size=6), st.sampled_from(["4x4", "3x4", "quaternion"]))
def test_each_form_of_a_pose_is_read(tmp_path_factory: pytest.TempPathFactory, xi: list[float], form: str) -> None:
    pose = from_rotation_translation(so3_exp(np.array(xi[3:])), np.array(xi[:3]))
    numbers = {"4x4": pose.ravel(), "3x4": pose[:3].ravel(),
               "quaternion": np.r_[pose[:3, 3], Rotation.from_matrix(pose[:3, :3]).as_quat()]}[form]
    file = tmp_path_factory.mktemp("pose") / "p.txt"
    file.write_text(", ".join(map(repr, map(float, numbers))) + "  # a comment\n")
    np.testing.assert_allclose(read_pose(file), pose, atol=1e-9)


@pytest.mark.parametrize(("text", "message"), [("1 2 3", "holds 3 numbers"), ("a b", "cannot read a pose"),
                                               ("0 0 1 0 0 0 0.5", "length 1"), (" ".join("2" * 16), "no pose")])
def test_what_is_no_pose_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_pose(tmp_path / "p.txt")


class _Tracker(Tracker):
    """Stands still for two frames, then gives up."""

    def __init__(self) -> None:
        self.left = -1

    def start(self, frame: Frame, registration: Registration) -> None:
        self.pose, self.left = registration.cam_from_obj, 2

    def stop(self, object_name: str) -> None: ...

    def reset(self, object_name: str) -> None: ...

    def nudge(self, object_name: str, stamp_ns: int, correction: np.ndarray) -> bool:
        return False

    def track(self, frame: Frame) -> dict[str, Track | TrackFailure]:
        self.left -= 1
        if self.left < 0:
            return {"wedge": TrackFailure(object_name="wedge", stamp_ns=frame.stamp_ns, reason=Reason.OUT_OF_VIEW,
                                          detail="gone")}
        return {"wedge": Track(object_name="wedge", stamp_ns=frame.stamp_ns, cam_from_obj=self.pose,
                               covariance=np.eye(6), innovation=0.0)}


class _Monitor(Monitor):
    """Doubts everything."""

    def reset(self, object_name: str) -> None: ...

    def judge(self, frame: Frame, track: Track) -> Judgement:
        return Judgement(object_name="wedge", stamp_ns=frame.stamp_ns, verdict=Verdict.LOST, probability=0.1,
                         reason=Reason.DEPTH_DISAGREES, evidence=Evidence())


def test_doubt_withdraws_no_pose_and_a_loss_is_final(scene: Path) -> None:
    frames = list(open_recording(scene).frames())
    follower = Follower(["wedge"], from_poses({"wedge": (frames[1].stamp_ns, POSES[1])}), _Tracker(), _Monitor())
    outputs = [follower.step(frame) for frame in frames]
    items = [o.objects[0] for o in outputs]
    assert [i.state for i in items] == ["SEARCHING", "SUSPECT", "SUSPECT", "SUSPECT", "LOST", "LOST"]
    assert [i.trusted for i in items] == [False, True, True, True, False, False]
    assert [i.cam_from_obj is None for i in items] == [True, False, False, False, True, True]
    assert items[4].reason is Reason.OUT_OF_VIEW and follower.detail == {"wedge": "gone"}
    assert [t.after for o in outputs for t in o.transitions] == ["SUSPECT", "LOST"]
    assert "track" not in outputs[0].stage_ms and outputs[5].stage_ms.keys() == {"total"}
