"""HSFA blocks, the two halves apart: references attend to themselves, the query attends to itself and to them.

The reference half never looks at the query. What the query needs of it (keys and values of the cross-attention) can
therefore be computed once per object and kept.
"""

import torch
from torch import Tensor, nn

from storm_core.som.hsfa.layers import AdaNormZero, Attention, LayerScale
from storm_core.som.hsfa.settings import NetworkSettings


class QueryBlock(nn.Module):
    """Query self-attention, cross-attention to the references, MLP; each with layer scale and AdaNormZero."""

    def __init__(self, s: NetworkSettings) -> None:
        super().__init__()
        self.norm_self, self.norm_cross = nn.LayerNorm(s.dim), nn.LayerNorm(s.dim)
        self.norm_reference = nn.LayerNorm(s.dim)
        self.attention = Attention(s.dim, s.dim, s.heads)
        self.cross = Attention(s.dim, s.cross_dim, s.heads)
        self.mlp = nn.Sequential(nn.LayerNorm(s.dim), nn.Linear(s.dim, s.mlp_dim), nn.GELU(),
                                 nn.Linear(s.mlp_dim, s.dim))
        self.scales = nn.ModuleList(LayerScale(s.dim, s.layer_scale) for _ in range(3))
        self.norms = nn.ModuleList(AdaNormZero(s.dim, s.text_dim) for _ in range(3))

    def remember(self, references: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, V N, cross_dim) of reference tokens (B, V, N, dim): all that the query will need."""
        keys = self.norm_reference(references + positions)
        return self.cross.project(keys.flatten(1, 2), references.flatten(1, 2))

    def forward(self, x: Tensor, positions: Tensor, k: Tensor, v: Tensor, text: Tensor | None) -> Tensor:
        """x: (B, N, dim). positions: (N, dim). k, v: from `remember`. text: (B, text_dim) or None."""
        placed = self.norm_self(x + positions)
        x = self.norms[0](x + self.scales[0](self.attention(placed, placed, x)), text)
        x = self.norms[1](x + self.scales[1](self.cross.attend(self.norm_cross(x + positions), k, v)), text)
        return self.norms[2](x + self.scales[2](self.mlp(x)), text)


class ReferenceBlock(nn.Module):
    """Self-attention within each reference view, then over the tokens of all views."""

    def __init__(self, s: NetworkSettings) -> None:
        super().__init__()
        self.norm_view, self.norm_global = nn.LayerNorm(s.dim), nn.LayerNorm(s.dim)
        self.view = Attention(s.dim, s.dim, s.heads)
        self.everything = Attention(s.dim, s.dim, s.heads)
        self.scales = nn.ModuleList(LayerScale(s.dim, s.layer_scale) for _ in range(2))

    def forward(self, references: Tensor, positions: Tensor) -> Tensor:
        """references: (B, V, N, dim). positions: (N, dim)."""
        b, views = references.shape[:2]
        placed = self.norm_view(references + positions).flatten(0, 1)
        seen = self.view(placed, placed, references.flatten(0, 1)).unflatten(0, (b, views))
        references = references + self.scales[0](seen)
        placed = self.norm_global(references + positions).flatten(1, 2)
        seen = self.everything(placed, placed, references.flatten(1, 2)).unflatten(1, (views, -1))
        return references + self.scales[1](seen)


class Hierarchy(nn.Module):
    """All blocks. There is one reference block less: what follows the last cross-attention feeds nothing."""

    def __init__(self, s: NetworkSettings) -> None:
        super().__init__()
        self.query = nn.ModuleList(QueryBlock(s) for _ in range(s.depth))
        self.reference = nn.ModuleList(ReferenceBlock(s) for _ in range(s.depth - 1))

    def remember(self, references: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (depth, B, V N, cross_dim) of reference tokens (B, V, N, dim)."""
        kept = []
        for i, block in enumerate(self.query):
            kept.append(block.remember(references, positions))
            if i < len(self.reference):
                references = self.reference[i](references, positions)
        return torch.stack([k for k, _ in kept]), torch.stack([v for _, v in kept])

    def forward(self, x: Tensor, positions: Tensor, keys: Tensor, values: Tensor, text: Tensor | None) -> Tensor:
        """Query tokens (B, N, dim) that know the object."""
        for block, k, v in zip(self.query, keys, values, strict=True):
            x = block(x, positions, k, v, text)
        return x
