"""Output is complete or absent, and what cannot be written is said."""

import errno
from pathlib import Path

import pytest

from storm_core.errors import SetupError
from storm_core.report.atomic import whole_file, whole_folder


def everything(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out.json"
    with whole_file(target) as path:
        path.write_text("half")
        assert not target.exists() and path.suffix == ".json"
        path.write_text("whole")
    assert target.read_text() == "whole" and everything(tmp_path) == ["deep", "deep/out.json"]
    assert target.stat().st_mode & 0o444, "readable like any new file"


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failed_file_leaves_the_old_one(tmp_path: Path, stop: type[BaseException]) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")
    with pytest.raises(stop), whole_file(target) as path:
        path.write_text("half")
        raise stop
    assert target.read_text() == "old" and everything(tmp_path) == ["out.json"]


def test_a_folder_appears_whole_and_keeps_foreign_files(tmp_path: Path) -> None:
    target = tmp_path / "results"
    for text in ("first", "second"):
        with whole_folder(target) as part:
            (part / "data").mkdir()
            (part / "data" / f"{text}.txt").write_text(text)
            (part / "report.html").write_text(text)
        if text == "first":
            (target / "notes.txt").write_text("mine")
    assert (target / "report.html").read_text() == "second"
    assert everything(tmp_path) == ["results", "results/data", "results/data/second.txt", "results/notes.txt",
                                    "results/report.html"]


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_a_failed_folder_leaves_nothing_not_even_parents(tmp_path: Path, stop: type[BaseException]) -> None:
    with pytest.raises(stop), whole_folder(tmp_path / "a" / "b" / "results") as part:
        (part / "half.txt").write_text("half")
        raise stop
    assert everything(tmp_path) == []


def test_a_failed_folder_leaves_the_old_results(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "results") as part:
        (part / "report.html").write_text("old")
    with pytest.raises(ValueError), whole_folder(tmp_path / "results") as part:
        (part / "report.html").write_text("half")
        raise ValueError
    assert (tmp_path / "results" / "report.html").read_text() == "old"
    assert everything(tmp_path) == ["results", "results/report.html"]


@pytest.mark.parametrize("write", [whole_file, whole_folder])
def test_places_that_cannot_be_written_are_named(tmp_path: Path, write: object) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file" / "below", Path("/proc/storm/out")):
        with pytest.raises(SetupError, match=f"cannot write {target}.*choose a folder"), write(target):  # type: ignore
            raise AssertionError("must fail before any work is done")


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")
    with pytest.raises(SetupError, match="is a file"), whole_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out").read_text() == "precious"


def test_a_full_disk_is_named_but_a_missing_input_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="No space left"), whole_file(tmp_path / "out.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "out"):
        (tmp_path / "input.txt").read_text()
    assert everything(tmp_path) == []
