"""The workflow of the original system, command for command, on a small BOP dataset: train, sample, load, tabulate."""

import json
from pathlib import Path

import numpy as np
import pytest

from storm_core.cli.main import main
from storm_core.score_model.encoder import NetworkConfig
from storm_core.score_model.network import initial_parameters
from storm_core.score_model.results import load_results, results_as_df
from storm_core.score_model.schedule import Schedule
from storm_core.score_model.weights import ScoreWeights, save_weights
from test.unit.evaluation_runs.tiny_dataset import write_dataset

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


def test_sampling_needs_no_torch_and_repeats(dataset: Path, untrained: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert refine(dataset, untrained, "--masks", "disturbed", "--images", 1, "--out", tmp_path / f"{name}.npy") == 0
    a, b = (load_results(tmp_path / f"{name}.npy") for name in ("a", "b"))
    assert len(a) == 4
    np.testing.assert_array_equal(a[0]["sampled_poses"], b[0]["sampled_poses"])


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
    assert main(["refine", str(dataset), "--masks", "gt", "--out", str(tmp_path / "a.npy")]) == 1
    assert "score_model.method=network" in capsys.readouterr().err
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
