"""The HSFA network: where is the object of these reference views in this picture? (STORM, arXiv 2511.09771, section 3)

Construction touches neither disk nor network; weights come through `checkpoint`.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from storm_core.errors import InputError
from storm_core.som.hsfa.blocks import Hierarchy
from storm_core.som.hsfa.decoder import MaskDecoder
from storm_core.som.hsfa.encoders import DinoEncoder, LiteEncoder, fitting_dino
from storm_core.som.hsfa.layers import sine_positions
from storm_core.som.hsfa.settings import NetworkSettings


class Memory(NamedTuple):
    """All it needs of an object's views: keys and values (depth, B, V N, cross_dim) of the cross-attentions."""

    keys: Tensor
    values: Tensor


class Masks(NamedTuple):
    """logits: (B, K, M, M), above 0 = object. iou: (B, K) predicted IoU in [0, 1]."""

    logits: Tensor
    iou: Tensor


class HsfaNetwork(nn.Module):
    """Encoder, hierarchy of attention and mask decoder."""

    def __init__(self, settings: NetworkSettings, backbone: nn.Module | None = None) -> None:
        """backbone: the `Dinov2WithRegistersModel` that the encoder `dinov2` freezes.

        Raises:
          InputError: the encoder needs a backbone that was not given, or the other way round.
          WeightsError: the backbone's tokens do not fit.
        """
        super().__init__()
        if (settings.encoder == "dinov2") != (backbone is not None):
            raise InputError(f"the encoder {settings.encoder!r} needs {'a' if backbone is None else 'no'} backbone")
        self.settings = settings
        self.encoder = LiteEncoder(settings) if backbone is None else DinoEncoder(fitting_dino(backbone, settings))
        self.hierarchy = Hierarchy(settings)
        self.decoder = MaskDecoder(settings, self.encoder.skip_dim)
        self.register_buffer("positions", sine_positions(settings.grid, settings.dim), persistent=False)

    def remember(self, views: Tensor) -> Memory:
        """Memory of objects from their views (B, V, 8, S, S)."""
        tokens, _ = self.encoder(views.flatten(0, 1))
        return Memory(*self.hierarchy.remember(tokens.unflatten(0, views.shape[:2]), self.positions))

    def segment(self, query: Tensor, memory: Memory, text: Tensor | None = None) -> Masks:
        """Masks of the remembered objects in pictures (B, 8, S, S); text: (B, text_dim) or None."""
        tokens, skip = self.encoder(query)
        return Masks(*self.decoder(self.hierarchy(tokens, self.positions, *memory, text), skip))

    def forward(self, query: Tensor, views: Tensor, text: Tensor | None = None) -> Masks:
        """`segment` without a memory kept from before; what training uses.

        views: (G, V, 8, S, S), each for B / G neighbouring pictures.
        """
        memory, times = self.remember(views), len(query) // len(views)
        return self.segment(query, Memory(*(part.repeat_interleave(times, 1) for part in memory)), text)

    def trained_state(self) -> dict[str, Tensor]:
        """Everything but a frozen backbone."""
        frozen = "encoder.model." if isinstance(self.encoder, DinoEncoder) else "\0"
        return {name: value for name, value in self.state_dict().items() if not name.startswith(frozen)}

    def trainable(self) -> list[nn.Parameter]:
        return [p for p in self.parameters() if p.requires_grad]


def seeded(settings: NetworkSettings, seed: int, backbone: nn.Module | None = None) -> HsfaNetwork:
    """A network whose initial weights depend on the seed alone, whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return HsfaNetwork(settings, backbone)
