"""The published pair verifier: do a reference crop and the live crop show the same object, rightly framed?

STORM's TOM: a shared, frozen DINOv2 describes both pictures, attention compares them, one logit answers. With
`tokens: cls` the two class vectors are the two tokens of the attention. (The published code joins them into one token
of double width, for which attention is a linear layer; as two tokens they can attend to each other, and the answer does
not depend on the order beyond the learned mark of each.) With `patches`, attention sees all patches of both.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from storm_core.errors import WeightsError
from storm_core.models.packages import require_packages
from storm_core.models.pretrained import load_pretrained
from storm_core.monitor.pair_settings import PairSettings

FORMAT = "storm-pair-1"

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours: what DINOv2 expects to be taken out."""


class PairModel(nn.Module):
    """Frozen backbone, attention block, logit."""

    def __init__(self, settings: PairSettings, backbone: nn.Module) -> None:
        """backbone: any DINOv2 of transformers (with or without registers).

        Raises:
          WeightsError: its width cannot be divided among the heads.
        """
        super().__init__()
        self.settings = settings
        self.backbone = backbone.requires_grad_(False).eval()
        width = backbone.config.hidden_size
        if width % settings.heads:
            raise WeightsError(f"pair.heads must divide the width {width} of the backbone, got {settings.heads}")
        self.mark = nn.Parameter(torch.zeros(2, 1, width))
        self.attention = nn.ModuleList(nn.TransformerEncoderLayer(
            width, settings.heads, settings.hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
            for _ in range(settings.layers))
        self.answer = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, 1))

    def train(self, mode: bool = True) -> "PairModel":
        """The backbone stays as it is."""
        super().train(mode)
        self.backbone.train(False)
        return self

    @torch.no_grad()
    def described(self, pictures: Tensor) -> Tensor:
        """Tokens (B, T, width) of pictures (B, 3, S, S) in [0, 1]."""
        mean, spread = (pictures.new_tensor(v)[:, None, None] for v in (MEAN, SPREAD))
        out = self.backbone((pictures - mean) / spread).last_hidden_state
        return out[:, :1] if self.settings.tokens == "cls" else out

    def compared(self, references: Tensor, live: Tensor) -> Tensor:
        """Logits (B,) that live crops show what references show, of the tokens of each."""
        count = references.shape[1]
        tokens = torch.cat([references + self.mark[0], live + self.mark[1]], 1)
        for layer in self.attention:
            tokens = layer(tokens)
        return self.answer(torch.cat([tokens[:, 0], tokens[:, count]], 1))[:, 0]

    def forward(self, references: Tensor, live: Tensor) -> Tensor:
        """Logits (B,) of pictures (B, 3, S, S) in [0, 1]."""
        return self.compared(self.described(references), self.described(live))

    def trained_state(self) -> dict[str, Tensor]:
        """Everything but the backbone."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith("backbone.")}


def open_backbone(folder: Path) -> nn.Module:
    """Any DINOv2 of transformers from a folder; nothing is downloaded.

    Raises:
      BackendError: torch or transformers is missing. WeightsError: the folder holds no such model.
    """
    require_packages("the pair model's backbone", "torch", "transformers")
    from transformers import AutoModel

    return load_pretrained(AutoModel, folder, "DINOv2", types=("dinov2", "dinov2_with_registers"))


def save_pair(path: Path, model: PairModel, state: Mapping[str, Tensor], size: int) -> None:
    """Write the trained part (`state`: e.g. its moving average), without the backbone. size: of the pictures [px]."""
    from safetensors.torch import save_file

    head = {"format": FORMAT, "settings": json.dumps(asdict(model.settings)), "size": str(size)}
    save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, path, head)


def load_pair(path: Path, backbone: nn.Module | None = None) -> tuple[PairModel, int]:
    """The model of a checkpoint, in evaluation mode, and the size of the pictures it was trained on [px].

    Args:
      backbone: None = the one that the checkpoint names.

    Raises:
      WeightsError: missing, damaged, or made for another backbone.
    """
    require_packages("a checkpoint of the pair model", "torch", "safetensors")
    from safetensors import SafetensorError, safe_open

    from storm_core.models.store import resolve

    try:
        with safe_open(path, "pt") as file:
            meta = file.metadata() or {}
            if meta.get("format") != FORMAT:
                raise WeightsError(f"{path} is no checkpoint of `storm train monitor` with data.source=pairs (format "
                                   f"{meta.get('format')!r}, expected {FORMAT!r})")
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
        settings, size = PairSettings(**json.loads(meta["settings"])), int(meta["size"])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"cannot read the checkpoint {path}: {error}") from error
    model = PairModel(settings, backbone or open_backbone(resolve(settings.backbone, "pair.backbone")))
    try:
        found = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"{path} was made for a backbone of another width: {error}") from error
    lacking = [name for name in found.missing_keys if not name.startswith("backbone.")]
    if lacking or found.unexpected_keys:
        raise WeightsError(f"{path} does not fit the pair model: {(lacking + found.unexpected_keys)[0]}")
    return model.eval(), size
