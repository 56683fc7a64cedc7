"""Segmentation results of single pictures against the visible masks of a BOP dataset."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.bags.folder import scene_folders
from storm_core.bags.recording import is_bag
from storm_core.bop.dataset import object_ids, read_annotations
from storm_core.metrics.pose_error import mask_iou
from storm_core.report.attempts import Attempt, Key

_COLORS = ((60, 230, 90), (255, 120, 60), (80, 150, 255), (240, 220, 60), (220, 90, 230), (70, 220, 220))


def mask_records(attempts: Sequence[Attempt], path: Path, models: Path, ignored: Collection[tuple[Key, str]], *,
                 use_truth: bool) -> list[dict[str, Any]]:
    """Attempts as they stand in results.json.

    `iou` is the largest with a visible mask of the object: 0 when it is annotated and nothing was found, None when
    nothing is known. `false_accept`: found although the picture is annotated without it.
    """
    scenes: dict[int, Path] = {}
    if use_truth and not is_bag(path):
        scenes = {int(s.name): s for s in scene_folders(path) if s.name.isdigit() and (s / "scene_gt.json").exists()}
    annotations = {scene_id: read_annotations(scene) for scene_id, scene in scenes.items()}
    ids = object_ids(models, {a.object_name for a in attempts})
    records = []
    for a in attempts:
        instances = annotations.get(a.key[0], {}).get(a.key[1])
        iou, false_accept = None, False
        if instances is not None and a.object_name in ids:
            numbers = [k for k, i in enumerate(instances) if i.obj_id == ids[a.object_name]]
            truths = [_read_mask(scenes[a.key[0]], a.key[1], k) for k in numbers]
            if truths and all(t is not None for t in truths):
                iou = 0.0 if a.mask is None else max(mask_iou(a.mask, t) for t in truths if t is not None)
            false_accept = not numbers and a.found and (a.key, a.object_name) not in ignored
        records.append({"scene_id": a.key[0], "im_id": a.key[1], "object": a.object_name, "found": a.found,
                        "reason": a.reason, "detail": a.detail, "probability": a.probability, "iou": iou,
                        "false_accept": false_accept, "stage_ms": dict(a.stage_ms)})
    return records


def tint(rgb: NDArray[np.uint8], masks: Sequence[tuple[str, NDArray[np.bool_]]]) -> NDArray[np.uint8]:
    """A copy of rgb with every mask tinted, outlined and labelled."""
    image = np.array(rgb)
    for k, (label, mask) in enumerate(masks):
        color = np.array(_COLORS[k % len(_COLORS)])
        image[mask] = (0.55 * image[mask] + 0.45 * color).astype(np.uint8)
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, contours, -1, tuple(int(c) for c in color), 2, cv2.LINE_AA)
        v, u = (int(np.median(axis)) for axis in np.nonzero(mask))
        cv2.putText(image, label, (u, v), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return image


def outlined(rgb: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """A copy of rgb with a thin white line around every mask: where something really is."""
    image = np.array(rgb)
    for mask in masks:
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, contours, -1, (255, 255, 255), 1, cv2.LINE_AA)
    return image


def _read_mask(scene: Path, im_id: int, index: int) -> NDArray[np.bool_] | None:
    pixels = cv2.imread(str(scene / "mask_visib" / f"{im_id:06d}_{index:06d}.png"), cv2.IMREAD_GRAYSCALE)
    return None if pixels is None else pixels > 0
