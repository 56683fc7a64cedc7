"""Training and evaluation of the pair model on a JSONL of picture pairs: img1, img2, label in every line."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from storm_core.errors import DatasetError
from storm_core.monitor.pair_model import PairModel, save_pair
from storm_core.report.atomic import whole_file
from storm_core.training.monitor_loop import Judged

WEIGHTS = "monitor_pair.safetensors"
AT_ONCE = 32
"""Pictures that are described, and pairs that are compared, together."""


@dataclass(frozen=True)
class Pair:
    """Two picture files. right: same object, rightly framed. group: `cause` of the line, "" without one."""

    reference: Path
    live: Path
    right: bool
    group: str


def read_pairs(file: Path) -> list[Pair]:
    """All pairs of a file; relative paths are relative to it.

    Raises:
      DatasetError: it cannot be read, a line lacks a key or has another label than 0 and 1 (names the line), or it is
        empty.
    """
    out = []
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read the pairs {file}: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            label = int(row["label"])
            pair = Pair(file.parent / str(row["img1"]), file.parent / str(row["img2"]), label == 1,
                        str(row.get("cause", "")))
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{file}, line {number}: a pair needs img1, img2 and label, got {line[:80]!r} "
                               f"({type(error).__name__}: {error})") from error
        if label not in (0, 1):
            raise DatasetError(f"{file}, line {number}: label must be 0 or 1, got {label}")
        out.append(pair)
    if not out:
        raise DatasetError(f"{file} holds no pairs")
    return out


def split_pairs(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """Training and validation pairs; a reference picture is on one side only, whatever the order of the lines.

    Raises:
      DatasetError: a side lacks right or wrong pairs.
    """
    held = {pair: crc32(pair.reference.name.encode()) / 2**32 < share for pair in pairs}
    sides = [pair for pair in pairs if not held[pair]], [pair for pair in pairs if held[pair]]
    for name, side in zip(("training", "validation"), sides, strict=True):
        if len({pair.right for pair in side}) < 2:
            raise DatasetError(f"the {name} pairs ({len(side)}) must hold both labels; give more reference pictures "
                               f"or another data.val_share than {share:g}")
    return sides


def read_picture(file: Path, size: int) -> Tensor:
    """(3, size, size) RGB in [0, 1], resized without regard to its shape, as published.

    Raises:
      DatasetError: missing or no picture.
    """
    pixels = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if pixels is None:
        raise DatasetError(f"{file} is missing or no picture that OpenCV can read")
    small = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(small[:, :, ::-1].transpose(2, 0, 1))).float() / 255


class _Compared(nn.Module):
    """The trained part as a module of its own: described pictures in, logits out."""

    def __init__(self, model: PairModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, references: Tensor, live: Tensor) -> Tensor:
        return self.model.compared(references, live)


class PairTask:
    """See `monitor_loop.Task`. Every picture is described once: the backbone is frozen."""

    kind = "pair"

    def __init__(self, model: PairModel, training: Sequence[Pair], held_out: Sequence[Pair], *, size: int, batch: int,
                 seed: int) -> None:
        torch.manual_seed(seed)
        self.module: nn.Module = _Compared(model)
        self._model, self._size, self._batch, self._seed = model, size, batch, seed
        self._training, self._held_out = training, held_out
        files = sorted({file for pair in (*training, *held_out) for file in (pair.reference, pair.live)})
        self._tokens = _described(model, files, size)
        right = np.array([pair.right for pair in training])
        self._sides = np.flatnonzero(right), np.flatnonzero(~right)

    def trained_state(self) -> dict[str, Tensor]:
        return self._model.trained_state()

    def batch(self, number: int) -> tuple[tuple[Tensor, ...], Tensor]:
        """Half right, half wrong."""
        rng = np.random.default_rng([self._seed, number])
        half = self._batch // 2
        rows = np.concatenate([rng.choice(self._sides[0], half), rng.choice(self._sides[1], half)])
        pairs = [self._training[k] for k in rows]
        return self._inputs(pairs), torch.tensor([pair.right for pair in pairs])

    @torch.no_grad()
    def validation(self) -> Judged:
        device = self._model.mark.device
        parts = [self._held_out[k:k + AT_ONCE] for k in range(0, len(self._held_out), AT_ONCE)]
        logits = [self.module(*(x.to(device) for x in self._inputs(part))).cpu().numpy() for part in parts]
        return judged(self._held_out, np.concatenate(logits))

    def save(self, folder: Path, state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Path:
        with whole_file(folder / WEIGHTS) as path:
            save_pair(path, self._model, state, self._size)
        return folder / WEIGHTS

    def _inputs(self, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
        return (torch.stack([self._tokens[pair.reference] for pair in pairs]),
                torch.stack([self._tokens[pair.live] for pair in pairs]))


def judged(pairs: Sequence[Pair], logits: np.ndarray) -> Judged:
    groups = np.array([pair.group for pair in pairs])
    return Judged(logits, np.array([pair.right for pair in pairs]), groups if (groups != "").any() else np.empty(0))


@torch.no_grad()
def _described(model: PairModel, files: Sequence[Path], size: int) -> dict[Path, Tensor]:
    out: dict[Path, Tensor] = {}
    for k in range(0, len(files), AT_ONCE):
        part = files[k:k + AT_ONCE]
        tokens = model.described(torch.stack([read_picture(file, size) for file in part]).to(model.mark.device))
        out |= dict(zip(part, tokens.cpu(), strict=True))
    return out


@torch.no_grad()
def evaluate_pairs(model: PairModel, pairs: Sequence[Pair], size: int) -> tuple[Judged, float]:
    """Answers to all pairs, and milliseconds per pair: one at a time, both pictures described anew."""
    model.eval()
    logits, spent = [], []
    for pair in pairs:
        pictures = read_picture(pair.reference, size)[None], read_picture(pair.live, size)[None]
        begin = time.perf_counter()
        logits.append(float(model(*pictures)))
        spent.append(time.perf_counter() - begin)
    return judged(pairs, np.array(logits)), float(np.median(spent) * 1e3)
