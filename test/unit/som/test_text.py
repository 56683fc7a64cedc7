"""Text: CLIP and other encoders as vectors, keyword descriptions by a vision-language model. All weights random."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from storm_core.cli import main as cli
from storm_core.errors import BackendError, ConfigError, WeightsError
from storm_core.som.describe import PROMPT, Describer, keywords
from test.unit.som.small import torch

from storm_core.som.hsfa.text import TextEncoder, read_descriptions  # isort: skip

WORDS = ("red", "blue", "box", "mug", "metal", "round")


def small_tokenizer(folder: Path, extra: dict[str, str] | None = None):  # noqa: ANN201
    """A tokenizer of whole words, saved in the form of transformers; extra: further special tokens by attribute."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    extra = extra or {}
    special = ("<pad>", "<bos>", "<eos>", "<unk>", *extra.values())
    vocabulary = {w: k for k, w in enumerate((*special, *WORDS, *dict.fromkeys(PROMPT.split())))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>",
        extra_special_tokens=extra)
    tokenizer.save_pretrained(folder)
    return tokenizer


def small_clip(folder: Path, dim: int) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    tokenizer = small_tokenizer(folder)
    CLIPTextModel(CLIPTextConfig(vocab_size=len(tokenizer), hidden_size=dim, intermediate_size=32, num_hidden_layers=2,
                                 num_attention_heads=2, max_position_embeddings=16, eos_token_id=2, bos_token_id=1,
                                 pad_token_id=0)).save_pretrained(folder)


def test_clip_gives_one_vector_per_text(tmp_path: Path) -> None:
    small_clip(tmp_path, 24)
    encoder = TextEncoder(tmp_path)
    vectors = encoder.embed(["red box", "blue mug", "red box"])
    assert vectors.shape == (3, 24) == (3, encoder.dim)
    assert torch.equal(vectors[0], vectors[2]) and not torch.equal(vectors[0], vectors[1])
    np.testing.assert_allclose(vectors.norm(dim=1), 24**0.5, rtol=1e-5)


def test_a_gemma_gives_the_mean_of_its_states_whatever_the_padding(tmp_path: Path) -> None:
    from transformers import Gemma3TextConfig, Gemma3TextModel

    torch.manual_seed(0)
    tokenizer = small_tokenizer(tmp_path)
    Gemma3TextModel(Gemma3TextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=64, sliding_window=16)).save_pretrained(tmp_path)
    encoder = TextEncoder(tmp_path)
    alone, padded = encoder.embed(["red box"])[0], encoder.embed(["red box", "blue metal round mug"])[0]
    assert encoder.dim == 16
    np.testing.assert_allclose(alone, padded, atol=1e-4)


def test_a_folder_without_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=str(tmp_path)):
        TextEncoder(tmp_path)
    with pytest.raises(WeightsError, match=str(tmp_path)):
        Describer(tmp_path)
    (tmp_path / "d.json").write_text("[1]")
    with pytest.raises(ConfigError, match="storm describe"):
        read_descriptions(tmp_path / "d.json")


def test_keywords_are_plain_words_each_once() -> None:
    assert keywords("**Red**, box; a red-ish Box. 'Tea'") == "red box a red-ish 'tea'"


def small_gemma(folder: Path) -> None:
    """A Gemma 3 with vision tower, processor and chat template, all small and random."""
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3ImageProcessorPil,
        Gemma3Processor,
        Gemma3TextConfig,
        SiglipVisionConfig,
    )

    torch.manual_seed(0)
    tokenizer = small_tokenizer(folder, {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>",
                                         "image_token": "<image_soft_token>"})
    template = ("{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'image' %} <start_of_image> "
                "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}")
    Gemma3Processor(Gemma3ImageProcessorPil(size={"height": 28, "width": 28}), tokenizer, chat_template=template,
                    image_seq_length=4).save_pretrained(folder)
    text = Gemma3TextConfig(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=2,
                            num_attention_heads=2, num_key_value_heads=1, head_dim=8, max_position_embeddings=256,
                            sliding_window=64, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    vision = SiglipVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                                image_size=28, patch_size=7)
    Gemma3ForConditionalGeneration(Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id, eoi_token_index=tokenizer.eoi_token_id)).save_pretrained(folder)


def test_storm_describe_with_a_small_gemma(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    small_gemma(tmp_path / "gemma")
    trimesh.creation.box(extents=(0.05, 0.08, 0.1)).export(tmp_path / "brick.ply")
    out = tmp_path / "descriptions.json"
    command = ["describe", str(tmp_path / "brick.ply"), "--model", str(tmp_path / "gemma"), "--out", str(out), "--set",
               f"onboarding.cache={tmp_path}", "--set", "onboarding.view_size=64"]
    assert cli.main(command) == 0, capsys.readouterr().err
    first = json.loads(out.read_text())
    assert list(first) == ["brick"] and isinstance(first["brick"], str)
    assert cli.main(command) == 0
    assert json.loads(out.read_text()) == first, "greedy decoding repeats itself"


@pytest.mark.parametrize("device", ["abacus", "cuda"])
def test_a_device_that_is_not_there_is_said_before_the_model_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                     device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match=f"--device .*{device}"):
        Describer(tmp_path, device)


def test_describe_never_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                  capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("STORM_WEIGHTS", str(tmp_path))
    assert cli.main(["describe", "brick.ply"]) == 1
    assert "storm weights fetch gemma-3-4b" in capsys.readouterr().err
