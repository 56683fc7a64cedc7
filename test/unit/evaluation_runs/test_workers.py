"""Who does the jobs makes no difference to the poses: this process, local processes, a Dask cluster."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from storm_core.cli.main import main
from storm_core.errors import DatasetError, SetupError
from storm_core.evaluation import workers
from storm_core.evaluation.jobs import Job, Outcome
from storm_core.evaluation.resume import Parts
from storm_core.evaluation.workers import Crew, do_jobs
from test.unit.evaluation_runs.tiny_dataset import FAST, write_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("workers") / "data", scenes=2, images=1)


def evaluate(data: Path, out: Path, *options: str) -> dict:
    assert main(["evaluate", "registration", "--bop-dir", str(data), "--masks", "gt", "--out", str(out),
                 *FAST, *options]) == 0
    return json.loads((out / "results.json").read_text())


def poses_in(out: Path) -> np.ndarray:
    rows = [line.split(",") for line in (out / "poses.csv").read_text().splitlines()[1:]]
    return np.array([[float(v) for v in f"{r[4]} {r[5]}".split()] for r in sorted(rows, key=lambda r: r[:3])])


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("alone")
    return out, evaluate(data, out, "--workers", "1")


def test_two_processes_find_the_same_poses(data: Path, alone: tuple[Path, dict], tmp_path: Path) -> None:
    results = evaluate(data, tmp_path, "--workers", "2")
    assert results["workers"]["count"] == 2 and results["workers"]["threads_of_parts"] == {"1": 2}
    assert len(poses_in(tmp_path)) == 4 and np.allclose(poses_in(tmp_path), poses_in(alone[0]), atol=1e-3)
    for name, figures in results["objects"].items():
        assert figures["add_auc"] > 0.98 and figures["predicted"] == alone[1]["objects"][name]["predicted"] == 2


def test_a_dask_cluster_finds_the_same_poses(data: Path, alone: tuple[Path, dict], tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="the fleet extra is not installed")
    with distributed.LocalCluster(n_workers=2, processes=True, threads_per_worker=1, dashboard_address=None) as cluster:
        results = evaluate(data, tmp_path, "--dask", cluster.scheduler_address)
        assert results["workers"]["kind"] == "dask" and results["workers"]["parts_reused"] == 0
        assert len(poses_in(tmp_path)) == 4 and np.allclose(poses_in(tmp_path), poses_in(alone[0]), atol=1e-3)
        again = evaluate(data, tmp_path, "--dask", cluster.scheduler_address)
        assert again["workers"]["parts_reused"] == again["workers"]["parts"] == 2
        # What a job raises on a worker reaches the caller as what it is.
        with pytest.raises(DatasetError, match="same path"):
            do_jobs([_job("/nowhere")], Crew(workers=1, dask=cluster.scheduler_address), Parts(tmp_path), unit="job")


def _job(folder: str) -> Job:
    from storm_core.evaluation.images import ImageFiles

    image = ImageFiles(scene_id=1, im_id=1, stamp_ns=0, folder=folder, rgb="", depth="", camera=None)
    return Job(kind="registration", images=(image,), queries=(), config={}, models={})


def test_dask_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SetupError, match=r"pip install 'storm_ros\[fleet\]'"):
        do_jobs([_job(str(tmp_path))], Crew(workers=1, dask="tcp://127.0.0.1:1"), Parts(tmp_path), unit="job")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x", "no address at all"])
def test_a_cluster_out_of_reach_is_named_soon(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="the fleet extra is not installed")
    monkeypatch.setattr(workers, "CONNECT_S", 1)
    begin = time.monotonic()
    with pytest.raises(SetupError, match="no Dask scheduler answers at"):
        do_jobs([_job(str(tmp_path))], Crew(workers=1, dask=address), Parts(tmp_path), unit="job")
    assert time.monotonic() - begin < 8
    assert workers.CONNECT_S == 1


def test_a_cluster_without_workers_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="the fleet extra is not installed")
    monkeypatch.setattr(workers, "CONNECT_S", 1)
    with (distributed.LocalCluster(n_workers=0, processes=True, dashboard_address=None) as cluster,
          pytest.raises(SetupError, match="has no workers")):
        do_jobs([_job(str(tmp_path))], Crew(workers=1, dask=cluster.scheduler_address), Parts(tmp_path), unit="job")


def _die(job: Job) -> Outcome:
    import os

    os._exit(9)


def test_a_worker_that_dies_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(workers, "perform_on_one_core", _die)
    with pytest.raises(SetupError, match="lack of memory"):
        do_jobs([_job(str(tmp_path)), _job(str(tmp_path / "b"))], Crew(workers=2), Parts(tmp_path), unit="job")


def test_an_error_of_a_job_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="same path"):
        do_jobs([_job("/nowhere"), _job("/nowhere/else")], Crew(workers=2), Parts(tmp_path), unit="job")
