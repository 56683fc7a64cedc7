"""The HSFA network: caching changes no bit, text starts without effect, checkpoints come back, losses reach weights."""

from pathlib import Path

import pytest

from storm_core.errors import InputError, WeightsError
from test.unit.som.small import DINO, LITE, dino_backbone, dino_network, lite_network, saved, small_views, torch

from storm_core.som.hsfa import checkpoint  # isort: skip
from storm_core.som.hsfa.blocks import Hierarchy  # isort: skip
from storm_core.som.hsfa.layers import AdaNormZero  # isort: skip
from storm_core.som.hsfa.memory import remembered, view_input, weights_key  # isort: skip
from storm_core.som.hsfa.network import HsfaNetwork, seeded  # isort: skip
from storm_core.som.hsfa.settings import FULL, LITE as SHIPPED_LITE, settings_from  # isort: skip


def inputs(size: int, batch: int = 2, views: int = 3) -> tuple:
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(batch, 8, size, size, generator=generator),
            torch.randn(batch, views, 8, size, size, generator=generator))


@pytest.mark.parametrize("make", [lite_network, dino_network])
def test_kept_reference_tokens_give_bit_equal_answers(make, tmp_path: Path) -> None:  # noqa: ANN001
    network = make()
    query, _ = inputs(network.settings.input_px, 1)
    views = small_views()
    with torch.inference_mode():
        uncached = network(query, view_input(views, network.settings.input_px)[None])
        key = weights_key(network)
        for _ in range(2):  # made and kept, then read from disk
            answer = network.segment(query, remembered(network, views, tmp_path, key, "cpu"))
            assert torch.equal(answer.logits, uncached.logits) and torch.equal(answer.iou, uncached.iou)
    files = list(tmp_path.glob("*.memory.safetensors"))
    assert len(files) == 1
    files[0].write_bytes(b"damaged")
    again = remembered(network, views, tmp_path, key, "cpu")
    with torch.inference_mode():
        assert torch.equal(network.segment(query, again).logits, uncached.logits)


def test_the_two_halves_equal_the_blocks_as_published() -> None:
    """Query and references updated block by block, as the paper writes it: the slow twin of `remember` + `forward`."""
    torch.manual_seed(0)
    hierarchy = Hierarchy(LITE).eval()
    x, references = torch.randn(2, 64, 32), torch.randn(2, 3, 64, 32)
    positions = torch.randn(64, 32)
    with torch.inference_mode():
        fast = hierarchy(x, positions, *hierarchy.remember(references, positions), None)
        for i, block in enumerate(hierarchy.query):
            x = block(x, positions, *block.remember(references, positions), None)
            if i < len(hierarchy.reference):
                references = hierarchy.reference[i](references, positions)
    assert torch.equal(fast, x)


def test_other_views_or_other_weights_have_another_memory(tmp_path: Path) -> None:
    from test.synthetic import bracket

    one, other = lite_network(0), lite_network(1)
    assert weights_key(one) != weights_key(other)
    remembered(one, small_views(), tmp_path, weights_key(one), "cpu")
    remembered(one, small_views(bracket()), tmp_path, weights_key(one), "cpu")
    remembered(other, small_views(), tmp_path, weights_key(other), "cpu")
    assert len(list(tmp_path.glob("*.memory.safetensors"))) == 3


def test_an_untrained_text_changes_nothing_and_a_trained_one_does() -> None:
    network = dino_network()
    query, views = inputs(56)
    text = torch.randn(2, DINO.text_dim)
    with torch.inference_mode():
        plain, said = network(query, views), network(query, views, text)
        assert torch.equal(plain.logits, said.logits)
        for module in network.modules():
            if isinstance(module, AdaNormZero):
                module.text[-1].weight.normal_(0, 0.1)
        assert not torch.equal(plain.logits, network(query, views, text).logits)


def test_the_backbone_is_frozen_and_everything_else_is_trained() -> None:
    network = dino_network().train()
    assert not network.encoder.model.training
    query, views = inputs(56)
    masks = network(query, views, torch.randn(2, DINO.text_dim))
    # Scales that start at zero or tiny hide no weight from this test: any gradient will do.
    (masks.logits.square().sum() + masks.iou.sum()).backward()
    for name, parameter in network.named_parameters():
        if name.startswith("encoder.model."):
            assert parameter.grad is None
        elif ".text.0." not in name:  # behind a layer that starts at zero
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("make, backbone", [(lite_network, lambda: None), (dino_network, dino_backbone)])
def test_checkpoints_come_back_bit_by_bit(make, backbone, tmp_path: Path) -> None:  # noqa: ANN001
    network = make(3)
    file = saved(network, tmp_path / "net.safetensors")
    again = checkpoint.load(file, backbone())
    assert again.settings == network.settings and not again.training
    query, views = inputs(network.settings.input_px)
    with torch.inference_mode():
        assert torch.equal(again(query, views).logits, network(query, views).logits)
    assert not any(name.startswith("encoder.model.") for name in network.trained_state()), "the backbone is not stored"


def test_checkpoints_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    file = saved(dino_network(), tmp_path / "net.safetensors")
    with pytest.raises(WeightsError, match="som.hsfa.backbone"):
        checkpoint.load(file, dino_backbone(seed=5))
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(WeightsError, match="junk.safetensors"):
        checkpoint.load(tmp_path / "junk.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors", {"format": "x"})
    with pytest.raises(WeightsError, match="storm train som"):
        checkpoint.load(tmp_path / "foreign.safetensors")
    lite = lite_network()
    state = lite.trained_state()
    state.pop("decoder.gamma")
    checkpoint.save(lite, tmp_path / "part.safetensors", state)
    with pytest.raises(WeightsError, match="decoder.gamma"):
        checkpoint.load(tmp_path / "part.safetensors")


def test_settings_are_checked() -> None:
    with pytest.raises(WeightsError, match="patch"):
        settings_from({"preset": "lite", "input_px": 100})
    with pytest.raises(WeightsError, match="wdith"):
        settings_from({"wdith": 3})
    with pytest.raises(WeightsError, match="dim must be int"):
        settings_from({"dim": "wide"})
    with pytest.raises(InputError, match="backbone"):
        HsfaNetwork(FULL)
    with pytest.raises(WeightsError, match="768"):
        HsfaNetwork(FULL, dino_backbone())
    assert settings_from({"preset": "lite"}) == SHIPPED_LITE


def test_the_lite_network_is_small_and_its_weights_depend_on_the_seed_alone() -> None:
    network = seeded(SHIPPED_LITE, 4)
    size = sum(p.numel() for p in network.parameters()) * 4
    assert size <= 10e6
    torch.manual_seed(99)
    again = seeded(SHIPPED_LITE, 4)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    with torch.inference_mode():
        masks = network.eval()(*inputs(128, 1, 2))
    assert masks.logits.shape == (1, 1, 64, 64) and 0 <= float(masks.iou[0, 0]) <= 1


def test_patches_of_16_px_work_too() -> None:
    settings = settings_from({"preset": "lite", "patch_px": 16})
    assert seeded(settings, 0).eval()(*inputs(128, 1, 2)).logits.shape == (1, 1, 32, 32)
