"""Training of the small verifier: its records, and a run that stops and goes on."""

import importlib
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from storm_core.cli.main import main
from storm_core.errors import ConfigError, DatasetError
from storm_core.models import packages
from storm_core.training import monitor_scenes
from storm_core.training.monitor_config import read_training
from storm_core.training.monitor_records import read_records, write_records
from storm_core.training.monitor_scenes import FIRST_SEED, OBJECTS, RIGHT, WRONG, Kind, looks_wrong


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small scenes to train on, and one to validate."""
    folder = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monitor_scenes, "VIEWS", 2)
        write_records(folder, "train", 0, 2, progress=False)
        write_records(folder, "val", 0, 1, progress=False)
    return folder


def test_labels_say_what_the_poses_are(records: Path) -> None:
    found = read_records(records, "train", 0, 2)
    right = found.kind == Kind.RIGHT
    assert right.any() and (found.error[right] <= RIGHT).all() and (found.error[~right] >= WRONG).all()
    assert set(found.kind[~right]) >= {Kind.SHIFT, Kind.TURN, Kind.FLIP}
    assert set(found.scene) == {0, 1} and (found.visible >= monitor_scenes.LEAST_VISIBLE).all()


def test_a_scene_is_its_seed_and_objects_of_splits_differ(records: Path, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_scenes, "VIEWS", 2)
    write_records(tmp_path, "val", 0, 1, progress=False)
    np.testing.assert_array_equal(read_records(tmp_path, "val", 0, 1).crops, read_records(records, "val", 0, 1).crops)
    first, last = sorted(FIRST_SEED.values())
    assert first + 2 * OBJECTS[1] * (89_999 + 100_000) < last  # seeds 0 and 1 of one split end before the other


def test_made_records_are_kept_and_damaged_ones_named(records: Path, tmp_path: Path) -> None:
    stamps = {file: file.stat().st_mtime_ns for file in records.iterdir()}
    write_records(records, "train", 0, 2, progress=False)
    assert {file: file.stat().st_mtime_ns for file in records.iterdir()} == stamps
    (tmp_path / "train_0_00000.npz").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="made anew"):
        read_records(tmp_path, "train", 0, 1)


def test_a_render_is_not_wrong_against_itself(records: Path) -> None:
    crops = read_records(records, "train", 0, 1).crops
    assert not any(looks_wrong(crop, crop) for crop in crops[:10])
    empty = crops[0].copy()
    empty[8] = 0
    assert looks_wrong(empty, crops[0])


def options(records: Path, out: Path, steps: int) -> list[str]:
    values = {"data.records": records, "data.scenes": 2, "data.val_scenes": 1, "data.workers": 1, "training.out": out,
              "training.steps": steps, "training.batch": 16, "training.save_every": 2, "training.warmup": 1}
    return ["train", "monitor", *(word for key, value in values.items() for word in ("--set", f"{key}={value}"))]


def test_a_run_in_two_parts_is_the_run_in_one(records: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs torch: make full").set_num_threads(1)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*options(records, whole, 4), "--json", str(tmp_path / "a.json")]) == 0
    # The rate depends on the number of steps, so the part stops by itself only when it is told the same number.
    from storm_core.training import monitor_loop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monitor_loop, "_keep", _keep_and_stop(monitor_loop._keep))
        assert main(options(records, parts, 4)) != 0
    assert main([*options(records, parts, 4), "--resume"]) == 0
    a, b = (np.load(folder / "monitor.npz") for folder in (whole, parts))
    for name in set(a.files) - {"__head__"}:
        np.testing.assert_allclose(a[name], b[name], atol=1e-6)
    figures = json.loads((tmp_path / "a.json").read_text())["validation"]
    assert 0 <= figures["auroc"] <= 1 and {"accuracy", "ece", "auroc_shift"} <= set(figures)


def test_an_interrupted_run_keeps_its_last_step(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="training needs torch: make full").set_num_threads(1)
    from storm_core.training import monitor_loop

    step = monitor_loop._step

    def interrupted(task: object, number: int, *given: object) -> float:
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(task, number, *given)

    monkeypatch.setattr(monitor_loop, "_step", interrupted)
    assert main(options(records, tmp_path / "run", 6)) == 1
    assert "step 3 kept in" in capsys.readouterr().err
    monkeypatch.setattr(monitor_loop, "_step", step)
    assert main([*options(records, tmp_path / "run", 6), "--resume", "--json", str(tmp_path / "out.json")]) == 0
    assert json.loads((tmp_path / "out.json").read_text())["steps_now"] == 3


def test_the_folder_of_another_training_is_left_alone(records: Path, tmp_path: Path,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="training needs torch: make full").set_num_threads(1)
    (tmp_path / "state.pt").write_bytes(b"x")
    (tmp_path / "log.jsonl").write_text("theirs")
    assert main(options(records, tmp_path, 2)) == 1
    assert "state.pt is of another run than `storm train monitor`" in capsys.readouterr().err
    assert (tmp_path / "log.jsonl").read_text() == "theirs"
    assert main([*options(records, tmp_path / "none", 2), "--resume"]) == 1
    assert not (tmp_path / "none").exists(), "a refused run leaves no folder behind"


def test_a_device_that_is_not_there_is_said_before_records_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch", reason="training needs torch: make full")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert main([*options(tmp_path / "records", tmp_path, 2), "--set", "training.device=cuda:7"]) == 1
    assert "training.device is cuda:7" in capsys.readouterr().err
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize("batch", [1, 7])
def test_a_batch_holds_as_many_right_poses_as_wrong_ones(batch: int) -> None:
    with pytest.raises(ConfigError, match="training.batch"):
        read_training(None, {"training.batch": batch})


def _keep_and_stop(keep):  # noqa: ANN001, ANN202
    def stopping(*args) -> None:  # noqa: ANN002
        keep(*args)
        raise KeyboardInterrupt
    return stopping


@pytest.mark.parametrize(("module", "command"), [("verifier", []), ("covariance", ["--bop-dir", "none"])])
def test_a_file_that_cannot_be_written_is_said_before_the_work(
        module: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    def collect(*args: object, **more: object) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(importlib.import_module(f"storm_core.training.{module}"), "collect", collect)
    (tmp_path / "file").write_text("")
    assert main(["train", module, *command, "--json", str(tmp_path / "file" / "r.json")]) == 1
    assert "cannot write" in capsys.readouterr().err


def test_without_torch_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    assert main(["train", "monitor"]) == 1
    assert "needs torch" in capsys.readouterr().err
