"""The score network: equivariance, one forward pass for NumPy and torch, weights on disk."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from storm_core.errors import WeightsError
from storm_core.geometry.pose import so3_exp
from storm_core.score_model.encoder import NetworkConfig, encode, repeated, turned_cloud
from storm_core.score_model.network import initial_parameters, score_and_error
from storm_core.score_model.schedule import Schedule
from storm_core.score_model.weights import ScoreWeights, load_weights, save_weights

CONFIG = NetworkConfig(object_axes=True)
PARAMS = {k: 3 * v if k.startswith("gate2") else v for k, v in initial_parameters(CONFIG, seed=3).items()}
COUNT = 6


def inputs(seed: int = 0) -> dict[str, np.ndarray]:
    """Random clouds with unit normals, centres, rays, axes, levels and widths."""
    rng = np.random.default_rng(seed)

    def unit(*shape: int) -> np.ndarray:
        x = rng.normal(size=shape)
        return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)

    level = rng.random(COUNT).astype(np.float32)
    return {
        "scene": rng.normal(0, 0.2, (COUNT, CONFIG.scene_points, 3)).astype(np.float32),
        "scene_normals": unit(COUNT, CONFIG.scene_points, 3),
        "obj": rng.normal(0, 0.2, (COUNT, CONFIG.points, 3)).astype(np.float32),
        "obj_normals": unit(COUNT, CONFIG.points, 3), "centers": rng.normal(0, 0.1, (COUNT, 3)).astype(np.float32),
        "rays": unit(COUNT, 3), "axes": so3_exp(rng.normal(size=(COUNT, 3))).astype(np.float32), "level": level,
        "widths": Schedule().widths(level).astype(np.float32)}


def answer(x: dict, params: dict = PARAMS) -> tuple:
    scene = encode(params, CONFIG, x["scene"], x["scene_normals"])
    obj = encode(params, CONFIG, x["obj"], x["obj_normals"])
    return score_and_error(params, CONFIG, scene, obj, x["centers"], x["rays"], x["axes"], x["level"], x["widths"])


@pytest.mark.parametrize("seed", range(4))
def test_turning_the_scene_turns_the_score(seed: int) -> None:
    x = inputs(seed)
    turn = so3_exp(np.random.default_rng(100 + seed).normal(size=3) * 2).astype(np.float32)
    turned = {k: v @ turn.T if k in ("scene", "scene_normals", "obj", "obj_normals", "centers", "rays") else v
              for k, v in x.items()} | {"axes": turn @ x["axes"]}
    score, error = answer(x)
    turned_score, turned_error = answer(turned)
    wanted = np.concatenate([score[:, :3] @ turn.T, score[:, 3:] @ turn.T], 1)
    assert np.abs(score).max() > 0.05
    np.testing.assert_allclose(turned_score, wanted, atol=1e-4)
    np.testing.assert_allclose(turned_error, error, atol=1e-4)


def test_a_shifted_scene_with_a_shifted_object_has_the_same_score() -> None:
    x = inputs()
    moved = x | {"scene": x["scene"] + np.float32(0.3), "centers": x["centers"] + np.float32(0.3)}
    np.testing.assert_allclose(answer(moved)[0], answer(x)[0], atol=1e-4)


def test_a_turned_latent_is_the_latent_of_the_turned_cloud() -> None:
    x = inputs()
    turns = so3_exp(np.random.default_rng(1).normal(size=(COUNT, 3))).astype(np.float32)
    back = np.swapaxes(turns, 1, 2)
    carried = turned_cloud(encode(PARAMS, CONFIG, x["obj"], x["obj_normals"]), turns)
    anew = encode(PARAMS, CONFIG, x["obj"] @ back, x["obj_normals"] @ back)
    for name in ("points", "latent", "descriptors", "mean"):
        np.testing.assert_allclose(getattr(carried, name), getattr(anew, name), atol=1e-4)


def test_one_encoded_scene_serves_all_particles() -> None:
    x = inputs()
    one = encode(PARAMS, CONFIG, x["scene"][:1], x["scene_normals"][:1])
    many = repeated(one, COUNT)
    assert many.points.shape[0] == COUNT
    np.testing.assert_array_equal(many.latent[COUNT - 1], one.latent[0])


def test_numpy_and_torch_give_the_same_answer() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed; `make full` installs it")
    x = inputs()
    params = {k: torch.tensor(v) for k, v in PARAMS.items()}
    score, error = answer({k: torch.tensor(v) for k, v in x.items()}, params)
    np.testing.assert_allclose(score.numpy(), answer(x)[0], atol=1e-4)
    np.testing.assert_allclose(error.numpy(), answer(x)[1], atol=1e-4)


def weights() -> ScoreWeights:
    return ScoreWeights(PARAMS, CONFIG, Schedule(turn_low=0.03), {"steps": 5})


def test_weights_survive_the_disk(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.npz", weights())
    again = load_weights(tmp_path / "w.npz")
    assert again.network == CONFIG and again.schedule == Schedule(turn_low=0.03) and again.facts == {"steps": 5}
    assert len(again.sha256) == 64
    for name, value in PARAMS.items():
        np.testing.assert_array_equal(again.params[name], value)


def test_bad_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.npz.*storm train score"):
        load_weights(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(WeightsError, match=r"text\.npz"):
        load_weights(tmp_path / "text.npz")
    cut = {k: v for k, v in PARAMS.items() if k != "trunk1"}
    save_weights(tmp_path / "cut.npz", replace(weights(), params=cut))
    with pytest.raises(WeightsError, match="trunk1 has shape None"):
        load_weights(tmp_path / "cut.npz")
    head = {"version": 1, "network": asdict(CONFIG), "schedule": {}, "facts": {}}
    for wrong, message in (({"network": {"channels": "32"}}, "channels is '32'"), ({"facts": None}, "facts")):
        kept = {name: value for name, value in (head | wrong).items() if value is not None}
        np.savez(tmp_path / "head.npz", __head__=np.array(json.dumps(kept)), **PARAMS)
        with pytest.raises(WeightsError, match=message):
            load_weights(tmp_path / "head.npz")
