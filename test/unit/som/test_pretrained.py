"""Folders of transformers: complete networks load, everything that would stay random or is damaged is one error."""

from collections.abc import Callable
from pathlib import Path

import pytest

from storm_core.errors import WeightsError
from test.unit.som.small import DINO, dino_backbone, torch
from test.unit.som.test_localizer import small_sam
from test.unit.som.test_text import small_clip

from storm_core.monitor.pair_model import open_backbone  # isort: skip
from storm_core.som.hsfa.encoders import open_dino  # isort: skip
from storm_core.som.hsfa.text import TextEncoder  # isort: skip
from storm_core.som.sam import TransformersSam  # isort: skip


def rewritten(folder: Path, change: Callable[[dict[str, "torch.Tensor"]], dict[str, "torch.Tensor"]]) -> Path:
    """The folder with other tensors in its file."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})
    return folder


def test_tensors_that_would_stay_random_are_refused(tmp_path: Path) -> None:
    dino_backbone().save_pretrained(tmp_path)
    whole = open_dino(tmp_path, DINO).state_dict()
    rewritten(tmp_path, lambda t: t | {"head.position_ids": torch.zeros(3)})
    again = open_dino(tmp_path, DINO).state_dict()
    assert all(torch.equal(whole[k], again[k]) for k in whole), "a tensor too many is harmless"
    rewritten(tmp_path, lambda t: {k: v for k, v in t.items() if "layer.1.norm1" not in k})
    for opened in (lambda: open_dino(tmp_path, DINO), lambda: open_backbone(tmp_path)):
        with pytest.raises(WeightsError, match=r"layer\.1\.norm1\.bias and 1 more"):
            opened()
    rewritten(tmp_path, lambda t: {f"foo.{k}": v for k, v in t.items()})
    with pytest.raises(WeightsError, match="does not hold all of DINOv2"):
        open_dino(tmp_path, DINO)


def test_another_kind_of_network_is_named(tmp_path: Path) -> None:
    from transformers import Dinov2Config, Dinov2Model

    Dinov2Model(Dinov2Config(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=56,
                             patch_size=14)).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="holds a dinov2, not DINOv2 with registers"):
        open_dino(tmp_path, DINO)
    assert open_backbone(tmp_path).config.model_type == "dinov2"
    for text in ("{bad", "[]", "{}"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(WeightsError, match="config.json"):
            open_dino(tmp_path, DINO)


def test_sam_and_text_are_held_to_the_same(tmp_path: Path) -> None:
    sam = rewritten(small_sam(tmp_path / "sam"), lambda t: {"foo": torch.zeros(3)})
    with pytest.raises(WeightsError, match="does not hold all of SAM 2"):
        TransformersSam(sam)
    small_clip(tmp_path / "clip", 24)
    rewritten(tmp_path / "clip", lambda t: {f"foo.{k}": v for k, v in t.items()})
    with pytest.raises(WeightsError, match="does not hold all of text model"):
        TextEncoder(tmp_path / "clip")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>" * 20, None], ids=["empty", "html", "cut short"])
def test_damaged_files_are_one_error(tmp_path: Path, content: bytes | None) -> None:
    dino_backbone().save_pretrained(tmp_path / "dino")
    small_clip(tmp_path / "clip", 24)
    small_sam(tmp_path / "sam")
    for name, opened in (("dino", lambda p: open_dino(p, DINO)), ("clip", TextEncoder), ("sam", TransformersSam)):
        file = tmp_path / name / "model.safetensors"
        file.write_bytes(file.read_bytes()[:5000] if content is None else content)
        with pytest.raises(WeightsError, match="that transformers can load"):
            opened(tmp_path / name)
