"""The published pair verifier, on a tiny DINOv2 with random weights: it learns, goes on, and comes back from disk."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

WHY = "the pair model needs torch and transformers: make full"
torch = pytest.importorskip("torch", reason=WHY)
pytest.importorskip("transformers", reason=WHY)
pytest.importorskip("safetensors", reason=WHY)

from storm_core.cli.main import main  # noqa: E402
from storm_core.config import MonitorConfig  # noqa: E402
from storm_core.errors import ConfigError, DatasetError, WeightsError  # noqa: E402
from storm_core.monitor.monitor import EvidenceMonitor  # noqa: E402
from storm_core.monitor.pair_model import PairModel, load_pair  # noqa: E402
from storm_core.monitor.pair_settings import PairSettings  # noqa: E402
from storm_core.training.monitor_config import read_training  # noqa: E402
from storm_core.training.monitor_pairs import read_pairs, split_pairs  # noqa: E402
from storm_core.types import Track, Verdict  # noqa: E402
from test.synthetic import frame_of, pose, textured_box  # noqa: E402

torch.set_num_threads(1)
SIZE = 28


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a two-layer DINOv2."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("dino")
    Dinov2Model(Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=SIZE,
                             patch_size=14)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 reference pictures of one colour each; a live picture of nearly that colour, and one of another."""
    folder, rng, lines = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0), []
    for k in range(40):
        dark = k % 2
        for name, level in (("ref", dark), ("same", dark), ("other", 1 - dark)):
            pixels = np.clip(60 + 130 * level + rng.normal(0, 12, (20, 24, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{name}{k}.png"), pixels)
        lines += [json.dumps({"img1": f"ref{k}.png", "img2": f"{name}{k}.png", "label": label})
                  for name, label in (("same", 1), ("other", 0))]
    file = folder / "pairs.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return file


def options(backbone: Path, pairs: Path, out: Path, steps: int) -> list[str]:
    values = {"data.source": "pairs", "data.pairs": pairs, "data.size": SIZE, "data.val_share": 0.3,
              "pair.backbone": backbone, "pair.heads": 4, "pair.hidden": 32, "training.steps": steps,
              "training.save_every": 20, "training.warmup": 5, "training.batch": 16, "training.ema": 0.9,
              "training.learning_rate": 0.01, "training.out": out}
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


def test_it_learns_pairs_goes_on_where_it_stopped_and_is_evaluated_from_disk(
        backbone: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, report = tmp_path / "run", tmp_path / "train.json"
    assert main(["train", "monitor", *options(backbone, pairs, out, 20)]) == 0
    assert main(["train", "monitor", *options(backbone, pairs, out, 20)]) == 1  # holds a run already
    assert "--resume" in capsys.readouterr().err
    assert main(["train", "monitor", *options(backbone, pairs, out, 60), "--resume", "--json", str(report)]) == 0
    trained = json.loads(report.read_text())
    assert trained["steps_now"] == 40 and trained["validation"]["auroc"] > 0.95
    judged = tmp_path / "judged.json"
    assert main(["evaluate", "monitor", "--pairs-jsonl", str(pairs), "--checkpoint",
                 str(out / "monitor_pair.safetensors"), "--json", str(judged)]) == 0
    figures = json.loads(judged.read_text())["pairs"]
    assert figures["count"] == 80 and figures["auroc"] > 0.95 and figures["accuracy"] > 0.8
    assert figures["ms_per_pair"] > 0


def test_only_the_attention_is_trained(backbone: Path) -> None:
    from storm_core.monitor.pair_model import open_backbone

    model = PairModel(PairSettings(heads=4, hidden=32, tokens="patches"), open_backbone(backbone)).train()
    model(torch.rand(2, 3, SIZE, SIZE), torch.rand(2, 3, SIZE, SIZE)).sum().backward()
    grown = {name for name, p in model.named_parameters() if p.grad is not None}
    assert grown and not any(name.startswith("backbone.") for name in grown) and not model.backbone.training


def test_files_that_are_no_pairs_or_checkpoints_are_named(tmp_path: Path, pairs: Path, backbone: Path) -> None:
    for text, said in (("", "no pairs"), ('{"img1": "a.png"}', "line 1"), (
            '{"img1": "a", "img2": "b", "label": 2}', "label must be 0 or 1")):
        (tmp_path / "bad.jsonl").write_text(text)
        with pytest.raises(DatasetError, match=said):
            read_pairs(tmp_path / "bad.jsonl")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="cannot read"):
        load_pair(tmp_path / "bad.safetensors")
    with pytest.raises(DatasetError, match="both labels"):
        split_pairs([pair for pair in read_pairs(pairs) if pair.right], 0.3)
    with pytest.raises(ConfigError, match="data.pairs"):
        read_training(None, {"data.source": "pairs"})


def test_no_reference_picture_is_on_both_sides(pairs: Path) -> None:
    training, held_out = split_pairs(read_pairs(pairs), 0.3)
    assert not {pair.reference for pair in training} & {pair.reference for pair in held_out}
    assert len(training) + len(held_out) == 80


@pytest.fixture
def checkpoint(backbone: Path, tmp_path: Path) -> Path:
    from storm_core.monitor.pair_model import open_backbone, save_pair

    model = PairModel(PairSettings(backbone=str(backbone), heads=4, hidden=32), open_backbone(backbone))
    save_pair(tmp_path / "pair.safetensors", model, model.trained_state(), SIZE)
    return tmp_path / "pair.safetensors"


def test_a_checkpoint_comes_back_as_it_was(checkpoint: Path) -> None:
    one, two = load_pair(checkpoint)[0], load_pair(checkpoint)[0]
    pictures = torch.rand(2, 3, SIZE, SIZE), torch.rand(2, 3, SIZE, SIZE)
    torch.testing.assert_close(one(*pictures), two(*pictures))


def test_the_memory_holds_sixteen_crops_and_a_new_registration_clears_it(checkpoint: Path) -> None:
    from storm_core.monitor.pair_verifier import MEMORY, PairVerifier

    model, truth = textured_box(), pose((0.4, 0.3, 0.1), (0.01, 0.0, 0.55))
    frame, verifier = frame_of([(model, truth)]), PairVerifier(checkpoint)
    for _ in range(MEMORY + 3):
        verifier.similarity(frame, model, truth)
        verifier.remember(model.name)
    assert len(verifier._memory[model.name]) == MEMORY
    assert np.isfinite(verifier.similarity(frame, model, truth))
    verifier.reset(model.name)
    assert np.isnan(verifier.similarity(frame, model, truth))


def test_the_monitor_remembers_what_it_trusts_and_publishes_the_logit(checkpoint: Path) -> None:
    model, truth = textured_box(), pose((0.4, 0.3, 0.1), (0.01, 0.0, 0.55))
    frame = frame_of([(model, truth)], noise=0.001)
    monitor = EvidenceMonitor({model.name: model}, MonitorConfig(pair=str(checkpoint), learned=False))
    track = Track(object_name=model.name, stamp_ns=0, cam_from_obj=truth, covariance=np.eye(6) * 1e-6, innovation=0.0)
    first, second = monitor.judge(frame, track), monitor.judge(frame, track)
    assert first.verdict is Verdict.HEALTHY and first.probability > 0.9
    assert np.isnan(first.evidence.similarity) and np.isfinite(second.evidence.similarity)
