"""Figures by stratum: every scene weighs the same, a missing pose is neither right nor wrong."""

import numpy as np
import pytest

from storm_core.evaluation.strata import find_benchmark, stratum_figures
from storm_core.report.pose_table import JudgedTargets
from storm_core.simulation.benchmark import Benchmark, BenchmarkScene, save_benchmark

DIAMETER = 0.1


def scene(number: int, stratum: str) -> BenchmarkScene:
    return BenchmarkScene(
        scene=number, stratum=stratum, tags={"occlusion": stratum}, seed=(number,), target=1, present=True,
        labels={"a": 1}, events=(), frames=1, rate_hz=30.0, sensor="ideal", visible=(1.0, 1.0),
        folder=f"test/{number:06d}", bag=None)


@pytest.fixture
def benchmark() -> Benchmark:
    scenes = [scene(1, "baseline"), scene(2, "baseline"), scene(3, "occlusion=40"), scene(4, "light=dim")]
    return Benchmark(name="registration-v1", suite="registration", version=1, split="test", seed=0, camera={},
                     objects={}, scenes={s.scene: s for s in scenes})


def judged(rows: list[tuple[int, float]]) -> JudgedTargets:
    """rows: (scene, MSSD [m]); inf = no pose."""
    error = np.array([mssd for _, mssd in rows])
    return JudgedTargets(places=tuple((number, k) for k, (number, _) in enumerate(rows)),
                         score=np.where(np.isfinite(error), 1.0, np.nan), add_m=error, adds_m=error, mssd_m=error,
                         mspd_px=error, proj_px=error, vsd=error)


def test_scenes_weigh_the_same_and_a_missing_pose_is_a_failure_but_not_wrong(benchmark: Benchmark) -> None:
    # Scene 1: one of four right, one wrong, two missing; scene 2: its only one right; scene 3: between right and wrong.
    rows = [(1, 0.001), (1, 0.05), (1, np.inf), (1, np.inf), (2, 0.009), (3, 0.015)]
    figures = stratum_figures(benchmark, {1: judged(rows)}, {1: DIAMETER})
    assert list(figures) == ["baseline", "occlusion=40"], "a scene without targets has no figures"
    assert figures["baseline"]["right"] == {"mean": pytest.approx((0.25 + 1) / 2), "scenes": 2, "missing": 0}
    assert figures["baseline"]["wrong"]["mean"] == pytest.approx(0.25 / 2)
    assert figures["baseline"]["found"]["mean"] == pytest.approx((0.5 + 1) / 2)
    assert {key: f["mean"] for key, f in figures["occlusion=40"].items()} == {"found": 1, "right": 0, "wrong": 0}


def test_objects_of_a_scene_are_taken_together(benchmark: Benchmark) -> None:
    figures = stratum_figures(benchmark, {1: judged([(4, 0.001)]), 2: judged([(4, np.inf)])}, {1: DIAMETER, 2: 1.0})
    assert figures["light=dim"]["right"]["mean"] == 0.5


def test_a_benchmark_is_found_from_its_parts_and_other_datasets_have_none(benchmark: Benchmark, tmp_path) -> None:
    part = tmp_path / "bench" / "test" / "000001"
    part.mkdir(parents=True)
    assert find_benchmark(part) is None
    save_benchmark(tmp_path / "bench", benchmark)
    for folder in (part, part.parent, tmp_path / "bench"):
        found = find_benchmark(folder)
        assert found is not None and found.scenes == benchmark.scenes
