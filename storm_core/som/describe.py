"""Keyword descriptions of objects by a vision-language model of `transformers`; the text input of the HSFA network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storm_core.errors import WeightsError
from storm_core.models.devices import require_torch_device
from storm_core.models.packages import require_packages
from storm_core.models.pretrained import load_pretrained

PROMPT = ("These pictures show one object from several sides. List visual attributes of which you are certain: kind of "
          "object, shape, main colours, material, printed words. Answer with keywords separated by spaces, no "
          "sentences.")
MAX_NEW_TOKENS = 100
PICTURES = 4
"""Views shown to the model, spread over the sphere: one side alone hides half of the object."""


class Describer:
    """One loaded model. Everything comes from `folder`; nothing is downloaded."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """Load model and processor from a folder in the form of `transformers`.

        Raises:
          BackendError: torch, transformers or the device is missing.
          WeightsError: the folder does not hold an image-text-to-text model.
        """
        require_packages("storm describe", "torch", "transformers")
        require_torch_device(device, "--device")
        from transformers import AutoModelForImageTextToText, AutoProcessor

        try:
            # The PIL image processor: the other one needs torchvision, which a CPU torch does not come with.
            self._processor = AutoProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
        except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
            raise WeightsError(f"{folder} holds no processor of pictures and text that this transformers can load: "
                               f"{error}") from error
        self._model = load_pretrained(AutoModelForImageTextToText, folder, "image-text-to-text model",
                                      dtype="auto").to(device)

    def describe(self, pictures: Sequence[NDArray[np.uint8]]) -> str:
        """Keywords for the object that all pictures (H, W, 3) show, deterministic."""
        import torch
        from PIL import Image

        images = [Image.fromarray(p) for p in pictures]
        content = [*({"type": "image"} for _ in images), {"type": "text", "text": PROMPT}]
        text = self._processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True,
                                                   tokenize=False)
        inputs = self._processor(text=[text], images=[images], return_tensors="pt").to(self._model.device)
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        answer = tokens[0, inputs["input_ids"].shape[1]:]
        return keywords(self._processor.decode(answer, skip_special_tokens=True))


def keywords(answer: str) -> str:
    """The words of an answer in order, each once, in small letters without punctuation."""
    words = ("".join(c if c.isalnum() or c in "-'" else " " for c in answer)).lower().split()
    return " ".join(dict.fromkeys(words))
