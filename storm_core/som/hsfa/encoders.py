"""From pictures to tokens: the frozen DINOv2 with registers, or a small RGB-D encoder trained with the rest."""

from pathlib import Path

import torch
from torch import Tensor, nn

from storm_core.errors import WeightsError
from storm_core.models.packages import require_packages
from storm_core.models.pretrained import load_pretrained
from storm_core.som.hsfa.channels import CHANNELS
from storm_core.som.hsfa.layers import LayerNorm2d, sine_positions
from storm_core.som.hsfa.settings import NetworkSettings


class DinoEncoder(nn.Module):
    """Frozen DINOv2 with registers on the three colour channels; its last normalised patch tokens."""

    skip_dim = 0

    def __init__(self, model: nn.Module) -> None:
        """model: a `Dinov2WithRegistersModel` of transformers."""
        super().__init__()
        self.model = model.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "DinoEncoder":
        """Frozen also in what training mode would change."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """x: (B, 8, S, S) -> tokens (B, N, dim)."""
        out = self.model(x[:, :3]).last_hidden_state
        return out[:, 1 + self.model.config.num_register_tokens:], None


class LiteEncoder(nn.Module):
    """Strided convolutions and a few transformer layers on RGB-D; also hands its fine features to the mask decoder."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        dim, half, quarter = settings.dim, settings.dim // 2, settings.dim // 4
        self.skip_dim = half
        finer = settings.patch_px // 8
        self.fine = nn.Sequential(nn.Conv2d(CHANNELS, quarter, 3, 2, 1), LayerNorm2d(quarter), nn.GELU(),
                                  *(layer for _ in range(finer - 1) for layer in
                                    (nn.Conv2d(quarter, quarter, 3, 2, 1), LayerNorm2d(quarter), nn.GELU())))
        # At a quarter of a patch the features have the resolution of the masks: four per token and axis.
        self.to_skip = nn.Sequential(nn.Conv2d(quarter, half, 3, 1, 1), LayerNorm2d(half), nn.GELU())
        self.coarse = nn.Sequential(nn.Conv2d(half, half, 3, 2, 1), LayerNorm2d(half), nn.GELU(),
                                    nn.Conv2d(half, dim, 3, 2, 1))
        self.register_buffer("positions", sine_positions(settings.grid, dim), persistent=False)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(
            dim, settings.heads, 2 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
            for _ in range(settings.lite_layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (B, 8, S, S) -> tokens (B, N, dim), fine features (B, dim / 2, 4 sqrt(N), 4 sqrt(N))."""
        skip = self.to_skip(self.fine(x))
        tokens = self.coarse(skip).flatten(2).transpose(1, 2) + self.positions
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens), skip


def open_dino(folder: Path, settings: NetworkSettings) -> nn.Module:
    """The DINOv2 of a folder in the form of transformers; nothing is downloaded.

    Raises:
      BackendError: transformers is missing.
      WeightsError: the folder holds no such model or only parts of it, or one of another width or patch size than the
        network has.
    """
    require_packages("the DINOv2 backbone", "torch", "transformers")
    from transformers import Dinov2WithRegistersModel

    model = load_pretrained(Dinov2WithRegistersModel, folder, "DINOv2 with registers", types=("dinov2_with_registers",))
    return fitting_dino(model, settings)


def fitting_dino(model: nn.Module, settings: NetworkSettings) -> nn.Module:
    """The model, or WeightsError when its tokens do not fit the network."""
    found = (model.config.hidden_size, model.config.patch_size)
    if found != (settings.dim, settings.patch_px):
        raise WeightsError(f"the network was made for DINOv2 tokens of width {settings.dim} and patches of "
                           f"{settings.patch_px} px; this backbone has {found[0]} and {found[1]}")
    return model
