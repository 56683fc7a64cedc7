"""Training of the refiner and the scorer: data, labels, checkpoints, the commands."""

import json
import os
import signal
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storm_core.cli.main import main
from storm_core.errors import ConfigError, WeightsError
from storm_core.geometry.pose import angle_between, so3_exp
from storm_core.render_compare.crops import crops_of
from storm_core.render_compare.forward import PairForward
from storm_core.render_compare.motion import motion_between, moved
from storm_core.render_compare.weights import load_pair_weights
from storm_core.training.arguments import arguments_yaml
from storm_core.training.refiner_batches import FIRST_VALIDATION, Batches, PairBatch
from storm_core.training.refiner_config import RefinerTraining, read_refiner_training
from storm_core.training.refiner_figures import refiner_figures, scorer_figures
from storm_core.training.refiner_scenes import colored_object, random_rgbd_view

SMALL = {"model.width": 4, "model.blocks": 1, "model.heads": 2, "model.crop": 24, "data.objects": 4,
         "data.validation": 2, "training.views": 2, "training.hypotheses": 3, "training.steps": 4,
         "training.save_every": 2, "training.decay": 1, "training.warmup": 1}


def small(**more: Any) -> RefinerTraining:
    return read_refiner_training(None, SMALL | more)


def test_views_are_seeded_and_show_their_object() -> None:
    one, again = (random_rgbd_view("train", 4, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one.rgb, again.rgb)
    np.testing.assert_array_equal(one.depth, again.depth)
    assert one.rgb.std() > 5 and one.depth.dtype == np.float32
    config = small()
    rendered, seen = crops_of(one.rgb, one.depth, one.camera.vector, one.model, one.cam_from_obj[None], 32,
                              config.model.scaling)[0]
    both = (np.abs(rendered[3:]).sum(0) > 0) & (np.abs(seen[3:]).sum(0) > 0)
    assert np.median(np.abs(rendered[3:] - seen[3:])[:, both]) < 0.1


def test_training_and_validation_objects_differ() -> None:
    hashes = {colored_object(split, k).sha256 for split in ("train", "val") for k in range(4)}
    assert len(hashes) == 8


def test_batches_are_the_same_whenever_they_are_made() -> None:
    for scorer in (False, True):
        a, b, c = (Batches(small(), scorer).batch(n) for n in (5, 5, FIRST_VALIDATION + 5))
        for name in (f.name for f in fields(PairBatch)):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert not np.array_equal(a.pairs, c.pairs)


def test_labels_lead_to_poses_that_look_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moving the hypotheses by their labels gives renders of the truth, up to declared symmetries."""
    from storm_core.training import refiner_batches

    seen = []
    real = refiner_batches.crops_of

    def spy(rgb, depth, camera, model, poses, side, scaling):  # noqa: ANN001, ANN202, PLR0913
        seen.append((model, poses))
        return real(rgb, depth, camera, model, poses, side, scaling)

    monkeypatch.setattr(refiner_batches, "crops_of", spy)
    batch = Batches(small()).batch(1)
    rng = np.random.default_rng([small().training.seed, 1])
    first = random_rgbd_view("train", 4, rng)
    model, poses = seen[0]
    assert model.sha256 == first.model.sha256
    reached = moved(poses, model.center, batch.shift[:3].astype(float) * model.diameter / 2, so3_exp(batch.turn[:3]))
    alike = first.cam_from_obj @ model.symmetries
    for pose in reached:
        shift, _ = motion_between(pose[None], first.cam_from_obj[None], model.center)
        assert np.linalg.norm(shift) < 1e-4 and angle_between(alike, pose).min() < 1e-3


def test_figures_of_a_perfect_and_of_a_useless_network() -> None:
    rng = np.random.default_rng(0)
    shift, turn = rng.normal(0, 0.1, (30, 3)), rng.normal(0, 0.3, (30, 3))
    perfect = refiner_figures(shift, turn, shift, turn)
    useless = refiner_figures(0 * shift, 0 * turn, shift, turn)
    assert perfect["shift_after"] == 0 and perfect["turn_15_45_after"] < 1e-5 and perfect["halved_15_45"] == 1
    assert useless["shift_after"] == useless["shift_before"] and useless["halved_15_45"] == 0
    error = rng.random((5, 4))
    assert scorer_figures(-error, error)["ordered"] == 1 and scorer_figures(error, error)["ordered"] == 0


@pytest.mark.parametrize("kind", ["refiner", "scorer"])
def test_a_run_in_two_slices_gives_the_same_weights(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs torch")
    from storm_core.training.refiner import train

    whole = train(small(**{"training.out": str(tmp_path / "a"), "training.amp": False}), kind, progress=False)
    half = {"training.out": str(tmp_path / "b"), "training.amp": False}
    config = small(**half)
    # The rate depends on the number of steps in all, so the first slice ends by time, right after its first step.
    first = train(small(**half, **{"training.minutes": 1e-9}), kind, progress=False)
    assert 0 < first.step < 4
    with pytest.raises(ConfigError, match="holds a run already"):
        train(config, kind, progress=False)
    second = train(config, kind, resume=True, progress=False)
    assert whole.step == second.step == 4 and second.steps_now == 4 - first.step
    a, b = (load_pair_weights(outcome.weights, kind) for outcome in (whole, second))
    assert all(np.allclose(a.tensors[k], b.tensors[k], atol=1e-5) for k in a.tensors)
    PairForward(a)  # the weights fit the network without torch
    other = small(**half, **{"model.blocks": 2})
    with pytest.raises(ConfigError, match="of another network"):
        train(other, kind, resume=True, progress=False)
    (tmp_path / "b" / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="damaged"):
        train(config, kind, resume=True, progress=False)


def test_an_interrupted_run_keeps_its_last_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="training needs torch")
    from storm_core.training.refiner import State

    learn = State.learn

    def interrupted(state: State, *given: Any) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        return learn(state, *given)

    monkeypatch.setattr(State, "learn", interrupted)
    given = [f"--set={k}={v}" for k, v in (SMALL | {"training.out": tmp_path / "run"}).items()]
    assert main(["train", "refiner", *given]) == 1
    assert "step 1 kept" in capsys.readouterr().err
    assert load_pair_weights(tmp_path / "run" / "weights.safetensors", "refiner").facts["steps"] == 1


def test_the_folder_of_another_training_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="training needs torch")
    (tmp_path / "state.pt").write_bytes(b"x")
    given = [f"--set={k}={v}" for k, v in (SMALL | {"training.out": tmp_path}).items()]
    assert main(["train", "refiner", *given]) == 1
    assert "state.pt is of another run than `storm train refiner`" in capsys.readouterr().err
    assert [f.name for f in tmp_path.iterdir()] == ["state.pt"]


def test_all_views_validate(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="training needs torch")
    from storm_core.training.refiner import State

    config = small(**{"data.validation": 3})
    made, batch = [], Batches.batch
    monkeypatch.setattr(Batches, "batch", lambda source, number: made.append(number) or batch(source, number))
    State(config, "refiner").validate(Batches(config))
    assert made == [FIRST_VALIDATION, FIRST_VALIDATION + 1], "views come in batches of 2"


def test_a_scorer_may_start_from_the_trunk_of_a_refiner(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs torch")
    from storm_core.training.refiner import State, _started, train

    refiner = train(small(**{"training.out": str(tmp_path / "a"), "training.steps": 1}), "refiner", progress=False)
    init = {"training.init": str(refiner.weights), "training.out": str(tmp_path / "b")}
    state: State = _started(small(**init), "scorer", tmp_path / "b", resume=False)
    given = load_pair_weights(refiner.weights, "refiner").tensors["encodeAB.0.conv1.weight"]
    assert np.array_equal(state.network.state_dict()["encoderAB.0.conv1.weight"].numpy(), given)
    with pytest.raises(ConfigError, match="make them equal"):
        _started(small(**init, **{"model.width": 8}), "scorer", tmp_path / "b", resume=False)


def test_the_command_trains_and_writes_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="training needs torch")
    given = [f"--set={k}={v}" for k, v in (SMALL | {"training.steps": 1, "training.out": tmp_path / "run"}).items()]
    assert main(["train", "refiner", *given, "--json", str(tmp_path / "out.json")]) == 0
    assert "step 1 of 1" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text())["validation"]["loss"] > 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines[0]["step"] == 1 and "val/loss" in lines[-1]
    assert main(["train", "refiner", "--set", "training.device=tpu"]) == 1
    assert "training.device must be cpu or cuda" in capsys.readouterr().err


def test_the_shipped_recipes_can_be_read_and_written() -> None:
    root = Path(__file__).resolve().parents[3] / "config" / "refiner"
    shapes = set()
    for kind in ("refiner", "scorer"):
        config = read_refiner_training(root / f"{kind}.yaml")
        shapes.add(config.model.shape)
        assert "crop_ratio" in arguments_yaml(config)
    assert len(shapes) == 1, "a scorer starts from the refiner's trunk"
