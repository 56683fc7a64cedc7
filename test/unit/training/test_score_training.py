"""Training of the score network: data, loss, checkpoints."""

import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import cv2
import numpy as np
import pytest

from storm_core.errors import BackendError, ConfigError, DatasetError, WeightsError
from storm_core.geometry.pose import angle_between
from storm_core.models import packages
from storm_core.score_model.weights import load_weights
from storm_core.training.arguments import arguments_yaml
from storm_core.training.logs import open_logs
from storm_core.training.score_bop import BopSource, blocks_of
from storm_core.training.score_config import ScoreTraining, read_training
from storm_core.training.score_scenes import random_view, training_object
from storm_core.training.score_source import FIRST_VALIDATION, Synthetic
from test.unit.evaluation_runs.tiny_dataset import write_dataset

SMALL = {"model.channels": 8, "model.hidden": 16, "model.heads": 1, "model.points": 24, "model.scene_points": 24,
         "data.objects": 4, "data.validation": 4, "training.views": 4, "training.draws": 4, "training.steps": 4,
         "training.save_every": 2, "training.decay": 1, "training.warmup": 1}


def small(**more: Any) -> ScoreTraining:
    return read_training(None, SMALL | more)


def test_views_are_seeded_and_show_their_object() -> None:
    one, again = (random_view("train", 4, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one.depth, again.depth)
    center = one.cam_from_obj[:3, :3] @ one.model.center + one.cam_from_obj[:3, 3]
    seen = one.depth[one.true_mask & (one.depth > 0)]
    assert abs(np.median(seen) - center[2]) < one.model.diameter


def test_training_and_validation_objects_differ() -> None:
    hashes = {training_object(split, k).sha256 for split in ("train", "val") for k in range(6)}
    assert len(hashes) == 12


def test_batches_are_the_same_whenever_they_are_made() -> None:
    a, b = Synthetic(small()).batch(5), Synthetic(small()).batch(5)
    np.testing.assert_array_equal(a.obj, b.obj)
    np.testing.assert_array_equal(a.target, b.target)
    assert not np.array_equal(a.target, Synthetic(small()).batch(6).target)
    assert not np.array_equal(a.scene, Synthetic(small()).batch(FIRST_VALIDATION + 5).scene)


def test_targets_are_the_noise_that_was_added() -> None:
    """The centre that target and width lead back to is the same for all draws of a view; so is the rotation at low
    levels, where the score of the Gaussian on SO(3) is the turn back over its variance."""
    config = small(**{"training.draws": 8})
    batch = Synthetic(config).batch(0)
    k = config.training.draws
    for view in range(config.training.views):
        part = slice(k * view, k * view + k)
        centers = batch.centers[part] + batch.target[part, :3] * batch.widths[part, :1]
        np.testing.assert_allclose(centers, np.broadcast_to(centers[0], centers.shape), atol=1e-4)
        low = np.flatnonzero(batch.widths[part, 1] < 0.3)
        back = batch.target[part, 3:] * batch.widths[part, 1:]
        from storm_core.geometry.pose import so3_exp

        turns = so3_exp(back[low].astype(float)) @ batch.axes[part][low]
        assert angle_between(turns[0], turns).max() < 0.03


@pytest.mark.parametrize(("values", "message"), [
    ({"training.stepz": 3}, "unknown parameter training.stepz; did you mean training.steps"),
    ({"data.source": "video"}, "data.source must be synthetic or bop, got 'video'"),
    ({"data.source": "bop"}, "data.path is empty"), ({"training.views": 0}, r"training.views = 0 is outside"),
    ({"training.device": "tpu"}, "training.device must be cpu or cuda, got 'tpu'"),
    ({"training.device": "cpu:0"}, "training.device must be cpu or cuda, got 'cpu:0'"),
    ({"data.object_ids": ["1", "abc"]}, "data.object_ids holds 'abc'")])
def test_wrong_values_are_named(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_training(None, values)


def test_the_config_survives_yaml(tmp_path: Path) -> None:
    config = small(**{"data.blocks": ["000001"]})
    (tmp_path / "c.yaml").write_text(arguments_yaml(config))
    assert read_training(tmp_path / "c.yaml") == config


def test_offline_logging_without_wandb_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match="wandb"):
        open_logs(tmp_path / "run", "offline", {}, 0, "test")


def test_the_log_goes_to_a_file_and_on_from_the_step_that_was_kept(tmp_path: Path) -> None:
    for first, steps in ((0, (1, 2, 3)), (2, (3,))):
        with open_logs(tmp_path / "run", "disabled", {}, first, "test") as log:
            for step in steps:
                log.write(step, {"train/loss": 1.25 + first})
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines == [{"step": k, "train/loss": 1.25 if k < 3 else 3.25} for k in (1, 2, 3)]


@pytest.fixture
def block(tmp_path: Path) -> Path:
    """The only block of a dataset: images 0 to 2 with objects 1 and 2 each."""
    return write_dataset(tmp_path / "tiny", images=3, scenes=1) / "test" / "000001"


def bop(block: Path, **more: Any) -> ScoreTraining:
    return small(**{"data.source": "bop", "data.path": str(block.parents[1]), **more})


@pytest.mark.parametrize(("train", "test", "learned", "held_out"), [
    (None, None, {0, 1, 2}, set()), ("0 1", None, {0, 1}, {2}), (None, "2", {0, 1}, {2}), ("0 1", "1", {0}, {1}),
    ("0 1 2", None, {0, 1, 2}, set()), (None, "77", {0, 1, 2}, set())])
def test_no_image_both_trains_and_validates(block: Path, train: str | None, test: str | None, learned: set[int],
                                            held_out: set[int]) -> None:
    for split, text in (("train", train), ("test", test)):
        if text is not None:
            (block / f"{split}_idxs.txt").write_text(text)
    source = BopSource(bop(block))
    assert [{i.im_id for i in part} for part in source._parts] == [learned, held_out]
    assert source.validation == 2 * len(held_out)


def test_a_list_that_is_no_text_is_named(block: Path) -> None:
    (block / "train_idxs.txt").write_bytes("0\n".encode("utf-16"))
    with pytest.raises(DatasetError, match="train_idxs.txt cannot be read as text"):
        BopSource(bop(block)).batch(0)


def test_of_several_splits_a_person_chooses(block: Path) -> None:
    root = block.parents[1]
    shutil.copytree(root / "test", root / "train")
    with pytest.raises(DatasetError, match=rf"several splits: test, train; choose .* data.path={root}/train"):
        BopSource(bop(block)).batch(0)
    assert blocks_of(root / "train", ()) == [root / "train" / "000001"]


def test_masks_of_another_size_than_depth_are_named(block: Path) -> None:
    for file in (block / "mask_visib").iterdir():
        mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(file), mask[::2, ::2])
    with pytest.raises(DatasetError, match=r"mask_visib/00000\d_00000\d.png is \d+x\d+, the depth image \d+x\d+"):
        BopSource(bop(block)).batch(0)


def test_every_run_has_a_wandb_id_of_its_own_and_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: object())
    wandb = Mock()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    for folder, step in (("a/run:1", 0), ("b/run:1", 0), ("a/run:1", 5)):
        open_logs(tmp_path / folder, "offline", {}, step, "test").close()
    given = [call.kwargs for call in wandb.init.call_args_list]
    assert given[0]["id"] == given[2]["id"] != given[1]["id"] and given[0]["id"].isalnum()
    assert {g["name"] for g in given} == {"run:1"}


def test_a_cut_line_of_the_log_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1, "train/loss": 1.0}\n{"step": 2, "tra')
    with open_logs(tmp_path, "disabled", {}, 2, "test") as log:
        log.write(3, {})
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [1, 3]


class TestWithTorch:
    """What needs torch."""

    @pytest.fixture(autouse=True)
    def _torch(self) -> None:
        self.torch = pytest.importorskip("torch", reason="torch is not installed; `make full` installs it")
        self.torch.set_num_threads(1)

    def test_steps_on_one_batch_reduce_its_loss(self) -> None:
        from storm_core.score_model.network import initial_parameters
        from storm_core.training.score import State

        config = small()
        state = State(self.torch, config, initial_parameters(config.model.network))
        batch = Synthetic(config).batch(0)
        losses = [state.learn(batch, 5e-3)["loss"] for _ in range(40)]
        assert np.mean(losses[-5:]) < 0.8 * losses[0]

    def test_a_run_in_slices_is_the_run_in_one(self, tmp_path: Path) -> None:
        from storm_core.training.score import train

        whole = small(**{"training.out": str(tmp_path / "whole")})
        train(whole, progress=False)
        sliced = replace(whole, training=replace(whole.training, out=str(tmp_path / "sliced")))
        half = replace(sliced, training=replace(sliced.training, minutes=1e-6))
        first = train(half, progress=False)
        assert first.step == 1
        second = train(sliced, resume=True, progress=False)
        assert (second.step, second.steps_now) == (4, 3)
        a, b = (load_weights(tmp_path / name / "weights.npz") for name in ("whole", "sliced"))
        for name, value in a.params.items():
            np.testing.assert_allclose(b.params[name], value, atol=1e-6, err_msg=name)
        assert a.facts["steps"] == 4 and a.facts["views"] == 16

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_an_interrupted_run_keeps_its_last_step(self, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                    ) -> None:
        from storm_core.training.score import State, train

        config = small(**{"training.out": str(tmp_path / "run"), "training.save_every": 100})
        learn, before = State.learn, signal.getsignal(number)

        def interrupted(state: State, *given: Any) -> dict[str, float]:
            if state.step == 1:
                os.kill(os.getpid(), number)
            return learn(state, *given)

        monkeypatch.setattr(State, "learn", interrupted)
        with pytest.raises(KeyboardInterrupt, match="step 2 kept in .*; go on with --resume"):
            train(config, progress=False)
        assert signal.getsignal(number) is before
        assert load_weights(tmp_path / "run" / "weights.npz").facts["steps"] == 2
        outcome = train(config, resume=True, progress=False)
        assert (outcome.step, outcome.steps_now) == (4, 2)

    def test_the_folder_of_another_training_is_left_alone(self, tmp_path: Path) -> None:
        from storm_core.training.score import train

        (tmp_path / "config.yaml").write_text("rate: 0.1\n")
        with pytest.raises(ConfigError, match="config.yaml is of another run than `storm train score`"):
            train(small(**{"training.out": str(tmp_path)}), progress=False)
        assert (tmp_path / "config.yaml").read_text() == "rate: 0.1\n"

    def test_all_views_validate(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from storm_core.score_model.network import initial_parameters
        from storm_core.training.score import State

        config = small(**{"data.validation": 5})
        made, batch = [], Synthetic.batch
        monkeypatch.setattr(Synthetic, "batch", lambda source, number: made.append(number) or batch(source, number))
        state = State(self.torch, config, initial_parameters(config.model.network))
        state.validate(Synthetic(config), config.training)
        assert made == [FIRST_VALIDATION, FIRST_VALIDATION + 1], "views come in batches of 4"

    def test_without_other_images_there_is_a_warning_and_no_validation(
            self, block: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        from storm_core.training.score import train

        config = bop(block, **{"training.out": str(tmp_path / "run"), "training.steps": 1})
        assert train(config, progress=False).validation == {}
        assert "no validation figures" in caplog.text and "test_idxs.txt" in caplog.text
        assert "val/" not in (tmp_path / "run" / "log.jsonl").read_text()

    def test_other_processes_make_the_same_batches(self, tmp_path: Path) -> None:
        from storm_core.training.score import train

        outcomes = []
        for workers in (0, 1):
            config = small(**{"training.out": str(tmp_path / str(workers)), "training.workers": workers,
                              "training.steps": 2})
            outcomes.append(train(config, progress=False).validation["loss"])
        assert outcomes[0] == pytest.approx(outcomes[1], rel=1e-5)

    def test_folders_with_runs_are_not_overwritten(self, tmp_path: Path) -> None:
        from storm_core.training.score import train

        config = small(**{"training.out": str(tmp_path / "run"), "training.steps": 1})
        with pytest.raises(ConfigError, match="there is no checkpoint"):
            train(config, resume=True, progress=False)
        train(config, progress=False)
        with pytest.raises(ConfigError, match="--resume"):
            train(config, progress=False)
        other = replace(config, model=replace(config.model, channels=12))
        with pytest.raises(ConfigError, match="another network"):
            train(other, resume=True, progress=False)
        reseeded = replace(config, training=replace(config.training, seed=1))
        with pytest.raises(ConfigError, match="training.seed=0, not 1"):
            train(reseeded, resume=True, progress=False)

    @pytest.mark.parametrize("content", [b"damaged", b"a text file\n", {"step": 1}, [1, 2], "params"])
    def test_damaged_checkpoints_are_named(self, content: Any, tmp_path: Path) -> None:
        from storm_core.training.score import train

        config = small(**{"training.out": str(tmp_path / "run"), "training.steps": 1})
        train(config, progress=False)
        file = tmp_path / "run" / "checkpoint.pt"
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            kept = self.torch.load(file, weights_only=True)
            self.torch.save(kept | {content: {}} if isinstance(content, str) else content, file)
        with pytest.raises(WeightsError, match="checkpoint.pt is damaged"):
            train(config, resume=True, progress=False)

    def test_fine_tuning_starts_at_given_weights(self, tmp_path: Path) -> None:
        from storm_core.training.score import train

        base = small(**{"training.out": str(tmp_path / "base"), "training.steps": 2})
        train(base, progress=False)
        tuned = small(**{"training.out": str(tmp_path / "tuned"), "training.steps": 1, "training.learning_rate": 1e-7,
                         "training.init": str(tmp_path / "base" / "weights.npz")})
        train(tuned, progress=False)
        a, b = (load_weights(tmp_path / name / "weights.npz").params["trunk1"] for name in ("base", "tuned"))
        np.testing.assert_allclose(a, b, atol=1e-4)
        wider = replace(tuned, model=replace(tuned.model, channels=12),
                        training=replace(tuned.training, out=str(tmp_path / "wider")))
        with pytest.raises(ConfigError, match="training.init"):
            train(wider, progress=False)
