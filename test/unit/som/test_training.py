"""Whole training runs, small: rendered and BOP data, resumption, two processes, overfitting, the command."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from storm_core.cli import main as cli
from storm_core.config import OnboardingConfig
from storm_core.errors import BackendError, ConfigError
from storm_core.types import Frame
from test.real_data import ROOT
from test.synthetic import bracket, pose, textured_box
from test.unit.som.small import DINO, LITE, dino_backbone, table_frame, torch

from storm_core.onboarding.views import render_views  # isort: skip
from storm_core.som.hsfa import checkpoint  # isort: skip
from storm_core.som.hsfa.network import seeded  # isort: skip
from storm_core.som.hsfa.settings import settings_from  # isort: skip
from storm_core.training.som.composites import CompositeSource, background  # isort: skip
from storm_core.training.som.distributed import Crew, join  # isort: skip
from storm_core.training.som.run import train  # isort: skip
from storm_core.training.som.samples import Samples, collate  # isort: skip
from storm_core.training.som.settings import read_settings  # isort: skip
from storm_core.training.som.source import BopSource  # isort: skip
from storm_core.training.som.synthetic import SyntheticSource, camera_of  # isort: skip

ALONE = Crew(0, 1, "cpu")
QUIET = {"augment.turn": 0.0, "augment.scale": 0.0, "augment.color": 0.0, "augment.blur": 0.0, "augment.erase": 0.0,
         "augment.lose_depth": 0.0}


class TableSource:
    """Eight pictures of two objects on a wall; nothing is read and little is rendered. See `Source`."""

    def __init__(self) -> None:
        self._models = {"t/box": textured_box(), "t/bracket": bracket()}
        self.keys = tuple(self._models)
        rng = np.random.default_rng(0)
        self._pictures = []
        self.shown = []
        for k in range(8):
            key = self.keys[k % 2]
            turn, place = rng.normal(0, 1, 3), (*rng.uniform(-0.08, 0.08, 2), rng.uniform(0.2, 0.3))
            frame, masks = table_frame(self._models[key], [pose(tuple(turn), place)])
            self._pictures.append((frame, {key: masks[0]}))
            self.shown.append(frozenset([key]))
        self.present = self.shown
        self._views = {key: render_views(model, 4, 64) for key, model in self._models.items()}

    def views(self, key: str):  # noqa: ANN201
        return self._views[key]

    def may_mirror(self, key: str) -> bool:
        return False

    def picture(self, index: int) -> tuple[Frame, dict]:
        return self._pictures[index]


@pytest.fixture(scope="module")
def source() -> TableSource:
    return TableSource()


def samples(source: TableSource, values: dict, network=LITE, training: bool = True) -> tuple:  # noqa: ANN001
    settings, _ = read_settings(None, {"batch": 2, "data.views": 2, "validate_every": 2, "data.val_samples": 4,
                                       "log_every": 1, "warmup": 0, **values})
    return settings, Samples([source], frozenset(source.keys), frozenset(), settings, network, training=training)


def weights(folder: Path, name: str = "last") -> dict:
    from safetensors.torch import load_file

    return load_file(folder / f"{name}.safetensors")


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[k], b[k]) for k in a) and a.keys() == b.keys()


def test_a_resumed_run_ends_with_the_same_weights(source: TableSource, tmp_path: Path) -> None:
    settings, data = samples(source, {"steps": 4})
    train(tmp_path / "whole", settings, LITE, data, data, ALONE)

    class StoppedError(Exception):
        pass

    def stop(done: int, latest: dict) -> None:
        if done == 3:  # one step after the last checkpoint, which is thrown away
            raise StoppedError

    with pytest.raises(StoppedError):
        train(tmp_path / "parts", settings, LITE, data, data, ALONE, progress=stop)
    outcome = train(tmp_path / "parts", settings, LITE, data, data, ALONE, resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    steps = [[json.loads(line)["step"] for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
             for run in ("whole", "parts")]
    assert steps[0] == steps[1] == [1, 2, 3, 4]
    assert 0 <= outcome.figures["val/iou"] <= 1 and outcome.figures["val/present"] + outcome.figures["val/absent"] == 4
    again = checkpoint.load(tmp_path / "parts" / "best.safetensors")
    assert again.settings == LITE


def test_an_interrupted_run_keeps_its_last_step(source: TableSource, tmp_path: Path) -> None:
    settings, data = samples(source, {"steps": 4, "validate_every": 100})

    def stop(done: int, latest: dict) -> None:
        if done == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    train(tmp_path / "whole", settings, LITE, data, data, ALONE)
    with pytest.raises(KeyboardInterrupt, match="step 2 kept in .*; go on with --resume"):
        train(tmp_path / "parts", settings, LITE, data, data, ALONE, progress=stop)
    assert train(tmp_path / "parts", settings, LITE, data, data, ALONE, resume=True).steps_now == 2
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_the_network_with_a_frozen_backbone_trains_in_bf16(source: TableSource, tmp_path: Path) -> None:
    settings, data = samples(source, {"steps": 2, "amp": "bf16"}, DINO)
    backbone = dino_backbone()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    train(tmp_path, settings, DINO, data, None, ALONE, backbone=backbone)
    assert same(before, dict(backbone.state_dict()))
    assert checkpoint.load(tmp_path / "last.safetensors", dino_backbone()).settings == DINO


@pytest.mark.slow
def test_eight_pictures_are_learned_by_heart_in_200_steps(source: TableSource) -> None:
    """The network, its losses and its gradients can express the task: IoU of 0.95 on what it was shown."""
    from storm_core.training.som.losses import iou_of, objective
    from storm_core.training.som.settings import LossSettings

    network_settings = settings_from({"preset": "lite", "input_px": 64, "dim": 64, "heads": 2, "cross_dim": 64,
                                      "mlp_dim": 128, "depth": 2, "iou_dim": 32, "lite_layers": 2})
    settings, data = samples(source, {**QUIET, "data.zoom": 0.0, "data.absent": 0.0, "data.views": 2},
                             network_settings, training=False)
    eight = {}
    for k in range(200):
        item = data[k]
        eight.setdefault(item["query"].numpy().tobytes(), item)
        if len(eight) == 8:
            break
    batch = collate(list(eight.values()))
    assert len(batch.query) == 8
    network = seeded(network_settings, 0).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.0)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1, (step + 1) / 20) * (1 if step < 140 else 0.2)
        masks = network(batch.query, batch.views)
        loss = objective(masks.logits, masks.iou, batch.target, LossSettings()).total
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    network.eval()
    with torch.no_grad():
        masks = network(batch.query, batch.views)
        iou = iou_of(masks.logits, batch.target)[:, 0]
    print("IoU of each picture:", iou.numpy().round(3))
    assert iou.mean() >= 0.95
    assert (masks.iou[:, 0] - iou).abs().max() < 0.15, "the predicted IoU must follow"


TWO = """
import sys, torch
torch.set_num_threads(1)
from pathlib import Path
from test.unit.som.test_training import TableSource, samples, LITE
from storm_core.training.som.distributed import join
from storm_core.training.som.run import train
settings, data = samples(TableSource(), {"steps": 1, "validate_every": 1})
crew = join("cpu")
assert crew.size == 2
train(Path(sys.argv[1]), settings, LITE, data, data, crew)
crew.leave()
"""


def test_two_processes_take_one_step_as_one_with_both_batches(source: TableSource, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME":
                        "lo", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    runs = [subprocess.Popen([sys.executable, "-c", TWO, str(tmp_path / "two")], env=env | {"RANK": str(rank)},
                             cwd=ROOT, stderr=subprocess.PIPE, text=True) for rank in range(2)]
    try:
        for run in runs:
            # Long, because a machine that is busy with something else must not fail this.
            _, errors = run.communicate(timeout=1200)
            assert run.returncode == 0, errors[-3000:]
    finally:
        for run in runs:
            run.kill()
    # Sample numbers go round the ranks: the two batches of two are the one batch of four.
    settings, data = samples(source, {"steps": 1, "validate_every": 1, "batch": 4})
    train(tmp_path / "one", settings, LITE, data, data, ALONE)
    two, one = weights(tmp_path / "two"), weights(tmp_path / "one")
    assert two.keys() == one.keys()
    changed = sum(float((one[k] - v).abs().sum()) for k, v in two.items())
    size = sum(float(v.abs().sum()) for v in one.values())
    # AdamW's first step is the sign of the gradient, so rounding can flip weights without one; few do.
    assert changed / size < 2e-3


def test_rendered_scenes_are_repeatable_and_their_masks_are_right(tmp_path: Path) -> None:
    onboarding = OnboardingConfig(cache=str(tmp_path), views=4, view_size=64)
    first, second = (SyntheticSource(4, 0, 160, onboarding) for _ in range(2))
    frame, masks = first.picture(3)
    again, _ = second.picture(3)
    assert (frame.rgb == again.rgb).all() and (frame.depth == again.depth).all()
    assert masks.keys() == first.present[3] and sum(m.astype(int) for m in masks.values()).max() <= 1
    assert any(m.any() for m in masks.values())
    others = SyntheticSource(4, 5000, 160, onboarding, prefix="validation")
    assert not set(first._seeds.values()) & set(others._seeds.values())


def test_pasted_pictures_are_repeatable_and_what_is_nearer_hides_the_rest(tmp_path: Path) -> None:
    onboarding = OnboardingConfig(cache=str(tmp_path), views=4)
    first, second = (CompositeSource(3, 0, 160, onboarding) for _ in range(2))
    assert first._seeds == SyntheticSource(3, 0, 160, onboarding)._seeds, "objects split alike in both kinds of data"
    for index in range(3):
        frame, masks = first.picture(index)
        again, _ = second.picture(index)
        assert (frame.rgb == again.rgb).all() and (frame.depth == again.depth).all()
        assert masks.keys() == first.present[index]
        assert sum(m.astype(int) for m in masks.values()).max() <= 1
    plain = background(camera_of(160), np.random.default_rng([0, 2, 3]))[1]
    _, masks = first.picture(2)
    seen = np.any(list(masks.values()), 0) & (frame.depth > 0)
    assert np.median((plain - frame.depth)[seen]) > 0.005, "objects stand before the background"


def test_neighbouring_samples_share_the_object_and_its_views(tmp_path: Path) -> None:
    source = CompositeSource(3, 0, 160, OnboardingConfig(cache=str(tmp_path), views=4))
    settings, _ = read_settings(None, {"data.views": 3, "data.queries": 4, "batch": 8, "data.absent": 0.3})
    data = Samples([source], frozenset(source.keys), frozenset(), settings, LITE, training=True)
    samples = [data[k] for k in range(8)]
    for group in (samples[:4], samples[4:]):
        assert all(torch.equal(s["views"], group[0]["views"]) for s in group)
        assert not torch.equal(group[0]["query"], group[1]["query"])
    together, apart = collate(samples, 4), collate(samples)
    assert together.views.shape[0] == 2 and apart.views.shape[0] == 8
    network = seeded(LITE, 0).eval()
    assert torch.allclose(network(together.query, together.views).logits, network(apart.query, apart.views).logits,
                          atol=1e-5)
    with pytest.raises(ConfigError, match="multiple of data.queries"):
        read_settings(None, {"data.queries": 5})


def test_samples_show_the_object_where_the_target_says(tmp_path: Path) -> None:
    source = SyntheticSource(3, 0, 160, OnboardingConfig(cache=str(tmp_path), views=4, view_size=64))
    settings, _ = read_settings(None, {"data.views": 6, "data.absent": 0.4})
    for training in (True, False):
        data = Samples([source], frozenset(source.keys), frozenset(), settings, LITE, training=training)
        batch = collate([data[k] for k in range(6)])
        assert batch.query.shape == (6, 8, 64, 64) and batch.views.shape == (6, 6, 8, 64, 64)
        assert batch.target.shape == (6, 1, 32, 32) and 0 <= batch.target.min() and batch.target.max() <= 1
        assert torch.equal(data[2]["query"], data[2]["query"]) and not torch.equal(data[2]["query"], data[3]["query"])


def bop_split(folder: Path) -> Path:
    """Two scenes' worth of pictures with one object each, in the form of BOP."""
    from storm_core.bop.view_folder import write_views
    from storm_core.simulation.objects import write_numbered_models

    models = {1: textured_box(), 2: bracket()}
    write_numbered_models(folder / "models", models, {})
    for number, model in models.items():
        write_views(folder / "train" / f"{number:06d}", render_views(model, 4, 64, ("studio",)), number)
    return folder / "train"


def test_the_command_trains_on_bop_data_resumes_and_refuses_to_overwrite(tmp_path: Path,
                                                                       capsys: pytest.CaptureFixture) -> None:
    split = bop_split(tmp_path / "tiny")
    source = BopSource(split, OnboardingConfig(cache=str(tmp_path / "c")), 0.1)
    assert source.keys == ("tiny/1", "tiny/2") and source.shown[0] == {"tiny/1"}
    assert source.picture(0)[1]["tiny/1"].any()
    small = [f"network.{k}={v}" for k, v in (("input_px", 64), ("dim", 32), ("heads", 2), ("cross_dim", 16),
                                              ("mlp_dim", 32), ("depth", 1), ("iou_dim", 8), ("lite_layers", 1))]
    command = ["train", "som", "--bop", str(split), "--steps", "2", "--out", str(tmp_path / "run"), "--cache",
               str(tmp_path / "c"), "--json", str(tmp_path / "r.json")]
    for value in (*small, "batch=2", "data.views=2", "data.val_objects=0.5", "data.val_samples=2"):
        command += ["--set", value]
    assert cli.main(command) == 0, capsys.readouterr().err
    results = json.loads((tmp_path / "r.json").read_text())
    assert results["objects"] == {"training": 1, "validation": 1} and results["steps"] == 2
    assert checkpoint.load(tmp_path / "run" / "best.safetensors").settings.dim == 32
    assert cli.main(command) == 1 and "--resume" in capsys.readouterr().err
    config = ["train", "som", "--config", str(tmp_path / "run" / "config.yaml"), "--out", str(tmp_path / "run"),
              "--cache", str(tmp_path / "c"), "--resume", "--steps", "3"]
    assert cli.main(config) == 0, capsys.readouterr().err
    run, files = tmp_path / "run", ("config.yaml", "results.json", "log.jsonl")
    before = {name: (run / name).read_text() for name in files}
    assert cli.main([*config, "--json", str(tmp_path / "again.json")]) == 0, "finished: nothing to do"
    assert "iou" in capsys.readouterr().out
    assert before["results.json"] == (run / "results.json").read_text() == (tmp_path / "again.json").read_text()
    assert cli.main([*config, "--set", "network.depth=2"]) == 1 and "another size" in capsys.readouterr().err
    assert before == {name: (run / name).read_text() for name in files}, "a refused run changes nothing"
    assert cli.main([*config, "--out", str(tmp_path / "x")]) == 1 and "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    assert cli.main(["train", "som", "--out", str(tmp_path / "x")]) == 1
    assert "--synthetic" in capsys.readouterr().err


def test_a_split_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["train", "som", "--bop", str(tmp_path / "nope"), "--out", str(tmp_path / "run")]) == 1
    assert f"{tmp_path / 'nope'} does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "text"), [("checkpoint.pt", "x"), ("config.yaml", "model: {}\ntraining: {}\n"),
                                            ("config.yaml", "{bad"), ("results.json", '{"command": "evaluate"}')])
def test_the_folder_of_another_training_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture, name: str,
                                                      text: str) -> None:
    (tmp_path / name).write_text(text)
    assert cli.main(["train", "som", "--synthetic", "2", "--out", str(tmp_path)]) == 1
    assert f"{tmp_path / name} is of another run" in capsys.readouterr().err
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, text)]


def test_alone_without_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join("cpu") == ALONE
    with pytest.raises(BackendError, match="device 'foo' is no device"):
        join("foo")
