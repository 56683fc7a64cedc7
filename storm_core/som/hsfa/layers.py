"""The small parts of the HSFA blocks: attention, layer scale, normalisation steered by text, positions."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head scaled dot-product attention with its own width inside."""

    def __init__(self, dim: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(dim, inner) for _ in range(3))
        self.out = nn.Linear(inner, dim)

    def project(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The part that depends on the attended tokens alone: keys and values (B, N, inner)."""
        return self.k(keys), self.v(values)

    def attend(self, queries: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, M, dim) from queries (B, M, dim) and projected keys and values (B, N, inner)."""
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (self.q(queries), k, v))
        return self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return self.attend(queries, *self.project(keys, values))


class LayerScale(nn.Module):
    """Learned size of each channel of a residual branch (CaiT)."""

    def __init__(self, dim: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), initial))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * x


class AdaNormZero(nn.Module):
    """LayerNorm whose scale and shift a text vector may change: LN(x) (gamma + gamma_text) + delta + delta_text.

    The layer that makes gamma_text and delta_text starts at zero, so an untrained text changes nothing.
    """

    def __init__(self, dim: int, text_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.text: nn.Sequential | None = None
        if text_dim:
            self.text = nn.Sequential(nn.Linear(text_dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, 2 * dim))
            nn.init.zeros_(self.text[-1].weight)
            nn.init.zeros_(self.text[-1].bias)

    def forward(self, x: Tensor, text: Tensor | None) -> Tensor:
        """x: (B, N, dim). text: (B, text_dim), or None."""
        y = self.norm(x)
        if self.text is None or text is None:
            return y
        gamma, delta = self.text(text)[:, None].chunk(2, -1)
        return y + functional.layer_norm(x, x.shape[-1:]) * gamma + delta


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of pictures (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def sine_positions(grid: int, dim: int, temperature: float = 1e4) -> Tensor:
    """(grid * grid, dim) fixed 2-D sine code of normalised row and column (DETR)."""
    quarter = dim // 4
    place = (torch.arange(grid, dtype=torch.float32) + 0.5) / grid * 2 * math.pi
    wave = temperature ** (-torch.arange(quarter, dtype=torch.float32) / max(quarter, 1))
    code = torch.cat([(place[:, None] * wave).sin(), (place[:, None] * wave).cos()], 1)
    rows = code[:, None].expand(grid, grid, -1)
    columns = code[None].expand(grid, grid, -1)
    return functional.pad(torch.cat([rows, columns], -1), (0, dim - 4 * quarter)).flatten(0, 1)
