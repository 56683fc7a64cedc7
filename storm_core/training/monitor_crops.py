"""Training of the small RGB-D verifier on records of labelled poses."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from storm_core.monitor.crop import inputs
from storm_core.monitor.network import HIDDEN, LAYERS
from storm_core.monitor.weights import save_weights
from storm_core.report.atomic import whole_file
from storm_core.training.monitor_loop import Judged
from storm_core.training.monitor_scenes import Kind, Records

WEIGHTS = "monitor.npz"

AT_ONCE = 256
"""Crops that are judged together in a validation."""


class CropModule(nn.Module):
    """`monitor.network.CropNetwork` for training; the names of its arrays are the same."""

    def __init__(self) -> None:
        super().__init__()
        for k, (before, after, stride) in enumerate(LAYERS):
            setattr(self, f"conv{k}", nn.Conv2d(before, after, 3, stride, 1))
        self.head0, self.head1 = nn.Linear(2 * LAYERS[-1][1], HIDDEN), nn.Linear(HIDDEN, 1)

    def forward(self, x: Tensor) -> Tensor:
        for k in range(len(LAYERS)):
            x = torch.relu(getattr(self, f"conv{k}")(x))
        x = torch.cat([x.mean((-2, -1)), x.amax((-2, -1))], 1)
        return self.head1(torch.relu(self.head0(x)))[:, 0]


class CropTask:
    """See `monitor_loop.Task`."""

    kind = "crop"

    def __init__(self, training: Records, held_out: Records, *, batch: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.module: nn.Module = CropModule()
        self._training, self._held_out, self._batch, self._seed = training, held_out, batch, seed
        self._sides = np.flatnonzero(training.right), np.flatnonzero(~training.right)

    def trained_state(self) -> dict[str, Tensor]:
        return self.module.state_dict()

    def batch(self, number: int) -> tuple[tuple[Tensor, ...], Tensor]:
        """Half right, half wrong, each disturbed anew."""
        rng = np.random.default_rng([self._seed, number])
        half = self._batch // 2
        rows = np.concatenate([rng.choice(self._sides[0], half), rng.choice(self._sides[1], half)])
        crops = augmented(self._training.crops[rows], rng)
        return (torch.from_numpy(inputs(crops)),), torch.from_numpy(self._training.right[rows])

    @torch.no_grad()
    def validation(self) -> Judged:
        held = self._held_out
        device = next(self.module.parameters()).device
        logits = [self.module(torch.from_numpy(inputs(held.crops[k:k + AT_ONCE])).to(device)).cpu().numpy()
                  for k in range(0, len(held.error), AT_ONCE)]
        names = np.array([kind.name.lower() for kind in Kind])
        return Judged(np.concatenate(logits), held.right, names[held.kind])

    def save(self, folder: Path, state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Path:
        with whole_file(folder / WEIGHTS) as path:
            save_weights(path, {k: v.detach().cpu().numpy() for k, v in state.items()},
                         {**facts, "poses": len(self._training.error)})
        return folder / WEIGHTS


def augmented(crops: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Crops (N, PLANES, SIDE, SIDE), each mirrored or turned by quarters, under other light, some without depth.

    Picture and render turn together, so what is right stays right; their colours change apart, as cameras and scanners
    do.
    """
    out = np.empty_like(crops)
    for k, crop in enumerate(crops):
        turned = np.rot90(crop, int(rng.integers(4)), (1, 2))
        out[k] = turned[:, :, ::-1] if rng.random() < 0.5 else turned
        for first in (0, 3):
            if rng.random() < 0.7:
                gamma, gain = rng.uniform(0.7, 1.4), rng.uniform(0.75, 1.25, (3, 1))
                table = np.clip(255 * (np.arange(256) / 255) ** gamma * gain, 0, 255).astype(np.uint8)
                for c in range(3):
                    out[k, first + c] = table[c][out[k, first + c]]
        if rng.random() < 0.25:
            noise = rng.integers(-12, 13, out[k, :3].shape)
            out[k, :3] = np.clip(out[k, :3].astype(np.int16) + noise, 0, 255)
        if rng.random() < 0.05:
            out[k, 6:8] = 0
    return out
