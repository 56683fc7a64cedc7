"""Descriptions as vectors: CLIP's pooled text, or the mean last hidden state of any other text model (Gemma, ...)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from storm_core.errors import ConfigError, WeightsError
from storm_core.models.packages import require_packages
from storm_core.models.pretrained import load_pretrained, model_type


class TextEncoder:
    """A frozen text model and its tokenizer from one folder; nothing is downloaded."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """Raises:
        BackendError: transformers is missing.
        WeightsError: the folder holds no text model with a tokenizer.
        """
        require_packages("the text encoder", "torch", "transformers")
        from transformers import AutoModel, AutoTokenizer, CLIPTextModel

        what = "text model"
        self._pooled = model_type(folder, what).startswith("clip")
        # The poolers of other models are not asked, and many checkpoints come without.
        self._model = (load_pretrained(CLIPTextModel, folder, what) if self._pooled
                       else load_pretrained(AutoModel, folder, what, unused=("pooler.",))).to(device)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise WeightsError(f"{folder} holds no tokenizer that transformers can load: {error}") from error
        config = self._model.config
        self._length = int(getattr(config, "max_position_embeddings", 512))
        self.dim = int(getattr(config, "hidden_size", 0) or config.get_text_config().hidden_size)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """(T, dim) on the CPU, each of length 1 times sqrt(dim), so that no text is louder than another."""
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        inputs = self._tokenizer(list(texts), return_tensors="pt", padding=True, truncation=True,
                                 max_length=min(self._length, 512)).to(self._model.device)
        out = self._model(**inputs)
        if self._pooled:
            vector = out.pooler_output
        else:
            weight = inputs["attention_mask"][..., None].float()
            vector = (out.last_hidden_state.float() * weight).sum(1) / weight.sum(1)
        return torch.nn.functional.normalize(vector.float(), dim=-1).mul(self.dim**0.5).cpu().clone()


def read_descriptions(path: Path) -> Mapping[str, str]:
    """{object: keywords} of descriptions.json.

    Raises:
      ConfigError: not such a file.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path} (descriptions of the objects): {error}") from error
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise ConfigError(f"{path} must map object names to keywords, as `storm describe` writes it")
    return content
