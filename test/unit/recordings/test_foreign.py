"""Other systems get the same figures and the same report, and nothing of STORM looks at their images."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import trimesh

from storm_core.bags import messages
from storm_core.bags.recording import Recording, open_recording
from storm_core.bop.results import PoseEstimate, write_csv
from storm_core.cli.main import main
from storm_core.errors import DatasetError
from storm_core.geometry.pose import inverse, se3_exp
from storm_core.pipeline import build
from storm_core.report.foreign import ForeignPose, from_bag, from_bop, from_tum, outputs_of
from test.unit.recordings.small_bags import (
    PERIOD,
    START,
    N,
    Stamped,
    frames,
    images,
    poses,
    tf,
    track,
    write_rosbag1,
    write_rosbag2,
)

RUN_FILES = {"results.json", "predictions.jsonl", "timing.jsonl", "errors.csv", "poses.csv", "1.tum", "1_gt.tum",
             "output", "config.yaml", "report.html"}
SCORES = np.linspace(0.5, 0.95, N)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """models/ and bag/, whose ground truth is `track`."""
    root = tmp_path_factory.mktemp("foreign")
    (root / "models").mkdir()
    trimesh.creation.box(extents=(80, 120, 50)).export(root / "models" / "obj_000001.ply")
    (root / "models" / "models_info.json").write_text(json.dumps({"1": {"diameter": 152.6}}))
    write_rosbag2(root / "bag", [*images(frames()), *poses("/ground_truth/obj_1", track())])
    return root


@pytest.fixture(autouse=True)
def no_algorithms(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("an algorithm of STORM was built")

    for name in ("pipeline", "localizer", "registrar", "tracker", "monitor", "score_refiner"):
        monkeypatch.setattr(build, f"build_{name}", forbidden)


def estimates(score: Callable[[int], float] = lambda k: float(SCORES[k])) -> list[PoseEstimate]:
    return [PoseEstimate(scene_id=0, im_id=k, obj_id=1, score=score(k), cam_from_obj=pose, time_s=0.02)
            for k, pose in enumerate(track().values())]


def tum_lines(truth: Mapping[int, np.ndarray]) -> str:
    from scipy.spatial.transform import Rotation

    return "".join(" ".join([f"{s // 10**9}.{s % 10**9:09d}", *(f"{v:.9f}" for v in (
        *pose[:3, 3], *Rotation.from_matrix(pose[:3, :3]).as_quat()))]) + "\n" for s, pose in truth.items())


def detections(names: list[tuple[str, str]], lag_ns: int = 0) -> list[Stamped]:
    """(id, class): one detection each in every message, the first at the true pose."""
    out: list[Stamped] = []
    for k, (stamp, pose) in enumerate(track().items()):
        at = messages.header(stamp, "cam")
        items = []
        for n, (label, kind) in enumerate(names):
            moved = pose.copy()
            moved[0, 3] += 0.1 * n
            item = messages.detection(at, kind, float(SCORES[k]), messages.pose_with_covariance(moved, None), moved,
                                      np.ones(3))
            item.id = label
            items.append(item)
        out.append(("/detections", stamp + lag_ns, messages.detections(at, items)))
    return out


def evaluate(home: Path, out: Path, *args: str) -> dict:
    assert main(["evaluate", "tracking", str(home / "bag"), "--models", str(home / "models"), "--out", str(out),
                 "--no-video", *args]) == 0
    return json.loads((out / "results.json").read_text())


def write_pred(kind: str, path: Path) -> list[str]:
    """A perfect submission of every kind; the options that name it."""
    if kind == "csv":
        write_csv(path / "pred.csv", estimates())
        return ["--pred", str(path / "pred.csv")]
    if kind == "tum":
        (path / "pred.txt").write_text(tum_lines(track()))
        return ["--pred", str(path / "pred.txt")]
    if kind == "named tum":
        (path / "pred.txt").write_text(tum_lines(track()))
        return ["--pred", f"1:={path / 'pred.txt'}"]
    if kind == "bag":
        write_rosbag2(path / "pred", poses("/their/pose", track()))
        return ["--pred", str(path / "pred")]
    if kind == "ros1 bag":
        write_rosbag1(path / "pred.bag", poses("/their/pose", track()))
        return ["--pred", str(path / "pred.bag"), "--pred-topic", "/their/pose"]
    write_rosbag2(path / "pred", [*detections([("1", "box")]), *poses("/other", track())], "sqlite3")
    return ["--pred", str(path / "pred"), "--pred-topic", "1:=/detections"]


@pytest.mark.parametrize("kind", ["csv", "tum", "named tum", "bag", "ros1 bag", "detections"])
def test_a_perfect_submission_of_any_kind_is_perfect(home: Path, tmp_path: Path, kind: str) -> None:
    results = evaluate(home, tmp_path / "out", *write_pred(kind, tmp_path))
    figures = results["objects"]["1"]
    assert figures["add_auc"] == pytest.approx(1, abs=1e-6) and figures["coverage"] == 1 == figures["add_01d"]
    assert figures["confidently_wrong"] == 0 and figures["registrations"] is None and figures["losses"] is None
    assert {p.name for p in (tmp_path / "out").iterdir()} == RUN_FILES
    assert results["command"] == "evaluate tracking" and results["truth"] == "/ground_truth/obj_1"
    scored = kind in ("csv", "detections")
    assert ("calibration" in figures) == scored


def test_a_missing_pose_is_a_failure_and_a_wrong_one_is_worse(home: Path, tmp_path: Path) -> None:
    kept = dict(list(track().items())[:4])
    (tmp_path / "few.txt").write_text(tum_lines(kept))
    figures = evaluate(home, tmp_path / "a", "--pred", str(tmp_path / "few.txt"))["objects"]["1"]
    assert figures["add_auc"] == pytest.approx(4 / N, abs=1e-6) and figures["coverage"] == 4 / N
    moved = {s: se3_exp([0.2, 0, 0, 0, 0, 0]) @ p if s > START + 3 * PERIOD else p for s, p in track().items()}
    (tmp_path / "wrong.txt").write_text(tum_lines(moved))
    wrong = evaluate(home, tmp_path / "b", "--pred", str(tmp_path / "wrong.txt"))["objects"]["1"]
    assert wrong["add_auc"] == pytest.approx(4 / N, abs=1e-6) and wrong["confidently_wrong"] == pytest.approx(2 / N)


def test_the_poses_are_shown(home: Path, tmp_path: Path) -> None:
    write_csv(tmp_path / "pred.csv", estimates())
    assert main(["evaluate", "tracking", str(home / "bag"), "--models", str(home / "models"), "--pred",
                 str(tmp_path / "pred.csv"), "--out", str(tmp_path / "out")]) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == RUN_FILES | {"overlay.mp4", "overlay.gif", "overlay.png"}
    assert "PUBLISHED" in (tmp_path / "out" / "report.html").read_text()


def test_limits_hold_for_others_too(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "few.txt").write_text(tum_lines(dict(list(track().items())[:4])))
    args = ["evaluate", "tracking", str(home / "bag"), "--models", str(home / "models"), "--pred",
            str(tmp_path / "few.txt")]
    assert main([*args, "--fail-under", "add_auc=0.6"]) == 0
    assert main([*args, "--fail-under", "add_auc=0.7"]) == 1
    assert "objects.1.add_auc is 0.666" in capsys.readouterr().err


def test_without_truth_only_self_consistency(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(tmp_path / "pred.csv", estimates())
    results = evaluate(home, tmp_path / "out", "--pred", str(tmp_path / "pred.csv"), "--truth", "none")
    assert results["truth"] is None and "add_auc" not in results["objects"]["1"]
    assert results["objects"]["1"]["self_consistency"]["steps"] == N - 2
    assert "no ground truth" in capsys.readouterr().out
    assert "no ground truth" in (tmp_path / "out" / "report.html").read_text()
    assert not (tmp_path / "out" / "1_gt.tum").exists()


@pytest.fixture
def recording(home: Path) -> Recording:
    return open_recording(home / "bag")


def test_scores_that_are_no_probabilities_stay_out(recording: Recording) -> None:
    found = {k: ForeignPose(cam_from_obj=np.eye(4), score=s) for k, s in enumerate((0.2, 0.9, 37.5))}
    assert all(np.isnan(o.objects[0].probability) for o in outputs_of({"1": found}, recording, ["1"]))
    del found[2]
    said = [o.objects[0] for o in outputs_of({"1": found}, recording, ["1"])]
    assert [i.probability for i in said[:2]] == [0.2, 0.9] and np.isnan(said[2].probability)
    assert [i.trusted for i in said] == [True, True] + [False] * (N - 2)


def test_of_several_estimates_the_best_score_counts(recording: Recording, tmp_path: Path) -> None:
    other = PoseEstimate(scene_id=0, im_id=0, obj_id=1, score=0.99, cam_from_obj=se3_exp([0, 0, 1, 0, 0, 0]))
    elsewhere = PoseEstimate(scene_id=9, im_id=0, obj_id=1, score=1.0, cam_from_obj=np.eye(4))
    write_csv(tmp_path / "p.csv", [*estimates(), other, elsewhere])
    found = from_bop(tmp_path / "p.csv", recording, {"1": 1}, ["1"])["1"]
    assert len(found) == N and found[0].score == 0.99 and found[0].cam_from_obj[2, 3] == pytest.approx(1)
    assert found[1].total_ms == pytest.approx(20)
    with pytest.raises(DatasetError, match="no estimate for a frame of .* of scene 0 and an object of 2"):
        from_bop(tmp_path / "p.csv", recording, {"2": 2}, ["2"])


def test_stamps_within_half_a_frame_belong_together(recording: Recording, tmp_path: Path) -> None:
    """A pose 40 % of a period late still belongs to its frame, one 60 % late to the next, whose own pose is nearer."""
    stamps = list(track())
    shifted = {stamps[0] + int(0.4 * PERIOD): 1.0, stamps[1] + int(0.6 * PERIOD): 2.0,
               stamps[2] + int(0.1 * PERIOD): 3.0, stamps[-1] + 2 * PERIOD: 4.0}
    (tmp_path / "a.tum").write_text(tum_lines({s: se3_exp([0, 0, z, 0, 0, 0]) for s, z in shifted.items()}))
    found = from_tum({"1": tmp_path / "a.tum"}, recording)["1"]
    assert {k: round(p.cam_from_obj[2, 3], 6) for k, p in found.items()} == {0: 1.0, 2: 3.0}
    (tmp_path / "b.tum").write_text(tum_lines({5 * 10**9: np.eye(4)}))
    with pytest.raises(DatasetError, match=r"b.tum: no stamp is that of a frame .*1700000000.000 to 1700000000.167 s"):
        from_tum({"1": tmp_path / "b.tum"}, recording)


def test_latency_only_of_a_live_recording(recording: Recording, tmp_path: Path) -> None:
    def latencies(name: str, lag_ns: int) -> list[float]:
        bag = write_rosbag2(tmp_path / name, detections([("", "1")], lag_ns))
        return [p.latency_ms for p in from_bag(bag, recording, ["1"], None)["1"].values()]

    assert latencies("live", 25_000_000) == pytest.approx([25.0] * N)
    assert np.isnan(latencies("written", 0)).all() and np.isnan(latencies("copied", 3600 * 10**9)).all()
    assert np.isnan(latencies("ahead", -1_000_000)).all()


def test_detections_are_told_apart_by_name(recording: Recording, tmp_path: Path) -> None:
    bag = write_rosbag2(tmp_path / "pred", detections([("track_7", "cup"), ("obj_1", "thing")]))
    found = from_bag(bag, recording, ["1", "cup"], None)
    shift = [inverse(found["cup"][k].cam_from_obj) @ found["1"][k].cam_from_obj for k in range(N)]
    assert all(np.linalg.norm(s[:3, 3]) == pytest.approx(0.1) for s in shift)
    with pytest.raises(DatasetError, match="detections are named cup, obj_1, thing, track_7"):
        from_bag(bag, recording, ["spoon"], None)


def test_poses_in_the_world_use_the_tf_of_either_bag(tmp_path: Path) -> None:
    world_from_cam = {s: se3_exp([0.1 * k, 0, 0, 0, 0.1, 0]) for k, s in enumerate(track())}
    camera = [tf(s, "world", {"cam": p}) for s, p in world_from_cam.items()]
    in_world = poses("/their/pose", {s: world_from_cam[s] @ p for s, p in track().items()}, "world")
    bare = open_recording(write_rosbag2(tmp_path / "bare", images(frames())))
    with_tf = open_recording(write_rosbag2(tmp_path / "with_tf", [*images(frames()), *camera]))
    alone, both = write_rosbag2(tmp_path / "alone", in_world), write_rosbag2(tmp_path / "both", [*in_world, *camera])
    for bag, recording in ((alone, with_tf), (both, bare)):
        found = from_bag(bag, recording, ["1"], None)["1"]
        assert np.allclose([p.cam_from_obj for p in found.values()], list(track().values()), atol=1e-9)
    with pytest.raises(DatasetError, match="frame 'world', the images in 'cam'"):
        from_bag(alone, bare, ["1"], None)


@pytest.mark.parametrize(("args", "words"), [
    (["--pred", "/nowhere.csv"], "/nowhere.csv does not exist"),
    (["--pred", "{csv}", "--pred-topic", "/x"], "is no bag"),
    (["--pred", "{bag}"], "which topic holds the poses of 1? Name it with --pred-topic"),
    (["--pred", "{bag}", "--pred-topic", "/nope"], "no topic /nope with poses"),
    (["--pred", "cup:={csv}"], "cup"),
    (["--pred", "{csv}", "--gt-tf", "a:"], "--gt-tf a:: no frame of the object"),
    (["--pred", "{csv}", "--gt-bop", "/nowhere"], "/nowhere/scene_gt.json is missing"),
    (["--pred", "{csv}", "--world-frame", "moon"], "no frame 'moon'"),
    (["--pred", "x.jsonl", "--pred", "y.jsonl"], "give it alone"),
])
def test_what_cannot_be_evaluated_is_named(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                           args: list[str], words: str) -> None:
    write_csv(tmp_path / "p.csv", estimates())
    write_rosbag2(tmp_path / "two", [*poses("/a", track()), *poses("/b", track())])
    given = [a.format(csv=tmp_path / "p.csv", bag=tmp_path / "two") for a in args]
    assert main(["evaluate", "tracking", str(home / "bag"), "--models", str(home / "models"), "--out",
                 str(tmp_path / "out"), *given]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("storm: error: ")]
    assert len(errors) == 1 and words in errors[0] and not (tmp_path / "out").exists()
