"""Masks over a BOP dataset: every target counts, found or not; and what was found where nothing is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from storm_core.bags.truth import VISIBLE_SHARE
from storm_core.bop.dataset import Annotation
from storm_core.bop.mask_results import MaskEstimate
from storm_core.errors import DatasetError
from storm_core.metrics.mask_ap import MaskMatches, ap_bop, ap_storm, iou_mean, pairwise_iou

Key = tuple[int, int]
"""(scene_id, im_id)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class JudgedImage:
    """The masks of one object in one image.

    Attributes:
      ious: of each target, 0 where nothing was found for it. targets: their numbers in scene_gt.json.
      visible: share of each target, nan = unknown. matches: for average precision.
      accepted: masks that claim to be the object. annotated: the object is in the picture.
    """

    key: Key
    obj_id: int
    ious: tuple[float, ...]
    targets: tuple[int, ...]
    visible: tuple[float, ...]
    matches: MaskMatches
    accepted: int
    annotated: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskTruth:
    """What is annotated in one image. instances: in the order of the mask files. folder: of the scene.

    targets: obj_id -> instances to be found. asked: objects that count, None = those annotated or found.
    """

    key: Key
    folder: Path
    instances: Sequence[Annotation]
    targets: Mapping[int, int]
    asked: frozenset[int] | None = None


def judge_masks(truths: Iterable[MaskTruth], estimates: Sequence[MaskEstimate], accept: float,
                skip: Callable[[dict[str, Any]], None]) -> list[JudgedImage]:
    """Every object in every image in which it was asked for.

    Of each image as many masks as it has targets count for the IoU, those of highest score of at least `accept`; they
    and the best visible instances are paired so that the sum of IoU is largest.

    Args:
      skip: told {scene_id, im_id, object, reason} of each annotated mask that cannot be read; its target fails.

    Raises:
      DatasetError: a predicted mask has another size than the annotated one, or than another of its object and image.
    """
    by_place: dict[tuple[Key, int], list[MaskEstimate]] = {}
    for e in estimates:
        by_place.setdefault(((e.scene_id, e.im_id), e.obj_id), []).append(e)
    out = []
    for truth in truths:
        found_here = {obj_id for key, obj_id in by_place if key == truth.key}
        asked = {a.obj_id for a in truth.instances} | set(truth.targets) | found_here
        for obj_id in sorted(asked if truth.asked is None else truth.asked):
            found = sorted(by_place.get((truth.key, obj_id), []), key=lambda e: -e.score)
            out.append(_judge(truth, obj_id, found, accept, skip))
    return out


def mask_figures(judged: Sequence[JudgedImage]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """`masks` over all targets, and {object id as text: figures}."""
    ids = sorted({j.obj_id for j in judged})
    mean, by_object = ap_bop({i: [j.matches for j in judged if j.obj_id == i] for i in ids})
    objects = {}
    for obj_id in ids:
        mine = [j for j in judged if j.obj_id == obj_id]
        ious = [iou for j in mine for iou in j.ious]
        objects[str(obj_id)] = {
            "targets": len(ious), "found": sum(iou > 0 for iou in ious), "iou_mean": iou_mean(ious),
            "ap_storm": ap_storm(ious), "ap_bop": by_object[obj_id],
            "false_accepts": sum(j.accepted for j in mine if not j.annotated)}
    ious = [iou for j in judged for iou in j.ious]
    return {"ap_storm": ap_storm(ious), "ap_bop": mean, "iou_mean": iou_mean(ious), "n": len(ious),
            "false_accepts": sum(f["false_accepts"] for f in objects.values())}, objects


def _judge(truth: MaskTruth, obj_id: int, found: list[MaskEstimate], accept: float,
           skip: Callable[[dict[str, Any]], None]) -> JudgedImage:
    numbers = [k for k, a in enumerate(truth.instances) if a.obj_id == obj_id]
    numbers.sort(key=lambda k: -float(np.nan_to_num(truth.instances[k].visible, nan=1.0)))
    read = [_read(truth, k, obj_id, found, skip) for k in numbers]
    _require_one_size(found)
    masks = _stack([e.mask() for e in found])
    ious = np.zeros((len(found), len(numbers)))
    for column, mask in enumerate(read):
        if mask is not None and len(found):
            ious[:, column] = pairwise_iou(masks, mask[None])[:, 0]
    wanted = truth.targets.get(obj_id, 0)
    sure = [row for row, e in enumerate(found) if e.score >= accept]
    hidden = np.array([truth.instances[k].visible < VISIBLE_SHARE for k in numbers], bool)
    return JudgedImage(
        key=truth.key, obj_id=obj_id, ious=_paired(ious[sure[:wanted]][:, :wanted], wanted), accepted=len(sure),
        targets=tuple(numbers[:wanted]), visible=tuple(float(truth.instances[k].visible) for k in numbers[:wanted]),
        annotated=bool(numbers),
        matches=MaskMatches(scores=np.array([e.score for e in found], float), ious=ious, ignored=hidden))


def _paired(ious: NDArray[np.float64], wanted: int) -> tuple[float, ...]:
    """IoU of each of the `wanted` targets, in their order."""
    rows, columns = linear_sum_assignment(ious, maximize=True)
    best = np.zeros(wanted)
    best[columns] = ious[rows, columns]
    return tuple(best.tolist())


def _require_one_size(found: Sequence[MaskEstimate]) -> None:
    for e in found[1:]:
        if e.size != found[0].size:
            (height, width), (h, w) = found[0].size, e.size
            raise DatasetError(f"masks predicted for object {e.obj_id} in scene {e.scene_id} image {e.im_id} differ in "
                               f"size, {width}x{height} and {w}x{h} px; all must have the size of the image")


def _stack(masks: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return np.stack(masks) if masks else np.zeros((0, 1, 1), bool)


def _read(truth: MaskTruth, number: int, obj_id: int, found: Sequence[MaskEstimate],
          skip: Callable[[dict[str, Any]], None]) -> NDArray[np.bool_] | None:
    file = truth.folder / "mask_visib" / f"{truth.key[1]:06d}_{number:06d}.png"
    pixels = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) if file.exists() else None
    if pixels is None:
        reason = "cannot be decoded; the image is damaged or no image" if file.exists() else "is missing"
        skip({"scene_id": truth.key[0], "im_id": truth.key[1], "object": str(obj_id), "reason": f"{file} {reason}"})
        return None
    for e in found:
        if e.size != pixels.shape:
            (height, width), (h, w) = e.size, pixels.shape
            raise DatasetError(f"the mask predicted for object {obj_id} in scene {truth.key[0]} image {truth.key[1]} "
                               f"is {width}x{height} px but {file} is {w}x{h} px")
    return pixels > 0
