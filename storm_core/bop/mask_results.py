"""Segmentation results in the form of the BOP challenge 2022: a JSON list of scored masks in COCO run-length code."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.bop.cameras import read_json
from storm_core.errors import DatasetError


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskEstimate:
    """One predicted mask of one object in one image.

    Attributes:
      score: confidence, higher is better. time_s: time spent on the whole image [s], -1 when unknown.
      size: (height, width) [px]. counts: lengths of runs of 0 and 1 in turn, column by column, 0 first.
    """

    scene_id: int
    im_id: int
    obj_id: int
    score: float
    size: tuple[int, int]
    counts: tuple[int, ...]
    time_s: float = -1.0

    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool."""
        values = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(values, self.counts).reshape(self.size, order="F")


def run_lengths(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """The counts of a mask (H, W), as `MaskEstimate.counts` has them."""
    flat = np.asarray(mask, bool).reshape(-1, order="F")
    starts = np.flatnonzero(np.diff(flat, prepend=False))
    return tuple(int(v) for v in np.diff(starts, prepend=0, append=len(flat)))


def box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x, y, w, h [px] of a mask; zeros for an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    return (int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1))


def write_mask_results(file: Path, estimates: Iterable[MaskEstimate]) -> None:
    """scene_id, image_id, category_id, score, bbox [px], segmentation, time [s] of every estimate."""
    file.write_text(json.dumps([
        {"scene_id": e.scene_id, "image_id": e.im_id, "category_id": e.obj_id, "score": e.score,
         "bbox": box_of(e.mask()), "segmentation": {"size": e.size, "counts": e.counts}, "time": e.time_s}
        for e in estimates]))


def read_mask_results(file: Path) -> list[MaskEstimate]:
    """The masks of a result file; run lengths may be numbers or COCO's compressed text.

    Raises:
      DatasetError: missing, damaged, or an entry that is not of this form (names its place).
    """
    content = read_json(file, "predicted masks")
    if not isinstance(content, list):
        raise DatasetError(f"{file} must hold a JSON list of masks, got {type(content).__name__}")
    out = []
    for number, entry in enumerate(content):
        try:
            out.append(_parsed(entry))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise DatasetError(f"{file} entry {number} is no mask of the BOP challenge 2022 "
                               f"({type(error).__name__}: {error}); expected scene_id, image_id, category_id, score, "
                               "segmentation {size, counts}") from error
    return out


def _parsed(entry: dict[str, Any]) -> MaskEstimate:
    segmentation = entry["segmentation"]
    height, width = (int(v) for v in segmentation["size"])
    counts = segmentation["counts"]
    counts = _expanded(counts) if isinstance(counts, str) else tuple(int(v) for v in counts)
    if min(height, width, *counts) < 0 or sum(counts) != height * width:
        raise ValueError(f"runs of {sum(counts)} px do not fill {height}x{width} px")
    score = float(entry["score"])
    if not np.isfinite(score):
        raise ValueError(f"score {score}")
    return MaskEstimate(scene_id=int(entry["scene_id"]), im_id=int(entry["image_id"]), score=score,
                        obj_id=int(entry["category_id"]), size=(height, width), counts=counts,
                        time_s=float(entry.get("time", -1.0)))


def _expanded(text: str) -> Sequence[int]:
    """Run lengths from COCO's compressed text.

    Each character carries five bits (lowest first) and says with a sixth whether more follow; the last one's highest
    bit is the sign. From the fourth number on, a number is the difference to the one two places before.
    """
    out: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"character {character!r} in run-length text")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        out.append(value + (out[-2] if len(out) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("run-length text ends within a number")
    return tuple(out)
