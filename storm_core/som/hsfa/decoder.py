"""From query tokens to masks: upsampling, a hyper-network that makes each mask's kernel, a head that predicts IoU."""

import torch
from torch import Tensor, nn

from storm_core.som.hsfa.layers import LayerNorm2d
from storm_core.som.hsfa.settings import NetworkSettings


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers of the given widths with GELU between them."""
    layers: list[nn.Module] = []
    for a, b in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(a, b), nn.GELU()]
    return nn.Sequential(*layers[:-1])


class MaskDecoder(nn.Module):
    """Logits of K masks and the IoU each of them will have."""

    def __init__(self, s: NetworkSettings, skip_dim: int) -> None:
        super().__init__()
        self.grid, self.masks = s.grid, s.masks
        half, fine = s.dim // 4, s.dim // 8
        self.up = nn.Sequential(nn.ConvTranspose2d(s.dim, half, 2, 2), LayerNorm2d(half), nn.GELU(),
                                nn.ConvTranspose2d(half, fine, 2, 2), LayerNorm2d(fine), nn.GELU())
        self.skip = nn.Conv2d(skip_dim, fine, 1) if skip_dim else None
        self.hyper = nn.Sequential(mlp(s.dim, s.dim, s.dim, s.masks * fine), nn.LayerNorm(s.masks * fine))
        self.plain = nn.Conv2d(fine, s.masks, 1)
        # Small at first: the kernel that depends on the whole picture is learned on top of a fixed one.
        self.gamma = nn.Parameter(torch.full((1,), 0.1))
        self.refine = nn.Sequential(nn.Conv2d(fine + s.masks, fine, 3, 1, 1), nn.GELU(),
                                    nn.Conv2d(fine, s.masks, 3, 1, 1))
        self.iou = mlp(2 * fine + s.dim, s.iou_dim, s.iou_dim, 1)

    def forward(self, tokens: Tensor, skip: Tensor | None) -> tuple[Tensor, Tensor]:
        """tokens: (B, N, dim) -> logits (B, K, M, M), predicted IoU (B, K) in [0, 1]."""
        b = tokens.shape[0]
        fine = self.up(tokens.transpose(1, 2).unflatten(2, (self.grid, self.grid)))
        if self.skip is not None:
            fine = fine + self.skip(skip)
        kernels = self.hyper(tokens.mean(1)).view(b, self.masks, -1)
        dynamic = torch.einsum("bkc,bchw->bkhw", kernels, fine) / fine.shape[1] ** 0.5
        logits = self.plain(fine) + self.gamma * dynamic
        logits = logits + self.refine(torch.cat([fine, logits], 1))
        return logits, self._predicted_iou(tokens, fine, logits)

    def _predicted_iou(self, tokens: Tensor, fine: Tensor, logits: Tensor) -> Tensor:
        """(B, K): judged from features inside and outside of the mask. The mask is not taught by this head."""
        weight = logits.detach().sigmoid()
        inside, outside = (torch.einsum("bkhw,bchw->bkc", w, fine) / (w.sum((2, 3))[..., None] + 1e-3)
                           for w in (weight, 1 - weight))
        pooled = tokens.mean(1)[:, None].expand(-1, self.masks, -1)
        return self.iou(torch.cat([inside, outside, pooled], -1))[..., 0].sigmoid()
