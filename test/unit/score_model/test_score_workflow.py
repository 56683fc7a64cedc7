"""The workflow of the original system, command for command, on a small BOP dataset: train, sample, load, tabulate."""

import json
from pathlib import Path

import numpy as np
import pytest

from storm_core.bop.results import PoseEstimate, write_csv
from storm_core.cli.main import main
from storm_core.score_model.encoder import NetworkConfig
from storm_core.score_model.network import initial_parameters
from storm_core.score_model.results import load_results, results_as_df
from storm_core.score_model.schedule import Schedule
from storm_core.score_model.weights import ScoreWeights, save_weights
from test.unit.evaluation_runs.tiny_dataset import placed, write_dataset

ORIGINAL_RULES = {"random", "score", "latent", "oracle"}
NETWORK = NetworkConfig(channels=8, hidden=16, heads=1, points=32, scene_points=32)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two blocks of three images of objects 1 and 2; images 0 and 1 train, image 2 tests."""
    root = write_dataset(tmp_path_factory.mktemp("bop") / "tiny", images=3)
    for block in (root / "test").iterdir():
        (block / "train_idxs.txt").write_text("0\n1\n")
        (block / "test_idxs.txt").write_text("2\n")
    return root


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "untrained.npz"
    save_weights(file, ScoreWeights(initial_parameters(NETWORK), NETWORK, Schedule(), {}))
    return file


def refine(dataset: Path, weights: Path, *more: object) -> int:
    return main(["refine", str(dataset), "--set", "score_model.method=network", "--set",
                 f"score_model.weights={weights}", "--set", "score_model.particles=6", "--set", "score_model.steps=4",
                 *map(str, more)])


def test_train_sample_load_tabulate(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch is not installed; `make full` installs it")
    config = tmp_path / "train_config_example.yaml"
    config.write_text(f"""
model: {{channels: 8, hidden: 16, heads: 1, points: 32, scene_points: 32, object_axes: true}}
data: {{source: bop, path: {dataset}, object_ids: ['2'], validation: 2}}
training: {{steps: 3, views: 2, draws: 2, save_every: 3, out: {tmp_path / 'run'}}}
""")
    assert main(["train", "score", "--config", str(config), "--json", str(tmp_path / "t.json")]) == 0
    assert json.loads((tmp_path / "t.json").read_text())["step"] == 3
    out = tmp_path / "results.npy"
    assert refine(dataset, tmp_path / "run" / "weights.npz", "--objects", 2, "--masks", "gt", "--split", "test",
                  "--out", out, "--plots", tmp_path / "plots", "--set", "score_model.render_interval=2") == 0
    results = np.load(out, allow_pickle=True).item()
    first = results["records"][0]
    assert first["sampled_poses"].shape == (6, 4, 4) and first["pose_history"].shape == (5, 6, 4, 4)
    assert first["score_history"].shape == (4, 6, 6)
    assert first["scene_latent"].shape == (3, 8) and first["object_latents"].shape == (6, 3, 8)
    poses = results_as_df(results)
    assert set(poses.selection) >= ORIGINAL_RULES | {"fitness", "learned", "combined"}
    assert set(poses.image) == {"1/2", "2/2"} and set(poses.object) == {"2"}
    best = poses.groupby("image").error_mm.min()
    assert (poses[poses.selection == "oracle"].set_index("image").error_mm == best).all()
    assert len(list((tmp_path / "plots").glob("*_evolution.png"))) == 2
    assert len(list((tmp_path / "plots").glob("*_selected.png"))) == 2
    assert "oracle" in capsys.readouterr().out


@pytest.mark.slow
def test_the_documented_session_runs_on_a_dataset_that_storm_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                   ) -> None:
    """docs/score-model.md, command for command: make a small dataset, train on one object, sample, load, tabulate."""
    pytest.importorskip("torch", reason="torch is not installed; `make full` installs it")
    configs = Path("config/score").resolve()
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", "benchmark", "--suite", "tracking", "--split", "train", "--strata", "baseline", "--count",
                 "1", "--frames", "6", "--small", "--workers", "1", "--out", "bop_data/lm"]) == 0
    block = Path("bop_data/lm/train/000001")
    (block / "train_idxs.txt").write_text("0\n1\n2\n3\n")
    (block / "test_idxs.txt").write_text("4\n5\n")
    data = ["--set", "data.path=bop_data/lm/train", "--set", "data.blocks=['000001']", "--set", "data.object_ids=['1']"]
    small = ["--set", "training.steps=2", "--set", "training.views=2", "--set", "data.validation=2"]
    assert main(["train", "score", "--config", str(configs / "one_object.yaml"), *data, *small]) == 0
    assert main(["refine", "bop_data/lm/train", "--config", str(configs / "inference.yaml"), "--objects", "1",
                 "--masks", "gt", "--split", "test", "--out", "results.npy", "--plots", "plots", "--set",
                 "score_model.steps=3"]) == 0
    table = results_as_df(np.load("results.npy", allow_pickle=True).item())
    assert set(table.image) == {"1/4", "1/5"} and set(table.selection) >= ORIGINAL_RULES
    assert len(list(Path("plots").glob("*.png"))) == 4


def test_sampling_needs_no_torch_and_repeats(dataset: Path, untrained: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert refine(dataset, untrained, "--masks", "disturbed", "--images", 1, "--out", tmp_path / f"{name}.npy") == 0
    a, b = (load_results(tmp_path / f"{name}.npy") for name in ("a", "b"))
    assert len(a) == 4
    np.testing.assert_array_equal(a[0]["sampled_poses"], b[0]["sampled_poses"])


def test_without_a_network_masks_are_enough_too(dataset: Path, tmp_path: Path) -> None:
    """Viewpoint hypotheses and the depth image's own score: no weights, no torch."""
    assert main(["refine", str(dataset), "--masks", "gt", "--images", "0", "--scene", "1", "--out",
                 str(tmp_path / "a.npy"), "--set", "onboarding.rotations=160"]) == 0
    records = load_results(tmp_path / "a.npy")
    assert [r["object"] for r in records] == ["1", "2"]
    for record in records:
        particles = len(record["sampled_poses"])
        assert record["pose_history"].shape == (3, particles, 4, 4)
        assert record["score_history"].shape == (2, particles, 6)
        assert record["weights"].sum() == pytest.approx(1)
    table = results_as_df(records)
    assert set(table.selection) == {"random", "score", "fitness", "explained", "oracle"}
    assert table[table.selection == "explained"].error_mm.max() < 5.0


@pytest.mark.parametrize("sampler", ["langevin", "predictor_corrector"])
@pytest.mark.parametrize("polish", ["none", "svd"])
def test_samplers_and_polish(dataset: Path, untrained: Path, tmp_path: Path, sampler: str, polish: str) -> None:
    assert refine(dataset, untrained, "--masks", "gt", "--images", 1, "--scene", 1, "--objects", 2, "--out",
                  tmp_path / "a.npy", "--set", f"score_model.sampler={sampler}", "--set",
                  f"score_model.polish={polish}") == 0
    poses = load_results(tmp_path / "a.npy")[0]["sampled_poses"]
    turns = poses[:, :3, :3]
    np.testing.assert_allclose(turns @ np.swapaxes(turns, 1, 2), np.broadcast_to(np.eye(3), turns.shape), atol=1e-9)


def test_wrong_requests_are_named(dataset: Path, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                  ) -> None:
    out = ("--out", tmp_path / "a.npy")
    assert refine(dataset, untrained, "--split", "test", *out) == 1
    assert "--masks" in capsys.readouterr().err
    assert refine(dataset, tmp_path / "none.npz", "--masks", "gt", *out) == 1
    assert "none.npz" in capsys.readouterr().err
    assert refine(dataset, untrained, "--masks", "gt", *out, "--set", "score_model.sampler=walk") == 1
    assert "score_model.sampler must be one of ode, langevin" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_evaluation_counts_every_target(dataset: Path, untrained: Path, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / "test" / "000001" / "mask_visib" / "000000_000001.png").rename(tmp_path / "kept.png")
    arguments = ["evaluate", "score", "--bop-dir", str(dataset), "--set", f"score_model.weights={untrained}", "--set",
                 "score_model.particles=4", "--steps", "2", "5", "--scene", "1", "--json", str(tmp_path / "r.json")]
    try:
        assert main(arguments) == 1
        assert "000000_000001.png is missing" in capsys.readouterr().err
    finally:
        (tmp_path / "kept.png").rename(dataset / "test" / "000001" / "mask_visib" / "000000_000001.png")
    assert main([*arguments, "--masks", "gt", "disturbed", "--plot", str(tmp_path / "steps.png")]) == 0
    results = json.loads((tmp_path / "r.json").read_text())
    for masks in ("gt", "disturbed"):
        for steps in ("2", "5"):
            part = results["score"][masks][steps]
            assert part["targets"] == 6 and set(part["objects"]) == {"1", "2"}
            assert all(part["recall"]["oracle"] >= value for value in part["recall"].values())
    assert (tmp_path / "steps.png").stat().st_size > 1000
    assert "of oracle" in capsys.readouterr().out


def test_refinement_of_registrations_is_compared_with_none(dataset: Path, tmp_path: Path,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    guesses = [PoseEstimate(scene_id=1, im_id=i, obj_id=2, score=1.0, cam_from_obj=shifted(placed(1, i)[2]))
               for i in range(2)]
    write_csv(tmp_path / "poses.csv", guesses)
    assert main(["evaluate", "refinement", "--bop-dir", str(dataset), "--scene", "1", "--objects", "2", "--init",
                 str(tmp_path / "poses.csv"), "--json", str(tmp_path / "r.json")]) == 0
    figures = json.loads((tmp_path / "r.json").read_text())["refinement"]
    assert (figures["targets"], figures["registered"]) == (3, 2)
    assert figures["success"]["before"] == figures["success"]["after"] == pytest.approx(2 / 3), "the third has no pose"
    assert figures["shift_mm"]["before"] == pytest.approx(6.0, abs=0.01)
    assert figures["shift_mm"]["after"] < 2.0 and figures["shift_mm"]["difference"] < -4.0
    assert figures["modes_agree"] == {"targets": 2, "share": 1.0}
    assert "3 targets, 2 registered, 2 moved" in capsys.readouterr().out


def shifted(pose: np.ndarray) -> np.ndarray:
    """6 mm away from the camera."""
    out = pose.copy()
    out[2, 3] += 0.006
    return out
