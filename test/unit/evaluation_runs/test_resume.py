"""An interrupted run continues; nothing is reused that another input, parameter or code would change."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from storm_core.cli.main import main
from storm_core.errors import DatasetError
from storm_core.evaluation import resume, workers
from storm_core.evaluation.images import scene_images
from storm_core.evaluation.jobs import Job, Outcome, Query
from storm_core.evaluation.resume import Parts
from storm_core.evaluation.workers import Crew, do_jobs
from test.real_data import ROOT
from test.unit.evaluation_runs.tiny_dataset import FAST, write_dataset

HERE = Crew(workers=1)
COUNT = 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("resume") / "data", scenes=1, images=COUNT)


def jobs_of(data: Path) -> list[Job]:
    return [Job(kind="masks", images=(image,), queries=(Query(name="1"),), config={"seed": 0}, models={"1": "abc"})
            for image in scene_images(data / "test" / "000001")]


@pytest.fixture
def performed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The image numbers of the jobs that were really done."""
    done: list[int] = []

    def perform(job: Job) -> Outcome:
        done.append(job.images[0].im_id)
        return {"records": [job.images[0].im_id], "skipped": []}

    monkeypatch.setattr(workers, "perform", perform)
    return done


def test_finished_jobs_are_not_done_again(data: Path, performed: list[int], tmp_path: Path) -> None:
    jobs = jobs_of(data)
    first, reused = do_jobs(jobs[:5], HERE, Parts(tmp_path), unit="job")
    assert reused == 0 and performed == [0, 1, 2, 3, 4]
    every, reused = do_jobs(jobs[::-1], HERE, Parts(tmp_path), unit="job")
    assert reused == 5 and performed == [0, 1, 2, 3, 4, 7, 6, 5]
    assert [o["records"][0] for o in every] == list(range(COUNT - 1, -1, -1)) and first == every[::-1][:5]
    _, reused = do_jobs(jobs, HERE, Parts(tmp_path, restart=True), unit="job")
    assert reused == 0 and len(performed) == 2 * COUNT


def test_keys_know_everything_that_matters(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job = jobs_of(data)[0]
    image = job.images[0]
    others = [replace(job, kind="registration"), replace(job, config={"seed": 1}), replace(job, models={"1": "abd"}),
              replace(job, queries=(Query(name="2"),)), replace(job, queries=(Query(name="1", masks=()),)),
              replace(job, images=(replace(image, camera={**image.camera, "depth_scale": 1.0}),)),
              replace(job, images=(replace(image, depth=""),))]
    keys = {job.key(), *(other.key() for other in others)}
    assert len(keys) == 1 + len(others) and job.key() == jobs_of(data)[0].key()
    copy = tmp_path / "copy.png"
    copy.write_bytes(Path(image.depth).read_bytes())
    job = replace(job, images=(replace(image, depth=str(copy)),))
    before = job.key()
    copy.write_bytes(copy.read_bytes() + b"x")
    changed = job.key()
    copy.unlink()
    assert len({before, changed, job.key()}) == 3
    monkeypatch.setattr(resume, "_sources", lambda: "other code")
    assert jobs_of(data)[0].key() not in keys


def test_keys_know_the_code_of_every_part_that_a_job_calls() -> None:
    """The failure benchmark disturbs pictures by `simulation` and labels them by `metrics` within its jobs."""
    assert not {"simulation", "metrics", "evaluation", "monitor"} & set(resume._WITHOUT_INFLUENCE)


def test_a_damaged_part_is_done_again(data: Path, performed: list[int], tmp_path: Path) -> None:
    jobs = jobs_of(data)[:3]
    do_jobs(jobs, HERE, Parts(tmp_path), unit="job")
    files = sorted((tmp_path / resume.FOLDER).iterdir())
    assert len(files) == 3
    files[0].write_text(files[0].read_text()[:7])
    files[1].write_text("[]")
    assert do_jobs(jobs, HERE, Parts(tmp_path), unit="job")[1] == 1 and len(performed) == 5


def test_an_error_keeps_what_is_finished(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def perform(job: Job) -> Outcome:
        if job.images[0].im_id == 2:
            raise DatasetError("broken")
        return {"records": [], "skipped": []}

    monkeypatch.setattr(workers, "perform", perform)
    for _ in range(2):
        with pytest.raises(DatasetError):
            do_jobs(jobs_of(data), HERE, Parts(tmp_path), unit="job")
    assert len(list((tmp_path / resume.FOLDER).iterdir())) == 2


def command(data: Path, out: Path, workers: int) -> list[str]:
    return ["evaluate", "registration", "--bop-dir", str(data), "--masks", "gt", "--out", str(out), "--workers",
            str(workers), *FAST]


def parts_in(out: Path) -> int:
    return len(list((out / resume.FOLDER).glob("[!.]*.json")))  # a file being written begins with a dot


@pytest.mark.parametrize(("workers", "signals"), [(2, signal.SIGINT), (2, signal.SIGKILL)])
def test_a_killed_run_continues(workers: int, signals: signal.Signals, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = command(data, out, workers)
    process = subprocess.Popen([sys.executable, "-m", "storm_core.cli.main", *arguments], cwd=ROOT, text=True,
                               stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while parts_in(out) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    if signals is signal.SIGINT:
        os.killpg(process.pid, signals)  # as the terminal does it: the workers get it too
    else:
        process.kill()
    _, message = process.communicate(timeout=30)
    kept = parts_in(out)
    assert 2 <= kept < COUNT and not (out / "results.json").exists()
    if signals is signal.SIGINT:
        assert process.returncode == 1
        line, = [line for line in message.splitlines() if "error" in line]
        assert f"of {COUNT} parts are kept" in line and "Traceback" not in message
    end = time.monotonic() + 10
    while _members(process.pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _members(process.pid), "no worker outlives the run"
    assert main([*arguments[:-len(FAST)], *FAST, "--workers", "1"]) == 0
    results = json.loads((out / "results.json").read_text())
    assert results["workers"]["parts_reused"] == kept and parts_in(out) == COUNT
    assert all(f["predicted"] == COUNT for f in results["objects"].values())


def _members(session: int) -> list[int]:
    """Processes of a session that still run (zombies do not)."""
    out = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended in the meantime
        if int(fields[3]) == session and fields[0] != "Z":
            out.append(int(stat.parent.name))
    return out
