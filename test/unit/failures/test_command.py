"""`storm evaluate monitor --benchmark` from end to end, on a tiny rendered dataset."""

import json
from pathlib import Path

import cv2
import pytest

from storm_core.cli.main import main
from storm_core.training.monitor_records import read_records
from storm_core.training.monitor_scenes import Kind
from test.unit.evaluation_runs.tiny_dataset import FAST, write_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("tiny") / "set", scenes=2, images=12)


def command(dataset: Path, out: Path, *more: str) -> list[str]:
    return ["evaluate", "monitor", "--benchmark", "--bop-dir", str(dataset), "--objects", "1", "--workers", "1",
            "--out", str(out), *more]


def test_the_benchmark_runs_and_repeats(dataset: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "figures.json"
    options = ("--causes", "jump", "hidden", "frozen", "--json", str(file))
    assert main(command(dataset, out, *options)) == 0
    first = json.loads(file.read_text())
    assert {p.name for p in out.iterdir()} >= {"results.json", "plays.jsonl", "report.html", "roc.png",
                                               "reliability.png", "latency.png", "causes.png"}
    assert first["benchmark"]["plays"] == 2 * 4 and set(first["monitors"]["storm"]["causes"]) == {
        "none", "jump", "hidden", "frozen"}
    assert first["monitor"]["auroc"] > 0.9 and first["stages_ms"]["monitor"]["n"] == 2 * 4 * 12
    assert "data:image" in (out / "report.html").read_text()
    for more, reused in (((), 2), (("--restart",), 0)):  # read back, and measured anew: the same
        assert main(command(dataset, out, *options, *more)) == 0
        again = json.loads(file.read_text())
        assert again["workers"]["parts_reused"] == reused and again["monitors"] == first["monitors"]


def test_the_real_tracker_and_the_whole_system(dataset: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    assert main(command(dataset, tmp_path / "out", "--scene", "1", "--tracker", "--pipeline", "--causes", "jump",
                        "--json", str(file), *FAST)) == 0
    found = json.loads(file.read_text())
    assert found["benchmark"]["poses"] == "tracker" and found["monitors"]["storm"]["causes"]["none"]["coverage"] > 0.9
    recovery = found["recovery"]["causes"]["jump"]
    assert recovery["plays"] + recovery["not_started"] == 1
    assert recovery["recovered"] + recovery["missed"] == recovery["plays"]


@pytest.mark.parametrize(("more", "says"), [
    (("--frames", "3"), "--frames must be at least 12, got 3"),
    (("--causes", "jumps"), "unknown cause 'jumps'; known: none, drift"),
    (("--scene", "9"), "no scene 9"),
])
def test_bad_options_are_one_clear_line(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                        more: tuple[str, ...], says: str) -> None:
    assert main(command(dataset, tmp_path / "out", *more)) == 1
    error = capsys.readouterr().err.strip()
    assert says in error and len(error.splitlines()) == 1


def test_clips_that_are_too_short_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = write_dataset(tmp_path / "short", scenes=1, images=3)
    assert main(command(short, tmp_path / "out")) == 1
    assert "annotated in 3 readable frames, the failure benchmark needs 12" in capsys.readouterr().err


def test_lessons_are_labelled_and_can_be_learnt_from(dataset: Path, tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lessons"
    options = ["train", "failures", "--bop-dir", str(dataset), "--objects", "1", "--out", str(out), "--every", "2"]
    assert main([*options, "--causes", "jump", "occlusion", "--scene", "1"]) == 0
    assert main([*options, "--causes", "jump", "--scene", "2"]) == 0, "a second run adds to the first"
    assert "2 scenes of split train" in capsys.readouterr().out
    pairs = [json.loads(line) for line in (out / "pairs.jsonl").read_text().splitlines()]
    assert {pair["cause"] for pair in pairs} == {"none", "jump", "occlusion"}
    assert all(pair["label"] == (pair["cause"] != "jump") for pair in pairs), "a jump is a failure, the others are none"
    sizes = {cv2.imread(str(out / pair[key])).shape for pair in pairs for key in ("img1", "img2")}
    assert sizes == {(224, 224, 3)}
    records = read_records(out / "records", "train", 0, 2)
    assert len(records.crops) == len(pairs) and set(records.scene.tolist()) == {1, 2}
    assert int(records.right.sum()) == sum(pair["label"] for pair in pairs)
    wrong = ~records.right
    assert (records.kind[wrong] == Kind.SHIFT).all() and records.error[wrong].min() > 0.13
    assert main([*options, "--every", "0"]) == 1 and "--every at least 1" in capsys.readouterr().err
