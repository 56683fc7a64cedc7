"""`storm evaluate tracking` as a user calls it: figures, suspicion and limits of predictions over a tiny recording."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from storm_core.bags.recording import open_recording
from storm_core.bags.selection import select
from storm_core.cli.main import main
from storm_core.config import StormConfig
from storm_core.geometry.pose import se3_exp
from storm_core.pipeline.build import build_models
from storm_core.report.compare import SAME, compare_runs, read_run
from storm_core.report.jsonl import write_jsonl
from storm_core.report.run import load_run_truth, write_run
from storm_core.types import StepOutput
from test.unit.evaluation.runs import noisy, path, published

N = 30
PATH = path(N)
CAMERA = {"cam_K": [60.0, 0, 31.5, 0, 60.0, 23.5, 0, 0, 1], "depth_scale": 1.0}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """<source>/test/000001 with images of noise (nothing looks at them) and true poses; <source>/models."""
    root = tmp_path_factory.mktemp("dataset")
    scene = root / "test" / "000001"
    for part in ("rgb", "depth"):
        (scene / part).mkdir(parents=True)
    (root / "models").mkdir()
    trimesh.creation.box(extents=(80, 120, 50)).export(root / "models" / "obj_000001.ply")
    (root / "models" / "models_info.json").write_text(json.dumps({"1": {"diameter": 152.6, "name": "box"}}))
    rng = np.random.default_rng(0)
    for k in range(N):
        cv2.imwrite(str(scene / "rgb" / f"{k:06d}.png"), rng.integers(0, 255, (48, 64, 3), np.uint8))
        cv2.imwrite(str(scene / "depth" / f"{k:06d}.png"), rng.integers(500, 900, (48, 64), np.uint16))
    (scene / "scene_camera.json").write_text(json.dumps({str(k): CAMERA for k in range(N)}))
    (scene / "scene_gt.json").write_text(json.dumps({str(k): [
        {"obj_id": 1, "cam_R_m2c": p[:3, :3].reshape(9).tolist(), "cam_t_m2c": (1e3 * p[:3, 3]).tolist()}]
        for k, p in enumerate(PATH)}))
    return root


def evaluate(source: Path, folder: Path, outputs: list[StepOutput], *options: str) -> tuple[int, dict]:
    """(exit status, results) of predictions."""
    write_jsonl(folder / "predictions.jsonl", [(1, k) for k in range(N)], outputs)
    status = main(["evaluate", "tracking", str(source / "test" / "000001"), "--pred",
                   str(folder / "predictions.jsonl"), "--models", str(source / "models"), "--json",
                   str(folder / "r.json"), *options])
    return status, json.loads((folder / "r.json").read_text())


def chances() -> np.ndarray:
    return np.random.default_rng(1).uniform(0.6, 1.0, N)


def test_an_honest_run(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, results = evaluate(source, tmp_path, published(list(noisy(PATH)), probability=chances(),
                                                           covariance=np.eye(6) * 1e-5),
                               "--fail-under", "add_auc=0.9", "--fail-over", "confidently_wrong=0.0")
    assert status == 0 and results["suspicion"] == [] and "warning" not in capsys.readouterr().out
    figures = results["objects"]["box"]
    assert figures["ci95"]["add_auc"][0] <= figures["add_auc"] <= figures["ci95"]["add_auc"][1]
    assert figures["loss"]["events"] == 0 and figures["loss"]["recall"] is None, "nothing to detect is no recall"
    assert figures["nees"]["n"] == N and sum(b["n"] for b in figures["calibration"]["bins"]) == N
    assert results["bootstrap"]["seed"] == 0 and results["bootstrap"]["resamples"] >= 2000


def test_limits_fail_the_command_and_the_figures_are_kept(source: Path, tmp_path: Path,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    half = [p if k % 2 else None for k, p in enumerate(noisy(PATH))]
    status, results = evaluate(source, tmp_path, published(half), "--fail-under", "coverage=0.9")
    assert status == 1 and results["objects"]["box"]["coverage"] == 0.5
    assert "objects.box.coverage is 0.5, below 0.9" in capsys.readouterr().err


def test_a_system_that_publishes_nothing_is_not_never_wrong(source: Path, tmp_path: Path,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    status, results = evaluate(source, tmp_path, published([None] * N), "--fail-over", "confidently_wrong=0.01")
    assert status == 1 and results["objects"]["box"]["confidently_wrong"] is None
    assert "objects.box.confidently_wrong is missing" in capsys.readouterr().err


def test_predictions_that_were_cut_off_are_failures(source: Path, tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(tmp_path / "short.jsonl", [(1, k) for k in range(10)], published(list(noisy(PATH)))[:10])
    command = ["evaluate", "tracking", str(source / "test" / "000001"), "--models", str(source / "models"), "--json",
               str(tmp_path / "r.json"), "--pred"]
    assert main([*command, str(tmp_path / "short.jsonl")]) == 0
    results = json.loads((tmp_path / "r.json").read_text())
    assert results["input"]["frames"] == N and results["objects"]["box"]["coverage"] == pytest.approx(10 / N)
    assert f"says nothing about 20 of {N} frames; they count as failures" in capsys.readouterr().err


def test_a_run_over_a_part_is_evaluated_over_that_part(source: Path, tmp_path: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    """results.json beside the predictions says what was played; of that, too, a missing line is a failure."""
    recording = open_recording(source / "test" / "000001")
    config = StormConfig(models=str(source / "models"), objects=("box",))
    models, poses, part = build_models(config), noisy(PATH), select(recording, "2:22", 4)
    folder, again = tmp_path / "run", tmp_path / "again"
    folder.mkdir()
    write_run(folder, command="track", config=config, models=models, recording=part, video=False, truth=None,
              outputs=[published(list(poses))[k] for k in part.indices])
    command = ["evaluate", "tracking", str(source / "test" / "000001"), "--no-video", "--models",
               str(source / "models")]
    assert main([*command, "--pred", str(folder / "predictions.jsonl"), "--out", str(again)]) == 0
    results = json.loads((again / "results.json").read_text())
    assert results["input"]["played"] == {"first": 2, "stop": 19, "stride": 4} and results["input"]["frames"] == 5
    assert results["objects"]["box"]["coverage"] == 1.0 and "warning" not in capsys.readouterr().err
    lines = (again / "predictions.jsonl").read_text().splitlines(keepends=True)
    (again / "predictions.jsonl").write_text("".join(lines[:2]))
    (again / "timing.jsonl").unlink()
    assert main([*command, "--pred", str(again / "predictions.jsonl"), "--json", str(tmp_path / "r.json")]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["objects"]["box"]["coverage"] == pytest.approx(2 / 5)
    assert "nothing about 3 of 5 frames" in capsys.readouterr().err
    (again / "results.json").write_text('{"input": {"sha256": "' + recording.sha256 + '", "played": 1}}')
    assert main([*command, "--pred", str(again / "predictions.jsonl")]) == 1
    assert "does not say what was played" in capsys.readouterr().err


def test_suspicious_predictions_are_shown(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, results = evaluate(source, tmp_path, published(list(PATH), probability=chances()))
    assert [f["finding"] for f in results["suspicion"]] == ["MOCK"]
    late = noisy(np.concatenate([np.repeat(PATH[:1], 3, 0), PATH[:-3]]))
    _, results = evaluate(source, tmp_path, published(list(late), probability=chances()))
    assert [f["finding"] for f in results["suspicion"]] == ["STALE"]
    out = capsys.readouterr().out
    assert "warning: MOCK box" in out and "copy" in out and "warning: STALE box" in out and "lag by 3 frames" in out


def test_every_main_figure_can_be_recomputed_from_errors_csv(source: Path, tmp_path: Path) -> None:
    poses = [None if k in (3, 4) else p for k, p in enumerate(noisy(PATH))]
    poses[10] = se3_exp([0.1, 0, 0, 0, 0, 0]) @ PATH[10]
    recording = open_recording(source / "test" / "000001")
    config = StormConfig(models=str(source / "models"), objects=("box",))
    models = build_models(config)
    results = write_run(tmp_path, command="replay", config=config, models=models, recording=recording, video=False,
                        outputs=published(poses, probability=chances()),
                        truth=load_run_truth(recording, config, models))
    with (tmp_path / "errors.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    figures = results["objects"]["box"]
    add_m, mssd_m = (np.array([float(r[key]) for r in rows]) for key in ("add_m", "mssd_m"))
    trusted, diameter = np.array([r["trusted"] == "1" for r in rows]), float(rows[0]["diameter_m"])
    assert figures["coverage"] == trusted.mean() == 28 / 30 and len(rows) == N
    assert figures["add_auc"] == pytest.approx(np.clip(1 - add_m / 0.1, 0, None).mean())
    assert figures["add_01d"] == (add_m < 0.1 * diameter).mean() == 27 / 30
    assert figures["confidently_wrong"] == (mssd_m[trusted] > 0.2 * diameter).mean() == 1 / 28
    assert results["latency"]["p50"] == float(rows[0]["latency_ms"]) == 10.0
    read = read_run(tmp_path)
    assert read.sha256 == recording.sha256 and read.table.ids == recording.ids
    assert {d.verdict for d in compare_runs(read, read, seed=0)} == {SAME}
