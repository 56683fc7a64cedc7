"""Confidence intervals hold what they promise; differences between runs are told from chance."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storm_core.cli.main import main
from storm_core.errors import DatasetError, InputError
from storm_core.metrics.bootstrap import (
    block_resamples,
    interval,
    quantile_samples,
    ratio_samples,
    share_interval,
)
from storm_core.metrics.scores import quantile
from storm_core.report.compare import ALL, BETTER, SAME, UNKNOWN, WORSE, Run, compare_runs, read_run
from storm_core.report.evaluate import frame_rows
from storm_core.report.frame_table import FrameTable, read_frame_table, write_frame_table
from storm_core.report.results import results_head, to_json
from test.unit.evaluation.runs import BOX, assessed, noisy, path, published, truth_of

N = 200
PATH = path(N)


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 99))
def test_resamples_hold_as_many_frames_as_the_run_in_whole_blocks(frames: int, block: int, seed: int) -> None:
    drawn = block_resamples(frames, seed=seed, resamples=50, block=block)
    index = drawn.indices(slice(0, 50))
    assert index.shape == (50, frames) and drawn.lengths.sum() == frames
    inside = np.ones(frames - 1, bool)
    inside[np.cumsum(drawn.lengths)[:-1] - 1] = False
    assert ((np.diff(index, axis=1) % frames == 1 % frames) | ~inside).all()
    values = np.random.default_rng(seed).normal(size=frames)
    assert drawn.sums(values) == pytest.approx(values[index].sum(1)), "sums by block equal sums by frame"
    assert quantile_samples(drawn, values, 0.5) == pytest.approx([quantile(values[i], 0.5) for i in index])


def test_quantiles_leave_out_nan_and_keep_inf() -> None:
    drawn = block_resamples(4, seed=0, resamples=20, block=4)
    assert (quantile_samples(drawn, np.array([np.nan, 1.0, np.inf, np.inf]), 0.5) == np.inf).all()
    assert (quantile_samples(drawn, np.array([np.nan, 1.0, 2.0, np.inf]), 0.5) == 2.0).all()
    assert np.isnan(quantile_samples(drawn, np.full(4, np.nan), 0.5)).all()


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_intervals_cover_the_truth_as_often_as_they_say(correlation: float) -> None:
    """AR(1) series of mean 0: neighbouring frames alike, as errors of a tracker are."""
    rng = np.random.default_rng(0)
    n, trials, covered, single = 900, 300, 0, 0
    for trial in range(trials):
        noise = rng.normal(size=n)
        series = np.empty(n)
        series[0] = noise[0] / np.sqrt(1 - correlation**2)
        for k in range(1, n):
            series[k] = correlation * series[k - 1] + noise[k]
        for block, hits in ((None, "covered"), (1, "single")):
            drawn = block_resamples(n, seed=trial, resamples=400, block=block)
            low, high = interval(ratio_samples(drawn, series, np.ones(n))) or (1.0, -1.0)
            covered += hits == "covered" and low <= 0 <= high
            single += hits == "single" and low <= 0 <= high
    assert 0.90 <= covered / trials <= 0.98
    if correlation:
        assert single / trials < 0.65, "drawing single frames promises far too much"


def test_intervals_of_quantiles_cover_the_truth() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        drawn = block_resamples(300, seed=trial, resamples=300)
        low, high = interval(quantile_samples(drawn, rng.exponential(size=300), 0.5)) or (1.0, -1.0)
        covered += low <= np.log(2) <= high
    assert 0.88 <= covered / 200 <= 0.98


def test_what_never_happened_may_still_happen() -> None:
    none, often = np.zeros(100), np.linspace(0.2, 0.4, 100)
    assert share_interval(none, 10) == (0.0, pytest.approx(1 - 0.025 ** 0.1))
    assert share_interval(1 + none, 10) == (pytest.approx(0.025 ** 0.1), 1.0)
    assert share_interval(often, 10) == interval(often) == (0.2 + 2 * 0.2 / 99, pytest.approx(0.4 - 2 * 0.2 / 99))
    assert interval(np.full(10, np.nan)) is None


def run_of(name: str, metres: float, *, sha: str = "a", missing: int = 0, ms: float = 10.0, seed: int = 0,
           frames: int = N) -> Run:
    """A run whose poses are off by that much; `missing` of them, evenly spread, are missing."""
    gone = set(np.linspace(0, frames - 1, missing).round().astype(int).tolist())
    poses = [None if k in gone else p for k, p in enumerate(noisy(PATH[:frames], seed, metres))]
    times = ms * np.random.default_rng(seed).uniform(0.9, 1.1, frames)
    a = assessed(published(poses, ms=times), truth_of(PATH[:frames]))
    assert a.errors is not None
    rows = frame_rows(a.errors, times, BOX.diameter)
    return Run(path=Path(name), sha256=sha, command="replay", version="1",
               table=FrameTable(ids=tuple((0, k) for k in range(frames)), rows={"box": rows}))


def verdicts(a: Run, b: Run, **more: object) -> dict[str, str]:
    return {d.figure: d.verdict for d in compare_runs(a, b, seed=0, **more)}  # type: ignore[arg-type]


def test_better_worse_and_chance() -> None:
    a, same, worse = run_of("a", 0.002), run_of("b", 0.002, seed=1), run_of("c", 0.003, seed=2, missing=20, ms=20.0)
    found = verdicts(a, same)
    assert found["add_auc"] == found["mssd_mm_p50"] == found["coverage"] == SAME
    found = verdicts(a, worse)
    assert found["add_auc"] == found["mssd_mm_p50"] == found["coverage"] == found["ms_p50"] == WORSE
    back = verdicts(worse, a)
    assert back["add_auc"] == back["mssd_mm_p50"] == back["coverage"] == back["ms_p50"] == BETTER
    assert set(verdicts(a, a).values()) == {SAME}


def test_pairing_sees_small_steady_differences() -> None:
    """Errors that swing together between hard and easy frames hide a steady difference unless frames are paired."""
    rng = np.random.default_rng(0)
    hard = 0.01 + 0.008 * np.sin(np.arange(N) / 9.0) + rng.normal(0, 2e-4, N)
    base = run_of("a", 0.002)
    a = replace(base, table=replace(base.table, rows={"box": replace(base.table.rows["box"], add_m=hard)}))
    b = replace(a, table=replace(a.table, rows={"box": replace(a.table.rows["box"], add_m=hard + 4e-4)}))
    assert verdicts(a, b)["add_auc"] == WORSE
    assert verdicts(a, replace(b, sha256="other"), different_inputs=True)["add_auc"] == SAME
    rounded = replace(a, table=replace(a.table, rows={"box": replace(a.table.rows["box"], add_m=hard + 1e-8)}))
    assert verdicts(a, rounded)["add_auc"] == SAME, "the rounding of a file is no difference"


def test_false_alarms_are_rare() -> None:
    wrong = sum(verdicts(run_of("a", 0.002, seed=2 * k), run_of("b", 0.002, seed=2 * k + 1))["add_auc"] != SAME
                for k in range(30))
    assert wrong <= 5, "5 % are expected"


def test_what_cannot_be_compared_is_refused() -> None:
    a = run_of("a", 0.002)
    with pytest.raises(InputError, match="--different-inputs"):
        compare_runs(a, run_of("b", 0.002, sha="b"), seed=0)
    with pytest.raises(InputError, match="--max-frames"):
        compare_runs(a, run_of("b", 0.002, frames=150), seed=0)
    other = replace(a, table=replace(a.table, rows={"cup": a.table.rows["box"]}))
    with pytest.raises(InputError, match="no object in common"):
        compare_runs(a, other, seed=0)
    unequal = compare_runs(a, run_of("b", 0.002, sha="b", frames=150), seed=0, different_inputs=True)
    assert {d.verdict for d in unequal} <= {SAME, BETTER, WORSE}


def test_runs_without_poses_or_times_are_not_measured_or_lose() -> None:
    a, never = run_of("a", 0.002), run_of("b", 0.002, missing=N)
    found = verdicts(a, never)
    assert found["add_auc"] == found["coverage"] == found["mssd_mm_p50"] == WORSE
    rows = replace(a.table.rows["box"], latency_ms=np.full(N, np.nan))
    untimed = replace(a, table=replace(a.table, rows={"box": rows}))
    assert verdicts(a, untimed)["ms_p50"] == UNKNOWN


def test_several_objects_are_compared_together_too() -> None:
    a, b = run_of("a", 0.002), run_of("b", 0.003, seed=1)
    two = [replace(r, table=replace(r.table, rows={"box": r.table.rows["box"], "cup": r.table.rows["box"]}))
           for r in (a, b)]
    found = compare_runs(*two, seed=0)
    assert {d.object_name for d in found} == {"box", "cup", ALL}
    values = {d.object_name: d.b for d in found if d.figure == "add_auc"}
    assert values[ALL] == pytest.approx(values["box"])


def write(folder: Path, metres: float, seed: int, sha: str = "abc") -> Path:
    folder.mkdir()
    poses = list(noisy(PATH, seed, metres))
    outputs = published([None, *poses[1:]], probability=0.7)
    a = assessed(outputs, truth_of(PATH))
    write_frame_table(folder / "errors.csv", [(0, k) for k in range(N)], outputs, {"box": a}, {"box": BOX})
    (folder / "results.json").write_text(to_json(results_head("replay", "1", path="x", sha256=sha, frames=N, seed=0)))
    return folder


def test_errors_csv_reads_back_to_the_last_bit(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", 0.002, 0)
    rows = read_frame_table(folder / "errors.csv").rows["box"]
    poses = [None, *list(noisy(PATH, 0, 0.002))[1:]]
    errors = assessed(published(poses), truth_of(PATH)).errors
    assert errors is not None and rows.add_m[0] == np.inf and not rows.trusted[0]
    for key in ("add_m", "adds_m", "mssd_m", "trusted", "visible", "accurate", "judged"):
        assert np.array_equal(getattr(rows, key), getattr(errors, key)), key
    assert (rows.latency_ms == 10.0).all() and rows.diameter_m == BOX.diameter


def test_compare_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write(tmp_path / "a", 0.002, 0), write(tmp_path / "b", 0.004, 1)
    other = write(tmp_path / "other", 0.002, 2, sha="other")
    assert main(["evaluate", "compare", str(a), str(b), "--json", str(tmp_path / "c.json")]) == 0
    out = capsys.readouterr().out
    assert "paired frames" in out and "worse" in out and "not distinguishable" in out
    comparison = json.loads((tmp_path / "c.json").read_text())["comparison"]
    auc = next(d for d in comparison["runs"][0]["differences"] if d["figure"] == "add_auc")
    assert auc["verdict"] == WORSE and auc["ci95"][0] <= auc["difference"] <= auc["ci95"][1] < 0
    assert auc["difference"] == pytest.approx(auc["b"] - auc["a"]) and comparison["resamples"] == 2000
    assert main(["evaluate", "compare", str(a), str(other)]) == 1
    assert "--different-inputs" in capsys.readouterr().err
    assert main(["evaluate", "compare", str(a), str(other), "--different-inputs"]) == 0
    assert "not paired" in capsys.readouterr().out
    assert main(["evaluate", "compare", str(a)]) == 1 and main(["evaluate", "compare", str(a), str(tmp_path)]) == 1
    assert "no results folder" in capsys.readouterr().err


def test_damaged_tables_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", 0.002, 0)
    file = folder / "errors.csv"
    text = file.read_text()
    file.write_text(text.replace("add_m", "bdd_m"))
    with pytest.raises(DatasetError, match="no column add_m"):
        read_run(folder)
    file.write_text(text.splitlines()[0] + "\n")
    with pytest.raises(DatasetError, match="no rows"):
        read_run(folder)
    lines = text.splitlines()
    for damaged in (lines[5].rpartition(",")[0], lines[5].replace("TRACKING,1", "TRACKING,x"), lines[5][:9]):
        file.write_text("\n".join([*lines[:5], damaged, *lines[6:]]))
        with pytest.raises(DatasetError, match=r"errors\.csv"):
            read_run(folder)
    file.unlink()
    with pytest.raises(DatasetError, match="make the run again"):
        read_run(folder)
