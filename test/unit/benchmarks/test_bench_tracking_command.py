"""`storm bench tracking` as a user calls it."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from storm_core.cli.main import main
from test.unit.benchmarks.tiny import N


def bench(*arguments: object) -> int:
    return main(["bench", "tracking", *map(str, arguments)])


def test_one_table_over_the_same_frames(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    cache = f"onboarding.cache={tmp_path / 'cache'}"
    assert bench(scene, "--strides", 2, 1, "--repeats", 1, "--only", "storm", "small_gicp", "m3t_rd", "--set", cache,
                 "--json", out, "--fail-under", "storm.stride_1.add_auc=0.9", "--fail-over", "small_gicp.ratio=1e6"
                 if importlib.util.find_spec("small_gicp") else "storm.stride_1.ms.p50=1e6") == 0
    results = json.loads(out.read_text())
    assert results["command"] == "bench tracking" and results["input"]["frames"] == N and results["strides"] == [1, 2]
    (name, entry), = results["clips"].items()
    assert name.endswith("/1") and entry["frames"] == N
    for tracker in entry["trackers"].values():
        assert tracker["stride_1"]["frames"] == N - 1 and tracker["stride_2"]["frames"] == (N - 1) // 2
    ours = entry["trackers"]["storm"]["stride_1"]
    assert ours["answered"] == 1 and 0 < ours["stages_ms"]["monitor"]["p50"] < ours["ms"]["p95"]
    assert set(results["bench"]) == set(entry["trackers"]) - {"storm"}
    for pair in results["bench"].values():
        assert pair["ours_ms"] == ours["ms"]["p50"]
        assert pair["ratio"] == pytest.approx(pair["reference_ms"] / pair["ours_ms"])
    alone = entry["storm"]
    assert alone["ratio"] == pytest.approx(alone["ten_ms"] / alone["one_ms"]) and alone["one_ms"] > 0
    assert alone["onboarding"]["bytes"] > 1000 and alone["onboarding"]["seconds"] > 0
    assert alone["registration"]["tried"] == N >= alone["registration"]["right"] + sum(
        alone["registration"]["refused"].values())
    text = capsys.readouterr().out
    assert "ADD AUC" in text and "registration from a mask" in text and "10 in" in text
    assert "m3t_rd: --m3t DIR" in text and results["not_run"].keys() == {"m3t_rd"} | (
        set() if importlib.util.find_spec("small_gicp") else {"small_gicp"})


def test_a_tracker_that_fails_is_listed_not_scored(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    from storm_core.benchmarks import contenders

    monkeypatch.setattr(contenders, "_package", lambda name, *rest: contenders.Contender(
        name=name, command=lambda folder, out, clip: ["sh", "-c", "echo no licence >&2; exit 3"]))
    out = tmp_path / "bench.json"
    assert bench(scene, "--strides", 4, "--repeats", 1, "--only", "small_gicp", "--no-objects", "--json", out) == 0
    entry, = json.loads(out.read_text())["clips"].values()
    assert entry["trackers"] == {} and entry["not_run"] == {"small_gicp": "no licence (exit status 3)"}
    assert "no licence" in capsys.readouterr().out


def test_each_scene_is_a_clip_of_its_own(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No object moves from the end of one scene to the beginning of the next."""
    from storm_core.benchmarks import contenders

    monkeypatch.setattr(contenders, "_package", lambda name, *rest: contenders.Contender(
        name=name, command=lambda folder, out, clip: ["cp", str(tmp_path / "answer.txt"), str(out)]))
    (tmp_path / "answer.txt").write_text("pose 1 0 1 2.5 none\n")
    for number in (1, 2):
        shutil.copytree(scene, tmp_path / "data" / "test" / f"{number:06d}")
    out = tmp_path / "bench.json"
    assert bench(tmp_path / "data", "--models", scene.parents[1] / "models", "--strides", 1, "--repeats", 1, "--only",
                 "small_gicp", "--no-objects", "--max-frames", 3, "--json", out) == 0
    results = json.loads(out.read_text())
    assert len(results["clips"]) == 2 and results["input"]["frames"] == 6
    for entry in results["clips"].values():
        figures = entry["trackers"]["small_gicp"]["stride_1"]
        assert figures["frames"] == 2 and figures["add_auc"] == 0 and figures["ms"]["p50"] == 2.5


def test_wrong_use_is_named(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def problem(*arguments: object) -> str:
        assert bench(*arguments) == 1
        return capsys.readouterr().err

    assert "--strides and --repeats must be at least 1" in problem(scene, "--strides", 0)
    assert "--only orb: there are storm" in problem(scene, "--only", "orb")
    blind = tmp_path / "blind"
    shutil.copytree(scene, blind)
    assert "no folder models beside" in problem(blind)
    (blind / "scene_gt.json").unlink()
    assert "has no ground truth" in problem(blind, "--models", scene.parents[1] / "models")
    assert "same name" in problem(scene, scene)
    assert "only one frame is left" in problem(scene, "--max-frames", 1)
