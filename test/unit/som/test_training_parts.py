"""Parts of the training: losses with gradients, honest augmentation, disjoint objects, settings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from storm_core.errors import BackendError, ConfigError
from storm_core.geometry.chirality import achiral
from storm_core.training.som.settings import AugmentSettings, LossSettings, TrainSettings, read_settings
from storm_core.training.som.split import pictures_for, split_objects
from test.real_data import ROOT
from test.synthetic import model_of, pose, textured_box
from test.unit.som.small import table_frame, torch

from storm_core.som.hsfa.settings import FULL  # isort: skip
from storm_core.training.som.augment import augmented, mirrored, rolled  # isort: skip
from storm_core.training.moving_average import MovingAverage  # isort: skip
from storm_core.training.logs import FileLog, open_logs  # isort: skip
from storm_core.training.som.losses import focal, iou_of, objective, tversky  # isort: skip
from storm_core.training.som.run import rate_at  # isort: skip


def blob(shift: float = 0.0) -> "torch.Tensor":
    """(1, 1, 16, 16) logits of a soft disc, moved by `shift` px."""
    v, u = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    return (5 - ((u - 8 - shift) ** 2 + (v - 8) ** 2).sqrt())[None, None]


TARGET = (blob() > 0).float()


@pytest.mark.parametrize("loss", [focal, lambda x, t: tversky(x, t, 0.5, 0.5), lambda x, t: tversky(x, t, 0.7, 0.3)])
def test_each_mask_loss_has_a_gradient_that_leads_to_the_object(loss) -> None:  # noqa: ANN001
    logits = blob(shift=6).requires_grad_()
    before = loss(logits, TARGET).sum()
    before.backward()
    assert logits.grad.isfinite().all() and logits.grad.abs().sum() > 0
    missed, wrong = (TARGET > 0) & (logits < 0), (TARGET == 0) & (logits > 0)
    assert (logits.grad[missed] < 0).all() and (logits.grad[wrong] > 0).all()
    assert loss((logits - 5 * logits.grad / logits.grad.abs().max()).detach(), TARGET).sum() < before


def test_losses_agree_with_their_formulas() -> None:
    p = torch.tensor([0.9, 0.2, 0.6, 0.1])
    logits, target = p.logit().view(1, 1, 2, 2), torch.tensor([1.0, 0, 1, 0]).view(1, 1, 2, 2)
    hit, fn, fp = 1.5, 0.1 + 0.4, 0.2 + 0.1
    assert float(tversky(logits, target, 0.7, 0.3)) == pytest.approx(1 - (hit + 1) / (hit + 0.7 * fn + 0.3 * fp + 1))
    by_hand = [0.25 * 0.1**2 * -np.log(0.9), 0.75 * 0.2**2 * -np.log(0.8), 0.25 * 0.4**2 * -np.log(0.6),
               0.75 * 0.1**2 * -np.log(0.9)]
    assert float(focal(logits, target)) == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_the_iou_head_is_taught_and_does_not_teach_the_mask() -> None:
    logits, predicted = blob(shift=3).requires_grad_(), torch.tensor([[0.9]], requires_grad=True)
    truth = float(iou_of(logits, TARGET))
    only_iou = LossSettings(focal=0.0, dice=0.0, tversky=0.0, iou=1.0)
    losses = objective(logits, predicted, TARGET, only_iou)
    losses.total.backward()
    assert float(losses.iou.detach()) == pytest.approx((0.9 - truth) ** 2, rel=1e-5)
    assert float(predicted.grad) == pytest.approx(2 * (0.9 - truth), rel=1e-5)
    assert not logits.grad.any()


def test_an_absent_object_asks_for_an_empty_mask_and_no_confidence() -> None:
    logits, predicted = blob().requires_grad_(), torch.tensor([[0.5]], requires_grad=True)
    losses = objective(logits, predicted, torch.zeros(1, 1, 16, 16), LossSettings())
    losses.total.backward()
    assert (logits.grad[logits > 0] > 0).all() and predicted.grad > 0
    assert float(iou_of(logits, torch.zeros(1, 1, 16, 16))) == 0


def test_of_several_masks_the_best_is_taught_and_all_learn_their_iou() -> None:
    logits = torch.cat([blob(1), blob(6)], 1).requires_grad_()
    predicted = torch.full((1, 2), 0.5, requires_grad=True)
    objective(logits, predicted, TARGET, LossSettings()).total.backward()
    assert logits.grad[0, 0].any() and not logits.grad[0, 1].any() and predicted.grad.all()


def test_the_average_follows_and_starts_fast() -> None:
    average = MovingAverage({"a": torch.zeros(2)}, 0.99)
    average.update({"a": torch.ones(2)})
    assert average.state["a"][0] > 0.5
    for _ in range(2000):
        average.update({"a": torch.ones(2)})
    np.testing.assert_allclose(average.state["a"], 1, atol=1e-3)


def test_the_rate_warms_up_and_falls() -> None:
    settings = TrainSettings(steps=100, warmup=10, rate=1.0, last_rate=0.01)
    rates = [rate_at(k, settings) for k in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[10] == 1.0 and rates[-1] < 0.02
    assert all(a >= b for a, b in zip(rates[10:], rates[11:], strict=False))


def test_a_roll_keeps_points_in_space() -> None:
    """Depth, intrinsics and mask belong together after the roll: the box has the same points, turned about the axis."""
    model = textured_box()
    frame, masks = table_frame(model, [pose((0.3, 0.4, 0.1), (0.05, 0.02, 0.6))])
    turned, mask = rolled(frame, masks[0], 90.0)
    assert abs(int(mask.sum()) - int(masks[0].sum())) < 0.02 * masks[0].sum()

    def middle(f, m) -> np.ndarray:  # noqa: ANN001
        rows, columns = np.nonzero(m)
        return f.camera.back_project(np.stack([columns, rows], -1), f.depth[rows, columns]).mean(0)

    before, after = middle(frame, masks[0]), middle(turned, mask)
    # A positive angle of OpenCV turns counter-clockwise as seen: x right -> y up.
    np.testing.assert_allclose(after, [before[1], -before[0], before[2]], atol=1e-3)


def test_only_objects_that_equal_their_mirror_image_are_mirrored() -> None:
    plain = trimesh.creation.box(extents=(0.1, 0.06, 0.04)).subdivide_to_size(0.01)
    assert achiral(model_of(plain, "plain", None))
    printed = textured_box()
    assert not achiral(printed), "every side has another picture"
    # A quarter of a spiral staircase exists in two hands.
    steps = trimesh.util.concatenate([trimesh.creation.box(extents=(0.06, 0.02, 0.012), transform=(
        trimesh.transformations.rotation_matrix(0.5 * k, (0, 0, 1)) @ trimesh.transformations.translation_matrix(
            (0.04, 0, 0.012 * k)))) for k in range(6)])
    assert not achiral(model_of(steps.subdivide_to_size(0.01), "stairs", None))
    frame, masks = table_frame(printed, [pose((0.3, 0.4, 0.1), (0.05, 0.02, 0.6))])
    quiet = AugmentSettings(turn=0.0, color=0.0, blur=0.0, erase=0.0, lose_depth=0.0)
    for k in range(20):
        same, mask = augmented(frame, masks[0], quiet, np.random.default_rng(k), may_mirror=False)
        assert (same.rgb == frame.rgb).all() and (mask == masks[0]).all()
    results = [augmented(frame, masks[0], quiet, np.random.default_rng(k), may_mirror=True)[1] for k in range(20)]
    assert 0 < sum((mask != masks[0]).any() for mask in results) < 20
    twice = mirrored(*mirrored(frame, masks[0]))
    assert (twice[0].rgb == frame.rgb).all() and twice[0].camera == frame.camera


def test_augmentation_never_marks_what_it_covered() -> None:
    frame, masks = table_frame(textured_box(), [pose((0.3, 0.4, 0.1), (0.0, 0.0, 0.6))])
    settings = AugmentSettings(erase=1.0, lose_depth=0.0)
    for k in range(5):
        changed, mask = augmented(frame, masks[0], settings, np.random.default_rng(k), may_mirror=False)
        assert changed.rgb.shape == frame.rgb.shape and changed.depth.dtype == np.float32
        assert mask.sum() <= masks[0].sum() * 1.05 and (changed.depth[mask] > 0).mean() > 0.95


def test_objects_are_split_and_pictures_with_validation_objects_do_not_train() -> None:
    keys = [f"d/{k}" for k in range(10)]
    training, validation = split_objects(keys, 0.2, 3)
    assert len(validation) == 2 and not training & validation and training | validation == set(keys)
    assert split_objects(keys, 0.2, 3) == (training, validation) != split_objects(keys, 0.2, 4)
    held = next(iter(validation))
    shown = [frozenset(["d/0", held]), frozenset(training), frozenset(), frozenset([held])]
    assert pictures_for(shown, shown, training, validation) == [1]
    hidden = [*shown[:1], shown[1] | {held}, *shown[2:]]
    with pytest.raises(ConfigError, match="val_objects"):
        pictures_for(shown, hidden, training, validation)
    with pytest.raises(ConfigError, match="val_objects"):
        pictures_for(shown[:1], shown[:1], training, validation)
    with pytest.raises(ConfigError, match="cannot both"):
        split_objects(["a"], 0.5, 0)


def test_settings_come_from_yaml_and_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("steps: 7\ndata: {synthetic: 3}\nnetwork: {preset: lite, dim: 64}\n")
    settings, network = read_settings(file, {"loss.dice": 2.0})
    assert (settings.steps, settings.data.synthetic, settings.loss.dice, network.dim) == (7, 3, 2.0, 64)
    for wrong, words in (({"amp": "int4"}, "amp"), ({"stepz": 3}, "steps"), ({"network.dmi": 3}, "dmi"),
                         ({"augment.mirror": "always"}, "achiral"), ({"batch": 0}, "outside"),
                         ({"network.heads": 0}, "heads must"), ({"network.patch_px": 0}, "patch_px must"),
                         ({"network.input_px": -8}, "input_px must"), ({"network.iou_dim": 0}, "iou_dim must"),
                         ({"network.text_dim": -1}, "text_dim must")):
        with pytest.raises(ConfigError, match=words):
            read_settings(None, wrong)
    shipped, full = read_settings(ROOT / "config" / "train_som_full.yaml", {})
    assert full == FULL and shipped.batch * 8 == 256
    with pytest.raises(ConfigError, match="cannot read"):
        read_settings(tmp_path / "none.yaml", {})


def test_logs_go_on_where_a_resumed_run_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = FileLog(tmp_path / "log.jsonl", 0)
    for step in (1, 2, 3):
        log.write(step, {"loss": 0.5})
    log.close()
    log = FileLog(tmp_path / "log.jsonl", 2)
    log.write(3, {"loss": 0.4})
    log.close()
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert len(lines) == 3 and "0.4" in lines[-1]
    from storm_core.models import packages

    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match="wandb"):
        open_logs(tmp_path, "offline", {}, 0, "test")


def test_weights_of_biases_and_tensorboard_get_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages are optional; what is called of them is recorded here."""
    import sys
    import types

    from storm_core.models import packages
    from storm_core.training import logs

    calls = []
    run = types.SimpleNamespace(log=lambda figures, step: calls.append(("wandb", step, figures)),
                                finish=lambda: calls.append("finish"))
    wandb = types.SimpleNamespace(init=lambda **kw: calls.append(kw["mode"]) or run)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setattr(packages, "find_spec", lambda name: object())
    both = open_logs(tmp_path, "offline", {"a": 1}, 0, "test")
    both.write(3, {"loss": 1.0})
    both.close()
    assert calls == ["offline", ("wandb", 3, {"loss": 1.0}), "finish"]
    board = []

    class Writer:
        def __init__(self, folder: str) -> None:
            self.add_scalar = lambda *a: board.append(a)

        def close(self) -> None:
            board.append("closed")

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    monkeypatch.setattr(logs, "find_spec", lambda name: object())
    tensorboard = open_logs(tmp_path, "disabled", {}, 0, "test")
    tensorboard.write(4, {"loss": 2.0})
    tensorboard.close()
    assert board == [("loss", 2.0, 4), "closed"]


def test_settings_replace_keeps_checks() -> None:
    with pytest.raises(ConfigError, match="wandb"):
        replace(TrainSettings(), wandb="maybe")
